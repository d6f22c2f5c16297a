// The variants of an experiment: their participants, and whether the split is as expected.

import { h, icon, s, sentence, withNames } from "./elements.js";
import { count, percent } from "./numbers.js";
import { visitorsOverTime } from "./overtime.js";
import { column, figure, inOrder, kind, table, variantHeader } from "./tables.js";
import { participants } from "./verdicts.js";

export function splitSection(item) {
  const everyone = participants(item);
  const expected = new Map((item.sample_ratio?.expected || []).map(each => [each.label, each.share]));
  const trials = new Map(item.participants.map(variant => [variant.label, variant.trials]));
  const labels = inOrder(new Set([...trials.keys(), ...expected.keys()]), item);
  const shareOf = label => everyone && kind(label, item) !== "unexpected" ? (trials.get(label) || 0) / everyone : null;
  const widest = Math.max(...expected.values(), ...labels.map(shareOf));
  const digits = everyone >= 5000 ? 1 : 0;
  return h("section", {class: "card", "aria-labelledby": "split-title"},
    h("h3", {id: "split-title"}, "Participants"),
    table("figures split",
      [column("Variant"), ["Participants", "Share", "Expected"].map(title => column(title, "number")), h("td", {class: "wide"})],
      labels.map(label => h("tr", {key: label, class: kind(label, item)},
        variantHeader(label, item),
        figure("Participants", count(trials.get(label) || 0)),
        figure("Share", percent(shareOf(label), digits)),
        figure("Expected", percent(expected.get(label), digits)),
        h("td", {class: "wide"}, shareOf(label) === null ? null : bar(shareOf(label), expected.get(label), widest))))),
    visitorsOverTime(item));
}

// What to know before any figure is believed.
export function warningsSection(item) {
  const labels = item.participants.map(each => each.label);
  const notes = (item.notes || []).map(note =>
    h("p", {class: "note"}, icon("warning"), h("span", null, sentence(note, labels))));
  const {state, text, reason} = item.sample_ratio || {};
  if (state !== "mismatch") return notes;
  return [
    h("div", {class: "alarm", role: "note"}, icon("warning"),
      h("div", null, h("strong", null, "Sample ratio mismatch: ", withNames(text, labels)),
        reason ? h("p", null, sentence(`${reason}.`, labels)) : null)),
    notes,
  ];
}

function bar(share, expected, widest) {
  const at = value => `${(100 * value / (widest || 1)).toFixed(2)}%`;
  return s("svg", {class: "share", height: 14, "aria-hidden": "true"},
    s("rect", {class: "track", x: 0, y: 3, width: "100%", height: 8, rx: 2}),
    s("rect", {class: "fill", x: 0, y: 3, width: at(share), height: 8, rx: 2}),
    expected === undefined ? null : s("line", {class: "mark", x1: at(expected), x2: at(expected), y1: 0, y2: 14}));
}
