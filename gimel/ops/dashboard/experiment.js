// One experiment in full.

import { h, isolated, s, sentence } from "./elements.js";
import { goalSection, inReadingOrder } from "./goal.js";
import { count, dayOf, percent, plural } from "./numbers.js";
import { splitSection } from "./split.js";
import { chip, decides, participants, variants } from "./verdicts.js";
import { address } from "./view.js";

// `actions` are what can be done with it, and the control chosen; a snapshot has none.
export function experimentPane(item, actions) {
  return h("div", {class: "pane", key: item.experiment},
    h("header", {class: "experiment-head"},
      h("a", {class: "back", href: address({experiment: "", control: ""})}, "All experiments"),
      h("h2", {id: "experiment-title", tabindex: "-1"}, isolated(item.experiment)),
      h("p", {class: "quiet"}, plural(participants(item), "participant"), " · ",
        plural(variants(item).length, "variant"), " · ", plural(item.goals.length, "goal"), planned(item)),
      h("div", {class: "acts"},
        variants(item).length > 1 ? controlChoice(item, actions) : null,
        actions ? h("button", {type: "button", class: "plain danger", onclick: actions.remove}, "Delete…") : null)),
    splitSection(item),
    item.counting_note ? h("p", {class: "note counting"}, sentence(item.counting_note, [])) : null,
    ofTheWhole(item),
    item.goals.length ? null : h("p", {class: "card quiet"}, "No goal has been reached yet."),
    item.goals.some(goal => goal.results.some(row => row.difference_interval)) ? legend(item) : null,
    inReadingOrder(item.goals).map((goal, index) => goalSection(goal, item, index)));
}

function controlChoice(item, actions) {
  if (!actions) return h("p", null, "Compared with ", isolated(item.control, {class: "strong"}));
  const labels = variants(item).map(variant => variant.label);
  const chosen = labels.includes(actions.control) ? actions.control : item.control;
  return h("label", {class: "field"}, "Compared with",
    h("select", {id: "control", onchange: event => actions.choose(event.target.value)},
      labels.map(label => h("option", {value: label, selected: label === chosen}, label))));
}

// How far a planned experiment is.
function planned({plan, ...item}) {
  if (!plan) return null;
  const {ended, in_all: size, reached} = plan;
  return h("span", {class: "plan"}, ended
    ? `The plan for ${count(size)} visitors ended on ${dayOf(ended.at)} at ${count(ended.visitors)}: its verdict is final.`
    : `${count(participants(item))} of ${count(size)} planned visitors, ${percent(Math.floor(100 * reached) / 100, 0)}; `
      + "the verdict is final when they have come.");
}

// The verdict on the experiment, if it is that of none of its goals.
function ofTheWhole({verdict, goals, participants: labels}) {
  const isSaid = goals.length === 0 || goals.some(goal => goal.goal === verdict?.goal);
  if (!verdict || isSaid || verdict.state === "do_not_trust") return null;
  const names = [...labels.map(each => each.label), ...goals.map(each => each.goal)];
  const text = [verdict.text, verdict.reason].filter(Boolean).join(": ");
  return h("p", {class: "note whole"}, chip(verdict.state), h("span", null, sentence(text, names)));
}

function legend(item) {
  const sample = (width, mark) => s("svg", {class: "plot sample", width, height: 14, "aria-hidden": "true"}, mark);
  return h("p", {class: "legend"},
    h("span", null, sample(12, s("circle", {class: "estimate", cx: 6, cy: 7, r: 4})), "observed difference"),
    h("span", null, sample(34, s("rect", {class: "inner", x: 3, width: 28, y: 2, height: 10, rx: 1.5})),
      "95 % interval (single look)"),
    h("span", null, sample(34, s("path", {class: "outer", d: "M3 3v8M31 3v8M3 7h28"})),
      `95 % interval, ${decides(item)}`));
}
