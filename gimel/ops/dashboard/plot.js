// Intervals of differences on one axis: a bar for the interval of a single look, and around it a line for the one that
// decides.

import { s } from "./elements.js";
import { LARGE_UPLIFT, points, signedPercent } from "./numbers.js";
import { deciding } from "./verdicts.js";

const TONES = {winner: "good", loser: "bad", worse: "bad"};
const HEIGHT = 30;
const TICKS = 5;
const CROWDED = 4; // with more ticks, a narrow plot has room for every second relative label only
const MARGIN = 0.07; // of the width, on either side: room for the first and the last label
const LONGEST_LINE = 2.5; // times the longest bar: what goes beyond leaves the plot

// From a difference to a place on the axis. Differences are shares: 0.01 is one percentage point.
export class Scale {
  constructor(rows, item, controlRate) {
    const bars = bounds(rows.map(row => row.difference_interval)).concat(rows.map(row => row.difference ?? 0));
    const limit = LONGEST_LINE * Math.max(...bars.map(Math.abs));
    const lines = bounds(rows.map(row => deciding(row, item))).map(end => Math.max(-limit, Math.min(limit, end)));
    const low = Math.min(0, ...bars, ...lines);
    const high = Math.max(0, ...bars, ...lines);
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
  const x = (difference, beyond) => percentOfWidth(scale.place(difference ?? beyond));
  const grid = scale.ticks.values.map(value =>
    s("line", {class: value ? "grid" : "zero", x1: x(value), x2: x(value), y1: 0, y2: HEIGHT}));
  const marks = [];
  const line = deciding(row, item);
  if (line) {
    const [x1, x2] = [x(line.low, -Infinity), x(line.high, Infinity)];
    marks.push(s("line", {class: "outer", x1, x2, y1: middle, y2: middle}));
    marks.push(cap(scale, line.low, x1, -1, middle), cap(scale, line.high, x2, 1, middle));
  }
  const bar = row.difference_interval;
  if (bar) {
    const [from, to] = [scale.place(bar.low ?? -Infinity), scale.place(bar.high ?? Infinity)];
    const [start, width] = [percentOfWidth(from), percentOfWidth(to - from)];
    marks.push(s("rect", {class: "inner", x: start, width, y: middle - 5, height: 10, rx: 1.5}));
    marks.push(s("circle", {class: "estimate", cx: x(row.difference), cy: middle, r: 4}));
  }
  const spoken = description ? {role: "img", "aria-label": description} : {"aria-hidden": "true"};
  return s("svg", {class: `plot ${TONES[row.verdict?.state] || ""}`, height: HEIGHT, ...spoken}, grid, marks);
}

// The end of a line; an arrow where the line continues outside the plot.
function cap(scale, end, x, side, middle) {
  const isInside = end !== null && end >= scale.low && end <= scale.high;
  const shape = isInside ? "M0-4V4" : `M${-4 * side}-4 0 0 ${-4 * side} 4`;
  return s("svg", {x, y: middle, overflow: "visible"}, s("path", {class: "outer", d: shape}));
}
