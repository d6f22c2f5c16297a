// One goal of an experiment: the verdict and its reason, the rates, and how far each variant is from the control.

import { h, named, sentence } from "./elements.js";
import {
  chance, compareNames, count, decimals, halfWidth, percent, perVisitor, points, probability, range, roughly,
  sharedDecimals, signedPercent,
} from "./numbers.js";
import { Scale, axis, bars } from "./plot.js";
import { chip } from "./verdicts.js";

const BESIDE_CONTROL = {winner: "Better", loser: "Worse"};

export function goalSection(goal, item, index) {
  const labels = goal.results.map(row => row.label);
  const title = `goal-${index}`;
  return h("section", {class: "card goal", "aria-labelledby": title},
    h("header", {class: "goal-head"},
      h("h3", {id: title}, named(goal.goal)),
      goal.verdict ? chip(goal.verdict.state) : null),
    // Of a broken split the participants' part tells already, once for all goals.
    goal.verdict && goal.verdict.state !== "do_not_trust" ? h("p", {class: "verdict"},
      h("strong", null, sentence(goal.verdict.text, labels)),
      goal.verdict.reason ? h("span", {class: "reason"}, sentence(goal.verdict.reason, labels)) : null) : null,
    goal.kind === "per_visitor" ? perVisitorTable(goal, item) : proportionTable(goal, item),
    goal.results.some(row => row.difference_interval) ? everyFigure(goal, item, index) : null);
}

function proportionTable(goal, item) {
  const rows = controlFirst(goal.results, item);
  const compared = rows.some(row => row.difference_interval);
  const control = rows.find(row => row.label === item.control);
  const digits = sharedDecimals(rows.map(row => halfWidth(row.rate_interval)));
  const upliftDigits = sharedDecimals(rows.map(row => halfWidth(row.uplift_interval)));
  const scale = compared ? new Scale(rows, control?.rate) : null;
  const head = [
    column("Variant", "variant-head"), column("Reached", "number reached"), column("Rate", "number rate", "95 % interval"),
    compared ? h("th", {scope: "col", role: "columnheader", class: "wide"},
      h("span", {class: "axis-title"}, "Uplift: percentage points", scale.relativeTo ? ", and relative" : null),
      axis(scale)) : null,
    compared ? column("Uplift", "number uplift", "relative") : null,
    compared ? column("Chance to beat", "number chance", "the control") : null,
  ];
  const body = rows.map(row => h("tr", {role: "row", class: row.label === item.control ? "control" : null},
    variantCell(row, item, rows.length > 2),
    cell("Reached", count(row.successes), row.trials ? `of ${count(row.trials)}` : "no visitors"),
    cell("Rate", percent(row.rate, digits), row.rate_interval && range(row.rate_interval, end => percent(end, digits))),
    compared ? h("td", {role: "cell", class: "wide"}, row.difference_interval || row.label === item.control ? bars(scale, row, spoken(row)) : null) : null,
    compared ? cell("Uplift", row.label === item.control ? "" : signedPercent(row.uplift, upliftDigits),
      row.uplift_interval && range(known(row.uplift_interval), end => signedPercent(end, upliftDigits))) : null,
    compared ? cell("Chance", row.label === item.control ? "" : chance(row.chance_to_beat_control)) : null));
  return table(compared ? "proportion compared" : "proportion", head, body);
}

function perVisitorTable(goal, item) {
  const body = controlFirst(goal.results, item).map(row => h("tr", {role: "row", class: row.label === item.control ? "control" : null},
    variantCell(row, item, false),
    cell("Reached", count(row.successes), row.trials ? `by ${count(row.trials)}` : "no visitors"),
    cell("Per visitor", perVisitor(row.rate)),
    cell("Uplift", row.label === item.control ? "" : signedPercent(row.uplift, 1), row.uplift === null ? null : "not tested")));
  const head = [column("Variant"), column("Reached", "number"), column("Per visitor", "number"), column("Uplift", "number")];
  return table("per-visitor", head, body);
}

function everyFigure(goal, item, index) {
  const titles = [
    ["Variant"], ["Difference", "95 %, points"], ["Always valid", "points"], ["p-value", "one look"],
    ["p-value", "always valid"], ["Still needed", "to see 10\u202f%"], ["Counting error", "of the rate"],
  ];
  const body = controlFirst(goal.results, item).filter(row => row.difference_interval).map(row => {
    const digits = decimals(100 * (halfWidth(row.difference_interval) || 0.01));
    const write = end => points(end, digits);
    return h("tr", {role: "row"},
      variantCell(row, item, false),
      cell("Difference", write(row.difference), range(row.difference_interval, write)),
      cell("Always valid", range(row.always_valid_interval, write)),
      cell("p-value, one look", probability(row.p_value)),
      cell("p-value, always valid", probability(row.always_valid_p_value)),
      cell("Still needed", stillNeeded(row)),
      cell("Counting error", percent(row.counting_error, 2)));
  });
  return h("details", {class: "more", "data-keep": `figures-${index}`},
    h("summary", {"data-focus": `figures-${index}`}, "All figures"),
    table("all", titles.map(([title, below], nth) => column(title, nth ? "number" : null, below)), body),
    item.comparisons > 1 ? h("p", {class: "note"},
      `Intervals, p-values and verdicts are corrected for ${item.comparisons} comparisons with one control.`) : null);
}

// That nothing is left of a rate is where every uplift begins: with no end above, it says nothing.
function known(interval) {
  return interval.high === null && interval.low <= -1 ? {low: null, high: null} : interval;
}

// Visitors, while there is a verdict to wait for.
function stillNeeded(row) {
  return row.verdict?.state === "collecting" && row.visitors_needed !== null ? roughly(row.visitors_needed) : "\u2013";
}

function controlFirst(rows, item) {
  return [...rows].sort((a, b) => (b.label === item.control) - (a.label === item.control) || compareNames(a.label, b.label));
}

function table(kind, head, body) {
  return h("table", {class: `figures ${kind}`, role: "table"},
    h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, head)), h("tbody", {role: "rowgroup"}, body));
}

function column(title, kind, below) {
  return h("th", {scope: "col", role: "columnheader", class: kind}, title, below ? h("small", null, below) : null);
}

function cell(title, text, below) {
  return h("td", {role: "cell", class: "number", "data-label": title},
    h("span", {class: "value"}, text), below ? h("small", null, below) : null);
}

function variantCell(row, item, judged) {
  const isControl = row.label === item.control;
  return h("th", {scope: "row", role: "rowheader", class: "variant"}, h("span", {class: "labels"}, named(row.label, {title: row.label.length > 60 ? row.label : null}),
    isControl ? h("span", {class: "tag"}, "control") : null,
    judged && row.verdict && !isControl ? chip(row.verdict.state, BESIDE_CONTROL[row.verdict.state]) : null));
}

// What the plot says to those who do not see it.
function spoken(row) {
  if (!row.difference_interval) return "";
  const write = end => points(end, 2);
  return `Difference ${write(row.difference)} percentage points; with 95 % ${range(row.difference_interval, write)}; `
    + `however often one looks ${range(row.always_valid_interval, write)}`;
}
