// The states of a verdict: how each looks, and what an experiment with several goals comes down to.

import { h, icon } from "./elements.js";

// In the order in which they deserve attention.
const STATES = {
  do_not_trust: {short: "Do not trust", sign: "warning", tone: "alarm"},
  mixed: {short: "Mixed", sign: "mixed", tone: "alarm"}, // only of an experiment: a winner of one goal loses another
  winner: {short: "Winner", sign: "winner", tone: "good"},
  loser: {short: "Control wins", sign: "loser", tone: "bad"},
  no_difference: {short: "No difference", sign: "equal", tone: "calm"},
  collecting: {short: "Collecting", sign: "collecting", tone: "calm"},
  per_visitor: {short: "Per visitor", sign: "visitor", tone: "calm"},
  no_data: {short: "Not compared", sign: "none", tone: "calm"},
  not_compared: {short: "Left out", sign: "none", tone: "calm"},
  control: {short: "Control", sign: "none", tone: "calm"},
};
const ORDER = Object.keys(STATES);

export function rank(state) {
  const found = ORDER.indexOf(state);
  return found < 0 ? ORDER.length : found;
}

function look(state) {
  return STATES[state] || {short: String(state).replaceAll("_", " "), sign: "none", tone: "calm"};
}

export function chip(state, text) {
  const {short, sign, tone} = look(state);
  return h("span", {class: `chip ${tone}`}, icon(sign), h("span", null, text || short));
}

// The verdict that a person should read first, with its goal and where its winners lose; null where no goal has been
// reached.
export function foremost(item) {
  if (item.sample_ratio?.state === "mismatch") {
    return {goal: null, verdict: {state: "do_not_trust", text: item.sample_ratio.text, reason: ""}, losses: []};
  }
  const judged = item.goals.filter(goal => goal.verdict);
  if (!judged.length) return null;
  const first = judged.reduce((best, goal) => rank(goal.verdict.state) < rank(best.verdict.state) ? goal : best);
  const losses = lossesOfWinners(item);
  return {goal: first.goal, verdict: losses.length ? {...first.verdict, state: "mixed"} : first.verdict, losses};
}

// Each variant that wins a goal, with the goals that it loses: who reads of the one must read of the other.
function lossesOfWinners(item) {
  const rows = item.goals.flatMap(goal => goal.results.map(row => ({goal: goal.goal, label: row.label, state: row.verdict?.state})));
  const winners = new Set(rows.filter(row => row.state === "winner").map(row => row.label));
  return [...winners].map(label => ({label, goals: rows.filter(row => row.label === label && row.state === "loser").map(row => row.goal)}))
    .filter(loss => loss.goals.length);
}

// What stands in the way of believing an experiment, in the report's words.
export function warnings(item) {
  const split = item.sample_ratio?.state === "mismatch" ? [item.sample_ratio.text] : [];
  return [...split, ...(item.notes || [])];
}

export function participants(item) {
  return (item.participants || []).reduce((sum, variant) => sum + variant.trials, 0);
}
