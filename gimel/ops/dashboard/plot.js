// Intervals of differences on one axis: a bar holds with 95 % if one looks once, the line around it however often.

import { s } from "./elements.js";
import { MANIFOLD, points, signedPercent } from "./numbers.js";

const TONES = {winner: "good", loser: "bad"};
const HEIGHT = 30;
const AXIS_HEIGHT = 30;
const TICKS = 5;
const CROWD = 4; // of more ticks, a narrow plot has room for every second long label
const MARGIN = 0.07; // of the width, on either side: room for the first and the last label
const WIDEST = 2.5; // the line may lead out of the picture where it is so much longer than the bars

// From a difference to a place on the axis. Differences are shares: 0.01 is one percentage point.
export class Scale {
  constructor(results, controlRate) {
    const bars = ends(results, "difference_interval").concat(results.map(row => row.difference ?? 0));
    const limit = WIDEST * Math.max(...bars.map(Math.abs));
    const lines = ends(results, "always_valid_interval").map(end => Math.max(-limit, Math.min(limit, end)));
    const low = Math.min(0, ...bars, ...lines);
    const high = Math.max(0, ...bars, ...lines);
    const width = high - low || 0.02;
    this.low = low - MARGIN * width - (high > low ? 0 : 0.01);
    this.high = this.low + (1 + 2 * MARGIN) * width;
    // Next to a tiny rate everything is thousands of percent: such labels say little, and find no room.
    this.relativeTo = controlRate && Math.max(-low, high) / controlRate < MANIFOLD ? controlRate : null;
  }

  place(difference) {
    return 100 * Math.max(0, Math.min(1, (difference - this.low) / (this.high - this.low)));
  }

  holds(difference) {
    return difference !== null && difference >= this.low && difference <= this.high;
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

function ends(results, name) {
  return results.flatMap(row => row[name] ? [row[name].low, row[name].high] : []).filter(end => end !== null);
}

const at = place => `${place.toFixed(3)}%`;

// The axis' labels: percentage points, and below them the same as a share of the control's rate.
export function axis(scale) {
  const controlRate = scale.relativeTo;
  const {values, step, digits} = scale.ticks;
  return s("svg", {class: "plot axis", height: AXIS_HEIGHT, "aria-hidden": "true"}, values.map(value => {
    const x = at(scale.place(value));
    // Of a rate, no more than all can be lost.
    const relative = controlRate && value && value >= -controlRate
      ? signedPercent(value / controlRate, Math.abs(value / controlRate) < 0.0995 ? 1 : 0) : "";
    return [
      s("text", {class: "tick", x, y: 11, "text-anchor": "middle", "data-value": value}, points(value, digits)),
      relative ? s("text", {class: values.length > CROWD && Math.round(value / step) % 2 ? "tick minor between" : "tick minor", x, y: 25, "text-anchor": "middle"}, relative) : null,
    ];
  }));
}

export function bars(scale, row, label) {
  const middle = HEIGHT / 2;
  const grid = scale.ticks.values.map(value => s("line", {
    class: value ? "grid" : "zero", x1: at(scale.place(value)), x2: at(scale.place(value)), y1: 0, y2: HEIGHT,
  }));
  const marks = [];
  const outer = row.always_valid_interval;
  if (outer) {
    const [from, to] = drawn(scale, outer);
    marks.push(s("line", {class: "outer", x1: at(from), x2: at(to), y1: middle, y2: middle}));
    marks.push(cap(scale, outer.low, from, -1, middle), cap(scale, outer.high, to, 1, middle));
  }
  const inner = row.difference_interval;
  if (inner) {
    const [from, to] = drawn(scale, inner);
    marks.push(s("rect", {class: "inner", x: at(from), width: at(to - from), y: middle - 5, height: 10, rx: 1.5}));
  }
  if (row.difference !== null && inner) {
    marks.push(s("circle", {class: "estimate", cx: at(scale.place(row.difference)), cy: middle, r: 4}));
  }
  const said = label ? {role: "img", "aria-label": label} : {"aria-hidden": "true"};
  return s("svg", {class: `plot ${TONES[row.verdict?.state] || ""}`, height: HEIGHT, ...said}, grid, marks);
}

function drawn(scale, interval) {
  return [scale.place(interval.low ?? -Infinity), scale.place(interval.high ?? Infinity)];
}

// The end of a line; an arrow where it leads on, out of the picture.
function cap(scale, end, place, side, middle) {
  const shape = scale.holds(end) ? "M0-4V4" : `M${-4 * side}-4 0 0 ${-4 * side} 4`;
  return s("svg", {x: at(place), y: middle, overflow: "visible"}, s("path", {class: "outer", d: shape}));
}
