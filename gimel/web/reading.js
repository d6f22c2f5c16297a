// How to read the report of one experiment, for those who never saw one.

import { h, isolated } from "./elements.js";
import { count } from "./numbers.js";
import { chip } from "./verdicts.js";

// By the state of the verdict on the experiment.
const MEANINGS = {
  winner: "a variant reached the goal more often than the control, by more than chance explains.",
  loser: "a variant reached the goal less often than the control, by more than chance explains.",
  no_difference: "a difference large enough to matter is implausible. Choose by cost or by taste.",
  leaning: "one side is more likely to be better, but chance may explain that. It is no proof.",
  collecting: "it is too early to tell. That is no sign that the variants are equal.",
  inconclusive: "it ends without an answer. That does not show that the variants are equal.",
  do_not_trust: "the visitors are not split between the variants as they should be, so no figure here can be believed.",
  mixed: "a variant is better on one goal and worse on another. Somebody has to decide which of them matters more.",
  worse: "a variant made a goal worse that should have been left alone.",
};

export function howToRead(item) {
  const {verdict, plan, goals, control} = item;
  const isCompared = goals.some(goal => goal.results.some(row => row.difference_interval));
  const text = [
    MEANINGS[verdict?.state] ? [chip(verdict.state), " means: ", MEANINGS[verdict.state]] : null,
    ["Each visitor saw one of the variants, chosen at random. A goal is what they may do, and a rate is the share who did.",
      control === null ? null : [" ", isolated(control, {class: "strong"}), " is the control: the others are compared with it."]],
    isCompared ? "Part of any difference is chance. The bar beside each variant, and the range in the sentences, is where the true "
      + "difference lies in 19 of 20 experiments. If it leaves out zero, the difference is more than chance, no matter how "
      + `often you check${plan ? ` until ${count(plan.in_all)} visitors have come` : ""}.` : null,
    isCompared ? "In the plots over time, the wide band decides. The narrow one is right for a single look only." : null,
    isCompared ? "From 6 % to 7 % is one percentage point, and an uplift of 17 %." : null,
    goals.some(goal => goal.role === "guardrail") ? "A guardrail is a goal that the change must not make worse." : null,
  ];
  return h("section", {class: "card how", "aria-labelledby": "how-title"},
    h("h3", {id: "how-title"}, "How to read this page"), text.filter(Boolean).map(each => h("p", null, each)));
}
