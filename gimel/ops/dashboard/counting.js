// The counters' own error: whether it matters to an experiment, and what a higher precision would change.

import { h } from "./elements.js";
import { percent } from "./numbers.js";

const Z95 = 1.96;
const MATTERS = 0.25; // of the variance of a rate
const STEP = 4; // from one precision to the next
const PRECISIONS = [1, 4, 16, 64, 256, "exact"];
// Between a HyperLogLog's relative error with few visitors, 0.71 / sqrt(registers), and with many, 1.04 / sqrt(registers).
const USUAL_ERROR = 0.86 / Math.sqrt(16384);

// The largest share that counting has in the uncertainty (as a variance) of a rate of this experiment.
function shareOfCounting(item) {
  const shares = item.goals.filter(goal => goal.kind === "proportion").flatMap(goal => goal.results).map(row => {
    if (!row.counting_error || !row.rate || !row.rate_interval) return 0;
    const total = (row.rate_interval.high - row.rate_interval.low) / 2 / Z95;
    return total > 0 ? Math.min(1, (row.rate * row.counting_error / total) ** 2) : 0;
  });
  return Math.max(0, ...shares);
}

// The precision above the one that has such an error.
function nextPrecision(error) {
  const steps = Math.round(Math.log((USUAL_ERROR / error) ** 2) / Math.log(STEP));
  return PRECISIONS[Math.max(0, Math.min(PRECISIONS.length - 2, steps)) + 1];
}

export function countingNote(item) {
  const share = shareOfCounting(item);
  if (share < MATTERS) return null;
  const error = Math.max(...item.participants.map(variant => variant.counting_error || 0));
  const next = nextPrecision(error);
  const narrower = 1 - Math.sqrt(1 - share * (next === "exact" ? 1 : 1 - 1 / STEP));
  return h("p", {class: "note counting"},
    `Visitors are counted to within about ${percent(error, 1)} (standard error), and more visitors do not mend that. `,
    `It makes up to ${percent(share, 0)} of the uncertainty here, and every figure below allows for it. `,
    "The next higher ", h("code", null, "precision"), " in config.json, ", h("code", null, JSON.stringify(next)),
    `, makes intervals up to ${percent(narrower, 0)} narrower, in an experiment that is counted so from its start.`);
}
