// The states of a verdict, and how each looks.

import { h, icon } from "./elements.js";

// In the order in which they deserve attention, that of the report.
const STATES = {
  do_not_trust: {short: "Do not trust", sign: "warning", tone: "alarm"},
  mixed: {short: "Mixed", sign: "mixed", tone: "alarm"},
  worse: {short: "Worse", sign: "warning", tone: "bad"},
  winner: {short: "Winner", sign: "winner", tone: "good"},
  loser: {short: "Control wins", sign: "loser", tone: "bad"},
  no_difference: {short: "No difference", sign: "equal", tone: "calm"},
  leaning: {short: "Leaning", sign: "leaning", tone: "calm"},
  inconclusive: {short: "Inconclusive", sign: "unknown", tone: "calm"},
  collecting: {short: "Collecting", sign: "collecting", tone: "calm"},
  not_yet_known: {short: "Open", sign: "collecting", tone: "calm"},
  not_worse: {short: "Kept", sign: "kept", tone: "calm"},
  per_visitor: {short: "Per visitor", sign: "visitor", tone: "calm"},
  no_data: {short: "No data", sign: "none", tone: "calm"},
  not_compared: {short: "Not compared", sign: "none", tone: "calm"},
  control: {short: "Control", sign: "none", tone: "calm"},
};
const ORDER = Object.keys(STATES);

export function rank(state) {
  return ORDER.includes(state) ? ORDER.indexOf(state) : ORDER.length;
}

// A state in words.
export function called(state) {
  return STATES[state]?.short || state.replaceAll("_", " ");
}

export function chip(state, text) {
  const {sign, tone} = STATES[state] || {sign: "none", tone: "calm"};
  return h("span", {class: `chip ${tone}`}, icon(sign), h("span", null, text || called(state)));
}

export function toneOf(state) {
  return STATES[state]?.tone || "calm";
}

// The interval that decides, and how it is called.
export function deciding(row, item) {
  return item.plan ? row.planned_interval : row.always_valid_interval;
}

export function decides(item) {
  return item.plan ? "by the plan" : "no matter how often you check";
}

// The reasons to doubt an experiment, in the report's words.
export function warnings(item) {
  const split = item.sample_ratio?.state === "mismatch" ? [item.sample_ratio.text] : [];
  return [...split, ...(item.notes || [])];
}

// Without the labels that are not variants of the experiment.
export function variants(item) {
  return item.participants.filter(one => !one.unexpected);
}

export function participants(item) {
  return variants(item).reduce((sum, variant) => sum + variant.trials, 0);
}
