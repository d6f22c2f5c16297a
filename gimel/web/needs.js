// What needs a person today, and why.

import { dayOf } from "./numbers.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const SILENT = /^no events for \d+ days?$/; // the note on an experiment that is broken, or over
const STOPPED = 2; // days without events, if no note says so before
const FORGOTTEN = 30; // days: later, nobody waits for events
const WEEK = 7; // days that an experiment should run
const PAUSE_MS = 30 * 60 * 1000; // what comes after it is another visit
const VISITS = "gimel visits";
const LATER = {draft: 1, decided: 2, stopped: 2}; // the status of what needs nobody
const DECIDED = {winner: "a winner", loser: "the control wins", no_difference: "no difference"};

// The reasons, of which an experiment shows the first that applies, in this order. Each gives a few words, or nothing.
const NEEDS = [
  (item, {isSilent}) => !isSilent && item.verdict.state === "do_not_trust" ? "wrong split: find the cause" : null,
  (item, {isSilent}) => !isSilent && item.verdict.state === "mixed" ? "better and worse: decide which goal matters" : null,
  (item, {isSilent}) => !isSilent && item.verdict.state === "worse" ? "a guardrail got worse" : null,
  (item, {visit}) => DECIDED[item.verdict.state] && Date.parse(item.verdict_since?.at) > visit
    ? `decided since your last visit: ${DECIDED[item.verdict.state]}` : null,
  (item, {isSilent}) => !isSilent && item.plan?.ended ? `the plan ended on ${dayOf(item.plan.ended.at)}` : null,
  (item, {isSilent, isForgotten, note}) =>
    isSilent && !isForgotten && !DECIDED[item.verdict.state] && !item.plan?.ended ? note : null,
  (item, {isSilent}) => !isSilent && DECIDED[item.verdict.state] && (item.days ?? WEEK) >= WEEK && !isOpen(item)
    ? `${DECIDED[item.verdict.state]}: you can stop it` : null,
];

// Whether the headline says to wait: for a guardrail of the winner, or for a variant that may yet beat the control.
function isOpen({goals, verdict}) {
  return goals.some(each => each.role === "guardrail" ? each.verdict.state === "not_yet_known"
    : verdict.state === "loser" && each.goal === verdict.goal
      && each.results.some(row => ["leaning", "collecting"].includes(row.verdict.state)));
}

// {rank, why, group}: of an experiment that needs nobody, the last ranks and no reason. Drafts, and what is decided or
// stopped, are groups after the others. `visit` is when the last visit ended.
export function need(item, {visit, now}) {
  const later = LATER[item.settings?.status];
  if (later) return {rank: NEEDS.length + later, why: null, group: 1 + later};
  const note = (item.notes || []).find(each => SILENT.test(each));
  const quiet = (now - Date.parse(item.last_seen)) / DAY_MS; // not a number if that is unknown
  const known = {visit, note, isSilent: Boolean(note) || quiet > STOPPED, isForgotten: quiet > FORGOTTEN};
  for (let rank = 0; item.verdict && rank < NEEDS.length; rank++) {
    const why = NEEDS[rank](item, known);
    if (why) return {rank, why, group: 0};
  }
  return {rank: NEEDS.length, why: null, group: 1};
}

// When the last visit of this namespace ended; of the first one, now. Notes that this one goes on.
export function lastVisit(namespace, now) {
  try {
    const visits = JSON.parse(localStorage.getItem(VISITS) || "{}");
    const {since = +now, seen = +now} = visits[namespace] || {};
    visits[namespace] = {since: now - seen > PAUSE_MS ? seen : since, seen: +now};
    localStorage.setItem(VISITS, JSON.stringify(visits));
    return visits[namespace].since;
  } catch {
    return +now; // without local storage, nothing is known of earlier visits
  }
}
