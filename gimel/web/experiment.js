// One experiment in full.

import { h, isolated, s, sentence, withNames } from "./elements.js";
import { goalSection, inReadingOrder } from "./goal.js";
import { count, dateAndTime, dayOf, percent, plural } from "./numbers.js";
import { howToRead } from "./reading.js";
import { isAlone } from "./source.js";
import { splitSection, warningsSection } from "./split.js";
import { lifeActions, lifeSection } from "./life.js";
import { copy, copyButton } from "./states.js";
import { chip, decides, participants, toneOf, variants } from "./verdicts.js";
import { address } from "./view.js";

// `actions` are what can be done with it, and the control chosen; a snapshot has none, and a reader no `change`.
// `arrival` is what a draft shows.
export function experimentPane(item, actions, arrival) {
  const isDraft = item.settings?.status === "draft";
  return h("div", {class: "pane", key: item.experiment},
    h("header", {class: "experiment-head"},
      h("a", {class: "back", href: address({experiment: "", control: ""})}, "All experiments"),
      h("h2", {id: "experiment-title", tabindex: "-1"}, isolated(item.experiment)),
      isDraft ? null : headline(item),
      isDraft ? null : h("p", {class: "quiet"}, plural(participants(item), "participant"), " · ",
        plural(variants(item).length, "variant"), " · ", plural(item.goals.length, "goal"), planned(item)),
      facts(item),
      h("div", {class: "acts"},
        variants(item).length > 1 ? controlChoice(item, actions) : null,
        actions ? copyButton("Copy link", actions.link) : null,
        actions ? h("button", {type: "button", class: "copy", onclick: () => copy(actions.markdown())},
          "Copy as Markdown") : null,
        actions?.change && !item.settings ? lifeActions(item, actions) : null)),
    lifeSection(item, actions),
    arrival,
    warningsSection(item),
    isAlone ? howToRead(item) : null,
    item.counting_note ? h("p", {class: "note counting"}, sentence(item.counting_note, [])) : null,
    item.goals.length || isDraft ? null : h("p", {class: "card quiet"}, "No goal has been reached yet."),
    item.goals.some(goal => goal.results.some(row => row.difference_interval)) ? legend(item) : null,
    inReadingOrder(item).map((goal, index) => goalSection(goal, item, index)),
    isDraft ? null : splitSection(item));
}

// What to repeat to whoever asks. An older server has no more than the verdict.
function headline({headline: text, verdict, participants: labels, goals, settings}) {
  if (!verdict) return null;
  const names = [...labels.map(each => each.label), ...goals.map(each => each.goal)];
  // That of a decision is of its moment, the verdict of now.
  return h("p", {class: `headline ${toneOf(verdict.state)}`}, settings?.decision == null ? chip(verdict.state) : null,
    h("span", null, text ? withNames(text, names) : sentence(verdict.text, names)));
}

// Since when, how fast, and until when; nothing of what no history tells.
export function facts({first_seen: first, last_seen: last, days, visitors_per_day: perDay}) {
  const speed = Object.values(perDay || {}).reduce((sum, each) => sum + each, 0);
  const known = [
    first ? `Since ${dateAndTime(new Date(first))}` : null,
    days >= 1 ? plural(Math.floor(days), "day") : null,
    speed ? `about ${count(Number(speed.toPrecision(2)))} visitors per day` : null,
    last ? `last event ${dateAndTime(new Date(last))}` : null,
  ].filter(Boolean);
  return known.length ? h("p", {class: "quiet facts"}, sentence(known.join(" · "), [])) : null;
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
export function planned({plan, ...item}) {
  if (!plan) return null;
  const {ended, in_all: size, reached} = plan;
  return h("span", {class: "plan"}, ended
    ? `The plan for ${count(size)} visitors ended on ${dayOf(ended.at)} at ${count(ended.visitors)}: its verdict is final.`
    : `${count(participants(item))} of ${count(size)} planned visitors, ${percent(Math.floor(100 * reached) / 100, 0)}; `
      + "the verdict is final when they have come.");
}

function legend(item) {
  const sample = (width, mark) => s("svg", {class: "plot sample", width, height: 14, "aria-hidden": "true"}, mark);
  return h("p", {class: "legend"},
    h("span", null, sample(12, s("circle", {class: "estimate", cx: 6, cy: 7, r: 4})), "observed difference"),
    h("span", null, sample(34, s("rect", {class: "inner", x: 3, width: 28, y: 2, height: 10, rx: 1.5})),
      `95 % interval, ${decides(item)}`));
}
