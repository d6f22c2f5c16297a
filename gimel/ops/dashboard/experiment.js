// One experiment in full.

import { h, isolated, s, sentence } from "./elements.js";
import { goalSection } from "./goal.js";
import { plural } from "./numbers.js";
import { splitSection } from "./split.js";
import { participants, variants } from "./verdicts.js";
import { address } from "./view.js";

// `actions` are what can be done with it, and the control chosen; a snapshot has none.
export function experimentPane(item, actions) {
  return h("div", {class: "pane", key: item.experiment},
    h("header", {class: "experiment-head"},
      h("a", {class: "back", href: address({experiment: "", control: ""})}, "All experiments"),
      h("h2", {id: "experiment-title", tabindex: "-1"}, isolated(item.experiment)),
      h("p", {class: "quiet"}, plural(participants(item), "participant"), " · ",
        plural(variants(item).length, "variant"), " · ", plural(item.goals.length, "goal")),
      h("div", {class: "acts"},
        variants(item).length > 1 ? controlChoice(item, actions) : null,
        actions ? h("button", {type: "button", class: "plain danger", onclick: actions.remove}, "Delete…") : null)),
    splitSection(item),
    item.counting_note ? h("p", {class: "note counting"}, sentence(item.counting_note, [])) : null,
    item.goals.length ? null : h("p", {class: "card quiet"}, "No goal has been reached yet."),
    item.goals.some(goal => goal.results.some(row => row.difference_interval)) ? legend() : null,
    item.goals.map((goal, index) => goalSection(goal, item, index)));
}

function controlChoice(item, actions) {
  if (!actions) return h("p", null, "Compared with ", isolated(item.control, {class: "strong"}));
  const labels = variants(item).map(variant => variant.label);
  const chosen = labels.includes(actions.control) ? actions.control : item.control;
  return h("label", {class: "field"}, "Compared with",
    h("select", {id: "control", onchange: event => actions.choose(event.target.value)},
      labels.map(label => h("option", {value: label, selected: label === chosen}, label))));
}

function legend() {
  const sample = (width, mark) => s("svg", {class: "plot sample", width, height: 14, "aria-hidden": "true"}, mark);
  return h("p", {class: "legend"},
    h("span", null, sample(12, s("circle", {class: "estimate", cx: 6, cy: 7, r: 4})), "observed difference"),
    h("span", null, sample(34, s("rect", {class: "inner", x: 3, width: 28, y: 2, height: 10, rx: 1.5})),
      "95 % interval (single look)"),
    h("span", null, sample(34, s("path", {class: "outer", d: "M3 3v8M31 3v8M3 7h28"})),
      "95 % interval, no matter how often you check"));
}
