// Plots over time: small ones side by side with one time axis, and a cursor that runs through all of them, moved by
// the pointer or by keys. The figures at the cursor, or else the last ones, stand above each plot as its legend.

import { h, s } from "./elements.js";
import { dateAndTime } from "./numbers.js";
import { patch } from "./patch.js";

const TALL = 110; // of a plot, in pixels
const BELOW_PLOT = 18; // for the labels of the time axis
const STRETCHED = 1000; // of the coordinates of its lines, which are stretched to the plot's width
const LABEL_ROOM = 13; // from one label to the next, in pixels
const LONGEST_LABEL = 11; // characters
const MARK_ROOM = 0.24; // of the width: a mark with less of it before the next one has no label
const EDGE = 0.03; // of the width: no label of the time axis is nearer to its ends
const STRIDE = 10; // points that Page Up and Page Down go

let cursor = null; // {key, time}: where it stands, also when the plots are drawn again

// A group of plots. `times` are the moments (ms) that the cursor can stand at, and `from` and `to` the time axis;
// `marks` have a `time` and a `text`; `plots` a title, `low`, `high`, `write` for the labels of the axis, `bands`
// ({kind, lows, highs}), `lines` ({kind, values, times if they are others, end: its label}), and `figures(index)`: what
// is said there.
export function trendGroup(group) {
  const element = h("div", {
    class: "trends", key: group.key, role: "slider", tabindex: "0", "aria-label": group.label,
    "aria-valuemin": 0, "aria-valuemax": group.times.length - 1,
    onpointermove: event => point(event, group), onpointerdown: event => point(event, group),
    onpointerleave: event => leave(event.currentTarget, group),
    onkeydown: event => step(event, group), onblur: event => leave(event.currentTarget, group),
  },
  h("p", {class: "moment"}),
  h("div", {class: "panels"}, group.plots.map(plot => panel(plot, group))));
  place(element, group);
  return element;
}

function panel(plot, group) {
  const ends = labelsApart(plot.lines.filter(line => line.end), plot);
  return h("figure", {class: "panel", role: "presentation"},
    h("figcaption", {role: "presentation"},
      h("span", {class: "panel-title"}, plot.title), h("span", {class: "readout"})),
    h("div", {class: ends.length ? "frame ended" : "frame"},
      s("svg", {class: "plot scale", height: TALL + BELOW_PLOT, "aria-hidden": "true"}, levels(plot).map(value =>
        s("text", {class: "tick", x: "100%", y: down(value, plot) + 4, "text-anchor": "end", "data-value": value},
          plot.write(value, digitsOf(levels(plot)))))),
      s("svg", {class: "plot over", height: TALL + BELOW_PLOT, "aria-hidden": "true"},
        levels(plot).map(value => s("line", {class: value || !plot.hasZero ? "grid" : "zero", x1: 0, x2: "100%",
          y1: down(value, plot), y2: down(value, plot)})),
        s("svg", {width: "100%", height: TALL, viewBox: `0 0 ${STRETCHED} ${TALL}`, preserveAspectRatio: "none"},
          plot.bands?.map(band => s("path", {class: `band ${band.kind}`, d: area(band, plot, group)})),
          plot.lines.map(line => s("path",
            {class: `line ${line.kind}`, d: path(line.values, line.times || group.times, plot, group)}))),
        plot.hasMarks ? marks(group) : null,
        timeLabels(group),
        s("line", {class: "cursor", y1: 0, y2: TALL})),
      ends.length ? s("svg", {class: "plot ends", height: TALL + BELOW_PLOT, "aria-hidden": "true"}, ends.map(end =>
        s("text", {class: `tick ${end.kind}`, x: 0, y: end.y + 4}, end.text))) : null));
}

const along = (time, {from, to}) => to > from ? (time - from) / (to - from) : 0.5;
const down = (value, {low, high}) => TALL * (high - value) / (high - low);
const across = (time, group) => `${(100 * along(time, group)).toFixed(3)}%`;
const at = (value, time, plot, group) =>
  `${(STRETCHED * along(time, group)).toFixed(1)} ${down(value, plot).toFixed(2)}`;

