// One goal of an experiment: the verdict and its reason, the rates, and how far each variant is from the control.

import { h, isolated, sentence } from "./elements.js";
import {
  chance, chosen, count, decimals, halfWidth, loss, pValue, percent, perVisitor, points, range, roundUp, sharedDecimals,
  signedPercent,
} from "./numbers.js";
import { goalOverTime } from "./overtime.js";
import { Scale, axis, bars } from "./plot.js";
import { column, figure, inOrder, kind, table, variantHeader } from "./tables.js";
import { chip, decides, deciding } from "./verdicts.js";

const COMPARED_WITH_CONTROL = {winner: "Better", loser: "Worse"};
const TAGS = {primary: "primary goal", guardrail: "guardrail"};
const READING_ORDER = ["primary", "goal", "guardrail", "secondary"];
const ALPHA = 0.05;

export function inReadingOrder(goals) {
  return [...goals].sort((a, b) => READING_ORDER.indexOf(a.role) - READING_ORDER.indexOf(b.role));
}

export function goalSection(goal, item, index) {
  const labels = inOrder(goal.results.map(row => row.label), item);
  const rows = labels.map(label => goal.results.find(row => row.label === label));
  const title = `goal-${index}`;
  const isCompared = rows.some(row => row.difference_interval);
  const isGuardrail = goal.role === "guardrail"; // more of it may be worse, so nothing is said of beating and losing
  return h("section", {class: "card goal", key: goal.goal, "aria-labelledby": title},
    h("header", {class: "goal-head"},
      h("h3", {id: title}, isolated(goal.goal)),
      TAGS[goal.role] ? h("span", {class: "tag"}, TAGS[goal.role]) : null, h("span", {class: "spring"}),
      goal.verdict ? chip(goal.verdict.state) : null),
    goal.verdict ? h("p", {class: "verdict"},
      h("strong", null, sentence(goal.verdict.text, labels)),
      goal.verdict.reason ? h("span", {class: "reason"}, sentence(goal.verdict.reason, labels)) : null) : null,
    goal.kind === "per_visitor" ? perVisitorTable(rows, item) : proportionTable(rows, item, isCompared, isGuardrail),
    goalOverTime(goal, item, index === 0),
    isCompared ? allFigures(rows, item, goal, isGuardrail) : null);
}

function proportionTable(rows, item, isCompared, isGuardrail) {
  const control = rows.find(row => row.label === item.control);
  const variants = rows.filter(row => kind(row.label, item) !== "unexpected");
  const digits = sharedDecimals(variants.map(row => halfWidth(row.rate_interval)));
  const upliftDigits = sharedDecimals(variants.map(row => halfWidth(row.uplift_interval)));
  const scale = isCompared ? new Scale(variants, item, control?.rate) : null;
  const head = [
    column("Variant", "variant-head"), column("Reached", "number reached"),
    column("Conversion rate", "number rate", "95 % interval"),
    isCompared ? [
      h("th", {scope: "col", class: "wide"},
        h("span", {class: "axis-title"}, "Uplift: percentage points", scale.relativeTo ? ", and relative" : null),
        axis(scale)),
      column("Uplift", "number uplift", "relative"),
      column(isGuardrail ? "Chance to exceed" : "Chance to beat", "number chance", "the control"),
    ] : null,
  ];
  return table(isCompared ? "figures compared" : "figures", head, rows.map(row => variantRow(row, item,
    // With two variants, the goal's chip says it all.
    variants.length > 2 && variants.includes(row) && row.verdict && row !== control
      ? chip(row.verdict.state, COMPARED_WITH_CONTROL[row.verdict.state]) : null,
    reached(row, "of"),
    figure("Rate", percent(row.rate, digits), range(row.rate_interval, end => percent(end, digits))),
    isCompared ? [
      h("td", {class: "wide"}, row.difference_interval || row === control
        ? bars(scale, row, item, description(row, item)) : null),
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

function allFigures(rows, item, goal, isGuardrail) {
  const alpha = goal.alpha ?? ALPHA;
  const sees = isGuardrail ? "in all" : `in all, to see ${chosen(item.smallest_change ?? 0.1)}`;
  const head = [
    column("Variant"), column("Difference", "number", "points"), column("Single look", "number", "points"),
    item.plan ? column("By the plan", "number", "points") : null, column("Always valid", "number", "points"),
    isGuardrail ? null : column("Expected loss", "number", "points"), column("Still needed", "number", sees),
    column("Counting error", "number", "of the rate"),
  ];
  const body = rows.filter(row => row.difference_interval || row.label === item.control).map(row => {
    const digits = decimals(100 * (halfWidth(row.difference_interval) || 0.01));
    const write = end => points(end, digits);
    const isCompared = Boolean(row.difference_interval);
    return variantRow(row, item, null,
      figure("Difference", isCompared ? write(row.difference) : ""),
      figure("Single look", range(row.difference_interval, write), pValue(row.p_value)),
      item.plan ? figure("By the plan", range(row.planned_interval, write), pValue(row.planned_p_value)) : null,
      figure("Always valid", range(row.always_valid_interval, write), pValue(row.always_valid_p_value)),
      isGuardrail ? null : figure("Expected loss", loss(row.expected_loss)),
      figure("Still needed", isCompared ? roundUp(row.visitors_needed) : "", parts(row)),
      figure("Counting error", percent(row.counting_error, 2)));
  });
  return h("details", {class: "more"},
    h("summary", null, "All figures"),
    table("figures all", head, body),
    item.comparisons > 1 ? h("p", {class: "note"},
      `Intervals, p-values and verdicts are corrected for ${item.comparisons} comparisons with one control.`) : null,
    alpha < ALPHA ? h("p", {class: "note"}, `Beside the primary goal, this one is tested at ${chosen(alpha)}, so the intervals `
      + `of differences and uplifts are ${chosen(1 - alpha)} ones.`) : null);
}

// Where the visitors still needed go.
function parts({visitors_needed: needed, visitors_needed_smallest: smallest, visitors_needed_equal: equal}) {
  if (!needed || !smallest) return null;
  return needed === equal ? `${roundUp(smallest)} per variant`
    : `${roundUp(smallest)} in the smallest; ${roundUp(equal)} with an equal split`;
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
function description(row, item) {
  if (!row.difference_interval) return "";
  const write = end => points(end, 2);
  return `Difference ${write(row.difference)} percentage points; 95 % interval ${range(row.difference_interval, write)}; `
    + `${decides(item)} ${range(deciding(row, item), write)}`;
}
