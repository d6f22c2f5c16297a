// One experiment in full.

import { countingNote } from "./counting.js";
import { h, named, s } from "./elements.js";
import { goalSection } from "./goal.js";
import { count } from "./numbers.js";
import { splitSection } from "./split.js";
import { participants } from "./verdicts.js";

// `act` has what can be done with it: choose a control, delete it; none of them in a snapshot.
export function experimentPane(item, act) {
  return [
    h("header", {class: "experiment-head"},
      h("a", {class: "back", href: act.overview, "data-focus": "back"}, "All experiments"),
      h("h2", {id: "experiment-title", tabindex: "-1"}, named(item.experiment)),
      h("p", {class: "quiet"}, plural(participants(item), "participant"), " · ",
        plural(item.participants.length, "variant"), " · ", plural(item.goals.length, "goal")),
      h("div", {class: "acts"},
        item.participants.length > 1 ? controlChoice(item, act.choose) : null,
        act.remove ? h("button", {type: "button", class: "plain danger", "data-focus": "delete",
          onclick: () => act.remove(item.experiment)}, "Delete…") : null)),
    splitSection(item),
    countingNote(item),
    item.goals.length ? null : h("p", {class: "card note"}, "No goal has been reached yet."),
    item.goals.some(goal => goal.results.some(row => row.difference_interval)) ? legend() : null,
    item.goals.map((goal, index) => goalSection(goal, item, index)),
  ];
}

function controlChoice(item, choose) {
  if (!choose) return h("p", null, "Compared with ", named(item.control, {class: "strong"}));
  return h("label", {class: "field"}, "Compared with",
    h("select", {id: "control", "data-focus": "control", onchange: event => choose(event.target.value)},
      item.participants.map(({label}) => h("option", {value: label, selected: label === item.control}, label))));
}

function legend() {
  const sample = (width, ...marks) => s("svg", {class: "plot sample", width, height: 14, "aria-hidden": "true"}, marks);
  return h("p", {class: "legend"},
    h("span", null, sample(12, s("circle", {class: "estimate", cx: 6, cy: 7, r: 4})), "as counted"),
    h("span", null, sample(34, s("rect", {class: "inner", x: 3, width: 28, y: 2, height: 10, rx: 1.5})), "95 % interval, if you look once"),
    h("span", null, sample(34, s("path", {class: "outer", d: "M3 3v8M31 3v8M3 7h28"})), "holds however often you look"));
}

export function plural(number, thing) {
  return `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
}
