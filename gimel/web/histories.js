// The histories of experiments: each is read when its experiment is shown, and again when its report has changed.

import { problem, request, snapshot } from "./source.js";
import { readView } from "./view.js";

const MAX_KEPT = 20;
const AT_A_TIME = 6; // requests, as many as a browser sends to one server
const EXPORTED_POINTS = 100; // of each experiment that was not looked at

const kept = new Map(); // the last ones, by namespace, experiment and control

const keyOf = item => JSON.stringify([readView().namespace, item.experiment, item.control]);

// The history of an experiment as far as it is known: its `series`, null until it is there, and the last `failure`.
export function historyOf(item) {
  const series = snapshot?.histories?.find(each => each.experiment === item.experiment);
  return snapshot ? {series: series || null, failure: null} : kept.get(keyOf(item)) || {series: null, failure: null};
}

// Reads the history of an experiment unless it is that of this report, which was read at `readAt`; then calls `redraw`.
export async function readHistory(item, readAt, redraw) {
  const key = keyOf(item);
  const made = JSON.stringify(item);
  const before = kept.get(key);
  if (snapshot || (before?.made === made && (!before.failure || before.readAt === readAt))) return;
  const found = {made, readAt, series: before?.series || null, failure: null};
  kept.delete(key);
  kept.set(key, found);
  if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value);
  try {
    found.series = await fetched(item);
  } catch (error) {
    found.failure = error;
  }
  redraw();
}

async function fetched({experiment, control}, limit) {
  const chosen = control === null ? {} : {control};
  const answer = JSON.parse(await request("history", {namespace: readView().namespace, experiment, ...chosen, ...limit}));
  if (!answer.goals) throw problem("answer", "this API has no histories");
  return answer;
}

// Those of all of these experiments, without those that cannot be read.
export async function everyHistory(items) {
  const waiting = [...items];
  const found = [];
  const worker = async () => {
    for (let item = waiting.shift(); item; item = waiting.shift()) {
      try {
        found.push(historyOf(item).series || await fetched(item, {limit: EXPORTED_POINTS}));
      } catch {
        // The figures are exported all the same.
      }
    }
  };
  await Promise.all(Array.from({length: AT_A_TIME}, worker));
  return found;
}
