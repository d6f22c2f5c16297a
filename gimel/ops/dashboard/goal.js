// One goal of an experiment: the verdict and its reason, the rates, and how far each variant is from the control.

import { h, isolated, sentence } from "./elements.js";
import {
  chance, count, decimals, halfWidth, percent, perVisitor, points, probability, range, roundUp, sharedDecimals,
  signedPercent,
} from "./numbers.js";
import { Scale, axis, bars } from "./plot.js";
import { column, figure, inOrder, kind, table, variantHeader } from "./tables.js";
import { chip } from "./verdicts.js";

const COMPARED_WITH_CONTROL = {winner: "Better", loser: "Worse"};

export function goalSection(goal, item, index) {
  const labels = inOrder(goal.results.map(row => row.label), item);
  const rows = labels.map(label => goal.results.find(row => row.label === label));
  const title = `goal-${index}`;
  const isCompared = rows.some(row => row.difference_interval);
  return h("section", {class: "card goal", key: goal.goal, "aria-labelledby": title},
    h("header", {class: "goal-head"},
      h("h3", {id: title}, isolated(goal.goal)),
      goal.verdict ? chip(goal.verdict.state) : null),
    goal.verdict ? h("p", {class: "verdict"},
      h("strong", null, sentence(goal.verdict.text, labels)),
      goal.verdict.reason ? h("span", {class: "reason"}, sentence(goal.verdict.reason, labels)) : null) : null,
    goal.kind === "per_visitor" ? perVisitorTable(rows, item) : proportionTable(rows, item, isCompared),
    isCompared ? allFigures(rows, item) : null);
}

function proportionTable(rows, item, isCompared) {
  const control = rows.find(row => row.label === item.control);
  const variants = rows.filter(row => kind(row.label, item) !== "unexpected");
  const digits = sharedDecimals(variants.map(row => halfWidth(row.rate_interval)));
  const upliftDigits = sharedDecimals(variants.map(row => halfWidth(row.uplift_interval)));
  const scale = isCompared ? new Scale(variants, control?.rate) : null;
  const head = [
    column("Variant", "variant-head"), column("Reached", "number reached"),
    column("Conversion rate", "number rate", "95 % interval"),
    isCompared ? [
      h("th", {scope: "col", class: "wide"},
        h("span", {class: "axis-title"}, "Uplift: percentage points", scale.relativeTo ? ", and relative" : null),
        axis(scale)),
      column("Uplift", "number uplift", "relative"), column("Chance to beat", "number chance", "the control"),
    ] : null,
  ];
  return table(isCompared ? "figures compared" : "figures", head, rows.map(row => variantRow(row, item,
    // With two variants, the goal's chip says it all.
    variants.length > 2 && variants.includes(row) && row.verdict && row !== control
      ? chip(row.verdict.state, COMPARED_WITH_CONTROL[row.verdict.state]) : null,
    reached(row, "of"),
    figure("Rate", percent(row.rate, digits), range(row.rate_interval, end => percent(end, digits))),
    isCompared ? [
      h("td", {class: "wide"}, row.difference_interval || row === control ? bars(scale, row, description(row)) : null),
      figure("Uplift", row === control ? "" : signedPercent(row.uplift, upliftDigits),
        range(informative(row.uplift_interval), end => signedPercent(end, upliftDigits))),
      figure("Chance", row === control ? "" : chance(row.chance_to_beat_control)),
    ] : null)));
}

function perVisitorTable(rows, item) {
  const head = [column("Variant"), column("Reached", "number"), column("Per visitor", "number"), column("Uplift", "number")];
  return table("figures", head, rows.map(row => variantRow(row, item, null,
    reached(row, "by"),
    figure("Per visitor", perVisitor(row.rate)),
    row.label === item.control ? figure("Uplift", "")
      : figure("Uplift", signedPercent(row.uplift, 1), row.uplift == null ? null : "not tested"))));
}

function allFigures(rows, item) {
  const head = [
    column("Variant"), column("Difference", "number", "95 %, points"), column("Always valid", "number", "points"),
    column("p-value", "number", "single look"), column("p-value", "number", "always valid"),
    column("Still needed", "number", "to see 10\u202f%"), column("Counting error", "number", "of the rate"),
  ];
  const body = rows.filter(row => row.difference_interval).map(row => {
    const digits = decimals(100 * (halfWidth(row.difference_interval) || 0.01));
    const write = end => points(end, digits);
    return variantRow(row, item, null,
      figure("Difference", write(row.difference), range(row.difference_interval, write)),
      figure("Always valid", range(row.always_valid_interval, write)),
      figure("p-value, single look", probability(row.p_value)),
      figure("p-value, always valid", probability(row.always_valid_p_value)),
      figure("Still needed", roundUp(row.verdict?.state === "collecting" ? row.visitors_needed : null)),
      figure("Counting error", percent(row.counting_error, 2)));
  });
  return h("details", {class: "more"},
    h("summary", null, "All figures"),
    table("figures all", head, body),
    item.comparisons > 1 ? h("p", {class: "note"},
      `Intervals, p-values and verdicts are corrected for ${item.comparisons} comparisons with one control.`) : null);
}

function variantRow(row, item, mark, ...cells) {
  return h("tr", {key: row.label, class: kind(row.label, item)}, variantHeader(row.label, item, mark), cells);
}

function reached(row, preposition) {
  return figure("Reached", count(row.successes), row.trials ? `${preposition} ${count(row.trials)}` : "no visitors");
}

// No rate can fall by more than all of it: a lower end there, without an upper one, says nothing.
function informative(interval) {
  return interval && interval.high === null && interval.low <= -1 ? {low: null, high: null} : interval;
}

// The plot for those who cannot see it.
function description(row) {
  if (!row.difference_interval) return "";
  const write = end => points(end, 2);
  return `Difference ${write(row.difference)} percentage points; 95 % interval ${range(row.difference_interval, write)}; `
    + `no matter how often you check ${range(row.always_valid_interval, write)}`;
}
