// One goal of an experiment: the verdict and its reason, the rates, and how far each variant is from the control.

import { h, isolated, sentence } from "./elements.js";
import {
  chance, chosen, count, dateAndTime, decimalsOf, loss, pValue, percent, perVisitor, points, range, roundUp,
  signedPercent,
} from "./numbers.js";
import { goalOverTime } from "./overtime.js";
import { Scale, axis, bars } from "./plot.js";
import { column, figure, inOrder, kind, table, variantHeader } from "./tables.js";
import { called, chip, decides, deciding } from "./verdicts.js";

const COMPARED_WITH_CONTROL = {winner: "Better", loser: "Worse"};
const TAGS = {primary: "primary goal", guardrail: "guardrail"};
const READING_ORDER = ["primary", "goal", "guardrail", "secondary"];
const ALPHA = 0.05;
// The same as in formats.py.
const WITHIN = "Compared within periods (see the note on shares): differences and uplifts, and the rates in the sentence"
  + " above, are not those of the rates in this table.";

// The goal that decides, or is the headline's, then the guardrails, then the others.
export function inReadingOrder({goals, verdict}) {
  const isOther = goal => goal.goal !== verdict?.goal;
  return [...goals].sort((a, b) => READING_ORDER.indexOf(a.role) - READING_ORDER.indexOf(b.role) || isOther(a) - isOther(b));
}

export function goalSection(goal, item, index) {
  const labels = inOrder(goal.results.map(row => row.label), item);
  const rows = labels.map(label => goal.results.find(row => row.label === label));
  const title = `goal-${index}`;
  const isCompared = rows.some(row => row.difference_interval);
  const digits = decimalsOf(goal);
  const isDoubted = item.verdict?.state === "do_not_trust";
  return h("section", {class: isDoubted ? "card goal doubted" : "card goal", key: goal.goal, "aria-labelledby": title},
    h("header", {class: "goal-head"},
      h("h3", {id: title}, isolated(goal.goal)),
      TAGS[goal.role] ? h("span", {class: "tag"}, TAGS[goal.role]) : null, h("span", {class: "spring"}),
      goal.verdict ? chip(goal.verdict.state) : null),
    goal.verdict ? h("p", {class: "verdict"},
      h("strong", null, sentence(goal.verdict.text, labels)),
      goal.verdict.reason ? h("span", {class: "reason"}, sentence(goal.verdict.reason, labels)) : null,
      since(goal.verdict_since)) : null,
    goal.kind === "per_visitor" ? perVisitorTable(rows, item) : proportionTable(rows, item, isCompared, digits),
    goal.by_day ? h("p", {class: "quiet"}, WITHIN) : null,
    goalOverTime(goal, item, index === 0),
    isCompared ? allFigures(rows, item, goal, digits) : null);
}

function since(change) {
  if (!change) return null;
  return h("span", {class: "reason since"},
    `Since ${dateAndTime(new Date(change.at))}${change.before ? `; before: ${called(change.before)}` : ""}`);
}

function proportionTable(rows, item, isCompared, digits) {
  const control = rows.find(row => row.label === item.control);
  const variants = rows.filter(row => kind(row.label, item) !== "unexpected");
  const scale = isCompared ? new Scale(variants, item, control?.rate) : null;
  const write = end => points(end, digits.points);
  const head = [
    column("Variant", "variant-head"), column("Reached", "number reached"), column("Rate", "number rate"),
    isCompared ? [
      h("th", {scope: "col", class: "wide"},
        h("span", {class: "axis-title"}, "Difference: percentage points", scale.relativeTo ? ", and relative" : null),
        axis(scale)),
      column("Difference", "number difference", "points"), column("Uplift", "number uplift"),
    ] : null,
  ];
  return table(isCompared ? "figures compared" : "figures", head, rows.map(row => variantRow(row, item,
    // With two variants, the goal's chip says it all.
    variants.length > 2 && variants.includes(row) && row.verdict && row !== control
      ? chip(row.verdict.state, COMPARED_WITH_CONTROL[row.verdict.state]) : null,
    reached(row, "of"),
    figure("Rate", percent(row.rate, digits.rate)),
    isCompared ? [
      h("td", {class: "wide"}, row.difference_interval || row === control
        ? bars(scale, row, item, description(row, item, write)) : null),
      figure("Difference", row === control ? "" : write(row.difference), range(deciding(row, item), write)),
      figure("Uplift", row === control ? "" : signedPercent(row.uplift, digits.uplift)),
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

// What does not decide: whoever reads it by the side of a verdict should have asked for it.
function allFigures(rows, item, goal, digits) {
  const alpha = goal.alpha ?? ALPHA;
  const isGuardrail = goal.role === "guardrail"; // more of it may be worse, so nothing is said of beating and losing
  const sees = isGuardrail ? "in all" : `in all, to see ${chosen(item.smallest_change ?? 0.1)}`;
  const head = [
    column("Variant"), column("Rate", "number", "95 % interval"), column("Single look", "number", "points"),
    item.plan ? column("By the plan", "number", "points") : null, column("Always valid", "number", "points"),
    column("Uplift", "number", "single look"), column(isGuardrail ? "Chance to exceed" : "Chance to beat", "number", "the control"),
    isGuardrail ? null : column("Expected loss", "number", "points"), column("Still needed", "number", sees),
    column("Counting error", "number", "of the rate"),
  ];
  const write = end => points(end, digits.points);
  const body = rows.filter(row => row.difference_interval || row.label === item.control).map(row => {
    const isControl = !row.difference_interval;
    return variantRow(row, item, null,
      figure("Rate", range(row.rate_interval, end => percent(end, digits.rate))),
      figure("Single look", range(row.difference_interval, write), pValue(row.p_value)),
      item.plan ? figure("By the plan", range(row.planned_interval, write), pValue(row.planned_p_value)) : null,
      figure("Always valid", range(row.always_valid_interval, write), pValue(row.always_valid_p_value)),
      figure("Uplift", range(informative(row.uplift_interval), end => signedPercent(end, digits.uplift))),
      figure("Chance", isControl ? "" : chance(row.chance_to_beat_control)),
      isGuardrail ? null : figure("Expected loss", loss(row.expected_loss)),
      figure("Still needed", isControl ? "" : roundUp(row.visitors_needed), parts(row)),
      figure("Counting error", percent(row.counting_error, 2)));
  });
  return h("details", {class: "more"},
    h("summary", null, "All figures"),
    h("div", {class: "scroller", tabindex: "0", role: "region", "aria-label": `All figures of ${goal.goal}`},
      table("figures all", head, body)),
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
function description(row, item, write) {
  const interval = deciding(row, item);
  if (!interval) return "";
  return `Difference ${write(row.difference)} percentage points; 95 % interval, ${decides(item)}: ${range(interval, write)}`;
}