// Runs of points that are known, as [from, until] of their indices.
function runs(isKnown, length) {
  const found = [];
  for (let index = 0; index < length; index++) {
    if (!isKnown(index)) continue;
    if (found.length && found.at(-1)[1] === index) found.at(-1)[1] = index + 1;
    else found.push([index, index + 1]);
  }
  return found;
}

function path(values, times, plot, group) {
  return runs(index => values[index] != null, values.length).map(([from, until]) => {
    const points = values.slice(from, until).map((value, index) => at(value, times[from + index], plot, group));
    return `M${points.join("L")}${points.length === 1 ? "h0" : ""}`; // a lone point is a dot
  }).join("");
}

// An open end, null, lies beyond the plot.
function area({lows, highs}, plot, group) {
  const far = plot.high - plot.low;
  return runs(index => lows[index] != null || highs[index] != null, lows.length).map(([from, until]) => {
    const edge = (values, open) => values.slice(from, until).map((value, index) =>
      at(value ?? open, group.times[from + index], plot, group));
    return `M${[...edge(highs, plot.high + far), ...edge(lows, plot.low - far).reverse()].join("L")}Z`;
  }).join("");
}

// Round values from the plot's lower to its upper end, two to five of them.
function levels({low, high}) {
  for (let power = 10 ** Math.floor(Math.log10((high - low) / 100)); ; power *= 10) {
    for (const factor of [1, 2, 5]) {
      const unit = factor * power;
      const [first, last] = [Math.ceil(low / unit), Math.floor(high / unit)];
      if (last - first < 5) return Array.from({length: last - first + 1}, (_, index) => (first + index) * unit);
    }
  }
}

// The decimals, in percent, that tell these shares apart.
function digitsOf(values) {
  const unit = values.length > 1 ? values[1] - values[0] : values[0] || 1;
  return Math.max(0, -Math.floor(Math.log10(100 * unit) + 1e-9));
}

function labelsApart(lines, plot) {
  const ends = lines.map(({kind, values, end}) => {
    const last = values.findLast(value => value != null);
    const text = end.length > LONGEST_LABEL ? `${end.slice(0, LONGEST_LABEL - 1)}…` : end;
    return {kind, text, y: last === undefined ? NaN : Math.max(4, Math.min(TALL - 4, down(last, plot)))};
  }).filter(end => !isNaN(end.y)).sort((a, b) => a.y - b.y);
  ends.forEach((end, index) => {
    if (index) end.y = Math.max(end.y, ends[index - 1].y + LABEL_ROOM);
  });
  ends.forEach((end, index) => {
    end.y = Math.min(end.y, TALL - 2 - LABEL_ROOM * (ends.length - 1 - index));
  });
  return ends;
}

function marks(group) {
  const shown = group.marks.filter(({time}) => time >= group.from && time <= group.to);
  return shown.map(({time, text}, index, all) => {
    const place = along(time, group);
    const next = index + 1 < all.length ? along(all[index + 1].time, group) : 1;
    const before = index ? along(all[index - 1].time, group) : 0;
    const isBefore = next - place < MARK_ROOM && index + 1 === all.length && place - before > MARK_ROOM;
    return [
      s("line", {class: "mark", x1: across(time, group), x2: across(time, group), y1: 0, y2: TALL, "data-time": time}),
      next - place >= MARK_ROOM || isBefore
        ? s("text", {class: "tick mark-label", x: across(time, group), dx: isBefore ? -4 : 4, y: 10,
          "text-anchor": isBefore ? "end" : "start"}, text) : null,
    ];
  });
}

const TIME_STEPS = [
  ...[1, 3, 6, 12].map(hours => ({hours})),
  ...[1, 2, 3, 7, 14].map(days => ({days})),
  ...[1, 2, 3, 6, 12, 24, 60].map(months => ({months})),
];

