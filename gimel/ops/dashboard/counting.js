// The counters' own error: whether it matters to an experiment, and what a higher precision would change.

import { h } from "./elements.js";
import { percent } from "./numbers.js";

const Z95 = 1.96;
const MATTERS = 0.25; // of the variance of a rate
const FACTOR = 16; // how much higher a precision is proposed: the error becomes a quarter

// The largest share that counting has in the uncertainty (as a variance) of a rate of this experiment.
function shareOfCounting(item) {
  const shares = item.goals.filter(goal => goal.kind === "proportion").flatMap(goal => goal.results).map(row => {
    if (!row.counting_error || !row.rate || !row.rate_interval) return 0;
    const total = (row.rate_interval.high - row.rate_interval.low) / 2 / Z95;
    return total > 0 ? Math.min(1, (row.rate * row.counting_error / total) ** 2) : 0;
  });
  return Math.max(0, ...shares);
}

export function countingNote(item) {
  const share = shareOfCounting(item);
  if (share < MATTERS) return null;
  const error = Math.max(...item.participants.map(variant => variant.counting_error || 0));
  const narrower = 1 - Math.sqrt(1 - share * (1 - 1 / FACTOR));
  return h("p", {class: "note counting"},
    `Visitors are counted to within about ${percent(error, 1)} (standard error), which no further visitor mends. `,
    `It makes up to ${percent(share, 0)} of the uncertainty here, and every figure below allows for it. `,
    `A ${FACTOR} times higher `, h("code", null, "precision"), " in config.json would make the intervals up to ",
    `${percent(narrower, 0)} narrower, for visitors who come after the change.`);
}
