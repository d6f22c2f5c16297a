// The variants of an experiment: their participants, and whether these are split as they should be.

import { h, icon, named, s, sentence } from "./elements.js";
import { compareNames, count, percent } from "./numbers.js";
import { participants } from "./verdicts.js";

const FULL = 100;

export function splitSection(item) {
  const everyone = participants(item);
  const expected = new Map((item.sample_ratio?.expected || []).map(each => [each.label, each.share]));
  const trials = new Map(item.participants.map(variant => [variant.label, variant.trials]));
  const labels = [...new Set([item.control, ...trials.keys(), ...expected.keys()])]
    .filter(label => typeof label === "string")
    .sort((a, b) => (b === item.control) - (a === item.control) || compareNames(a, b));
  const widest = Math.max(...expected.values(), ...[...trials.values()].map(each => everyone ? each / everyone : 0));
  const digits = everyone >= 5000 ? 1 : 0;
  const rows = labels.map(label => {
    const number = trials.get(label) || 0;
    const share = everyone ? number / everyone : null;
    return h("tr", {role: "row"},
      h("th", {scope: "row", role: "rowheader", class: "variant"}, h("span", {class: "labels"}, named(label),
        label === item.control ? h("span", {class: "tag"}, "control") : null)),
      h("td", {role: "cell", class: "number", "data-label": "Participants"}, count(number)),
      h("td", {role: "cell", class: "number", "data-label": "Share"}, percent(share, digits)),
      h("td", {role: "cell", class: "number quiet", "data-label": "Should be"},
        expected.has(label) ? percent(expected.get(label), digits) : "\u2013"),
      h("td", {role: "cell", class: "wide"}, bar(share || 0, expected.get(label), widest)));
  });
  return h("section", {class: "card", "aria-labelledby": "split-title"},
    h("h3", {id: "split-title"}, "Participants"),
    alarm(item, labels),
    h("table", {class: "figures split", role: "table"},
      h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, ["Variant", "Participants", "Share", "Should be"].map((title, index) =>
        h("th", {scope: "col", role: "columnheader", class: index ? "number" : null}, title)),
      h("td", {role: "cell", class: "wide"}))),
      h("tbody", {role: "rowgroup"}, rows)));
}

function alarm(item, labels) {
  const notes = (item.notes || []).map(note => h("p", {class: "note"}, icon("warning"), h("span", null, sentence(note, labels))));
  if (item.sample_ratio?.state !== "mismatch") return notes;
  const reason = item.sample_ratio.reason;
  return [h("div", {class: "alarm", role: "note"}, icon("warning"),
    h("div", null, h("strong", null, sentence(item.sample_ratio.text, labels)),
      reason ? h("p", null, sentence(`${reason}.`, labels)) : null)), notes];
}

function bar(share, expected, widest) {
  const scale = FULL / (widest || 1);
  return s("svg", {class: "share", height: 14, "aria-hidden": "true"},
    s("rect", {class: "track", x: 0, y: 3, width: "100%", height: 8, rx: 2}),
    s("rect", {class: "fill", x: 0, y: 3, width: `${(share * scale).toFixed(2)}%`, height: 8, rx: 2}),
    expected === undefined ? null
      : s("line", {class: "mark", x1: `${(expected * scale).toFixed(2)}%`, x2: `${(expected * scale).toFixed(2)}%`, y1: 0, y2: 14}));
}