// Labels at round moments in the reader's zone, or in UTC where the points are days of UTC.
function timeLabels({from, to, isUtc}) {
  const zone = isUtc ? {timeZone: "UTC"} : {};
  for (const unit of TIME_STEPS) {
    const moments = roundMoments(from, to, unit, isUtc);
    if (moments.length > 4) continue;
    const day = {day: "numeric", month: "short"};
    const form = unit.hours ? {hour: "2-digit", minute: "2-digit"}
      : unit.days ? day : unit.months < 12 ? {month: "short", year: "2-digit"} : {year: "numeric"};
    return moments.map(time => s("text",
      {class: "tick minor", x: across(time, {from, to}), y: TALL + 14, "text-anchor": "middle", "data-time": time},
      new Date(time).toLocaleString("en-GB", {...(unit.hours && new Date(time).getHours() === 0 ? day : form), ...zone})));
  }
  return [];
}

function roundMoments(from, to, {hours, days, months}, isUtc) {
  const edge = EDGE * (to - from);
  const start = new Date(from);
  const moment = isUtc ? (...parts) => Date.UTC(...parts) : (...parts) => new Date(...parts).getTime();
  const [year, month, day] = isUtc ? [start.getUTCFullYear(), start.getUTCMonth(), start.getUTCDate()]
    : [start.getFullYear(), start.getMonth(), start.getDate()];
  const nth = months ? n => moment(year, Math.floor(month / months) * months + n * months, 1)
    : days ? n => moment(year, month, day + n * days) : n => moment(year, month, day, n * hours);
  const found = [];
  for (let n = 0; nth(n) <= to - edge && found.length < 6; n++) if (nth(n) >= from + edge) found.push(nth(n));
  return found;
}

function point(event, group) {
  const frame = event.target.closest(".panel")?.querySelector(".over");
  if (!frame) return;
  const {left, width} = frame.getBoundingClientRect();
  const time = group.from + (event.clientX - left) / width * (group.to - group.from);
  moveTo(event.currentTarget, group, nearest(time, group.times));
}

function nearest(time, times) {
  return times.reduce((best, each, index) => Math.abs(each - time) < Math.abs(times[best] - time) ? index : best, 0);
}

function step(event, group) {
  const last = group.times.length - 1;
  const now = cursor?.key === group.key ? nearest(cursor.time, group.times) : last;
  const target = {
    ArrowLeft: now - 1, ArrowRight: now + 1, ArrowDown: now - 1, ArrowUp: now + 1,
    PageDown: now - STRIDE, PageUp: now + STRIDE, Home: 0, End: last,
  }[event.key];
  if (event.key === "Escape" && cursor) leave(event.currentTarget, group);
  else if (target !== undefined) moveTo(event.currentTarget, group, Math.max(0, Math.min(last, target)));
  else return;
  event.preventDefault();
}

function moveTo(element, group, index) {
  cursor = {key: group.key, time: group.times[index]};
  place(element, group);
}

function leave(element, group) {
  if (cursor?.key !== group.key) return;
  cursor = null;
  place(element, group);
}

// Puts the cursor, and the figures of the point where it stands.
function place(element, group) {
  const isShown = cursor?.key === group.key;
  const index = isShown ? nearest(cursor.time, group.times) : group.times.length - 1;
  const moment = group.moment ? group.moment(index) : dateAndTime(new Date(group.times[index]));
  const said = [moment];
  patch(element.querySelector(".moment"), isShown ? moment : `Now: ${moment}`);
  for (const line of element.querySelectorAll(".cursor")) {
    line.toggleAttribute("hidden", !isShown);
    for (const end of ["x1", "x2"]) line.setAttribute(end, across(group.times[index], group));
  }
  element.querySelectorAll(".readout").forEach((readout, place) => {
    const plot = group.plots[place];
    const figures = plot.figures(index);
    patch(readout, figures.map(({kind, name, text}) => h("span", {class: "figure"},
      kind ? swatch(kind) : null, name ? h("bdi", null, name) : null, h("span", {class: "value"}, text))));
    said.push(`${plot.spoken}: ${figures.map(({name, text}) => [name, text].filter(Boolean).join(" ")).join(", ")}`);
  });
  element.setAttribute("aria-valuenow", index);
  element.setAttribute("aria-valuetext", said.join("; "));
}

function swatch(kind) {
  const isBand = kind.startsWith("band");
  return s("svg", {class: "swatch", width: 18, height: 10, "aria-hidden": "true"},
    isBand ? s("rect", {class: kind, width: 18, height: 10}) : s("path", {class: kind, d: "M0 5H18"}));
}
