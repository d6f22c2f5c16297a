// Intervals of differences on one axis: a bar for the one that decides, and a dot for the difference.

import { s } from "./elements.js";
import { LARGE_UPLIFT, points, signedPercent } from "./numbers.js";
import { deciding } from "./verdicts.js";

const TONES = {winner: "good", loser: "bad", worse: "bad"};
const HEIGHT = 30;
const TICKS = 5;
const CROWDED = 4; // with more ticks, a narrow plot has room for every second relative label only
const MARGIN = 0.07; // of the width, on either side: room for the first and the last label
const LONGEST_BAR = 2.5; // times the longest interval of a single look: what goes beyond leaves the plot

// From a difference to a place on the axis. Differences are shares: 0.01 is one percentage point.
export class Scale {
  constructor(rows, item, controlRate) {
    const differences = rows.map(row => row.difference ?? 0);
    const limit = LONGEST_BAR * Math.max(...bounds(rows.map(row => row.difference_interval)).map(Math.abs), 0);
    const ends = bounds(rows.map(row => deciding(row, item))).map(end => Math.max(-limit, Math.min(limit, end)));
    const low = Math.min(0, ...differences, ...ends);
    const high = Math.max(0, ...differences, ...ends);
    const width = high - low || 0.02;
    this.low = low - MARGIN * width - (high > low ? 0 : 0.01);
    this.high = this.low + (1 + 2 * MARGIN) * width;
    // Relative to a tiny rate, everything is thousands of percent: such labels say little and do not fit.
    this.relativeTo = controlRate && Math.max(-low, high) / controlRate < LARGE_UPLIFT ? controlRate : null;
  }

  place(difference) {
    return 100 * Math.max(0, Math.min(1, (difference - this.low) / (this.high - this.low)));
  }

  // The finest round steps that leave room for their labels.
  get ticks() {
    const inset = MARGIN / 2 * (this.high - this.low);
    const first = 10 ** Math.floor(Math.log10((this.high - this.low) / 100));
    for (let power = first; ; power *= 10) {
      for (const factor of [1, 2, 5]) {
        const step = factor * power;
        const from = Math.ceil((this.low + inset) / step);
        const to = Math.floor((this.high - inset) / step);
        if (to - from < TICKS) {
          const values = Array.from({length: to - from + 1}, (_, n) => (from + n) * step);
          return {values, step, digits: Math.max(0, -Math.floor(Math.log10(step * 100) + 1e-9))};
        }
      }
    }
  }
}

function bounds(intervals) {
  return intervals.flatMap(interval => interval ? [interval.low, interval.high] : []).filter(end => end !== null);
}

const percentOfWidth = place => `${place.toFixed(3)}%`;

// The labels of the axis: percentage points, and below them the same relative to the control's rate.
export function axis(scale) {
  const controlRate = scale.relativeTo;
  const {values, step, digits} = scale.ticks;
  const label = (kind, value, y, text) => s("text",
    {class: kind, x: percentOfWidth(scale.place(value)), y, "text-anchor": "middle", "data-value": value}, text);
  return s("svg", {class: "plot axis", height: HEIGHT, "aria-hidden": "true"}, values.map(value => {
    const uplift = controlRate ? value / controlRate : 0;
    const isEverySecond = values.length > CROWDED && Math.round(value / step) % 2;
    return [
      label("tick", value, 11, points(value, digits)),
      // No rate can fall by more than all of it.
      uplift && uplift >= -1 ? label(isEverySecond ? "tick minor between" : "tick minor", value, 25,
        signedPercent(uplift, Math.abs(uplift) < 0.0995 ? 1 : 0)) : null,
    ];
  }));
}

export function bars(scale, row, item, description) {
  const middle = HEIGHT / 2;
  const x = difference => percentOfWidth(scale.place(difference));
  const grid = scale.ticks.values.map(value =>
    s("line", {class: value ? "grid" : "zero", x1: x(value), x2: x(value), y1: 0, y2: HEIGHT}));
  const marks = [];
  const bar = deciding(row, item);
  if (bar) {
    const [from, to] = [scale.place(bar.low ?? -Infinity), scale.place(bar.high ?? Infinity)];
    marks.push(s("rect", {class: "inner", x: percentOfWidth(from), width: percentOfWidth(to - from), y: middle - 5, height: 10, rx: 1.5}));
    if (from === 0) marks.push(arrow(from, -1, middle));
    if (to === 100) marks.push(arrow(to, 1, middle));
  }
  if (row.difference_interval) marks.push(s("circle", {class: "estimate", cx: x(row.difference), cy: middle, r: 4}));
  const spoken = description ? {role: "img", "aria-label": description} : {"aria-hidden": "true"};
  return s("svg", {class: `plot ${TONES[row.verdict?.state] || ""}`, height: HEIGHT, ...spoken}, grid, marks);
}

// The end of a bar that continues outside the plot.
function arrow(place, side, middle) {
  return s("svg", {x: percentOfWidth(place), y: middle, overflow: "visible"},
    s("path", {class: "beyond", d: `M0-5 ${5 * side} 0 0 5Z`}));
}
