// What is plotted over time: of a goal the difference from the control and the rates, of an experiment the visitors.

import { h, isolated } from "./elements.js";
import { historyOf } from "./histories.js";
import { count, dateAndTime, dayOf, decimalsOf, percent, perVisitor, points, range } from "./numbers.js";
import { patch } from "./patch.js";
import { column, table } from "./tables.js";
import { trendGroup } from "./trend.js";
import { called } from "./verdicts.js";

const SPLITS = {mismatch: "Split wrong", ok: "Split right"};

const STYLES = 6; // of lines: see trend.css
const DAY_OF_UTC = 24 * 3600e3;
// What counts for the range of an axis, by the share of today's visitors that had come: the first bands are so wide that
// nothing else could be seen beside them.
const FIRST_BAND = 0.25;
const FIRST_ESTIMATE = 0.05;
const ROOM = 0.06; // of that range

const openings = new Map(); // what the reader has opened or closed

export function goalOverTime(goal, item, isOpen) {
  const {series} = historyOf(item);
  const own = series?.goals.find(each => each.goal === goal.goal);
  if (!own || series.at.length < 2) return null;
  return foldable(`${item.experiment}\n${goal.goal}`, "Over time", isOpen, () => {
    const group = goalGroup(own, goal, item, series);
    return [trendGroup(group), asTable(group)];
  });
}

export function visitorsOverTime(item) {
  const {series, failure} = historyOf(item);
  if (failure && !series) {
    return h("p", {class: "quiet history-note"}, `The history could not be read: ${failure.message}. `
      + "If the API was deployed before it kept histories, deploy it again.");
  }
  if (!series) return null;
  if (series.at.length < 2 || series.days.day.length === 0) {
    return h("p", {class: "quiet history-note"}, "No history yet: the first point comes within an hour.");
  }
  return foldable(item.experiment, "Visitors per day", true, () => {
    const group = visitorsGroup(item, series);
    return [trendGroup(group), asTable(group)];
  });
}

// Its content is made when it is open.
function foldable(key, title, isOpenAtFirst, content) {
  const head = h("summary", null, title);
  const isOpen = openings.get(key) ?? isOpenAtFirst;
  return h("details", {class: "more over-time", key: `over time ${key}`, open: isOpen, ontoggle: ({target}) => {
    if (target.open === (openings.get(key) ?? isOpenAtFirst)) return;
    openings.set(key, target.open);
    if (target.open) patch(target, h("summary", null, title), content());
  }}, head, isOpen ? content() : null);
}

function goalGroup(own, goal, item, series) {
  const times = series.at.map(Date.parse);
  const states = statesOf(goal.goal, series);
  const compared = Object.entries(own.differences || {});
  const isRepeated = own.kind === "per_visitor";
  return {
    key: `${item.experiment}\n${goal.goal}`, label: `${goal.goal} over time`,
    times, from: times[0], to: times.at(-1),
    marks: states.slice(1), // the first verdict changed nothing
    moment: index => [dateAndTime(new Date(times[index])), stateAt(times[index], states)].filter(Boolean).join(" · "),
    plots: [
      ...(isRepeated ? [] : compared.map(([label, found]) => differencePlot(label, found, goal, series))),
      ratesPlot(own, goal, series, times, isRepeated),
    ],
  };
}

// The states of a goal's verdict, or with "" of the split, and since when.
function statesOf(goal, series) {
  return series.verdicts.filter(each => each.goal === goal)
    .map(({at, state}) => ({time: Date.parse(at), text: goal ? called(state) : SPLITS[state] || state}));
}

function stateAt(time, states) {
  return states.findLast(state => state.time <= time)?.text;
}

function differencePlot(label, found, goal, series) {
  const {difference, low, high, once_low: onceLow, once_high: onceHigh} = found;
  const come = shareOfVisitors(series);
  const known = (values, from) => values.filter((value, index) => value !== null && come[index] >= from);
  const bands = [low, high, onceLow, onceHigh].flatMap(values => known(values, FIRST_BAND));
  const row = goal.results.find(each => each.label === label);
  const tone = {winner: "good", loser: "bad", worse: "bad"}[row?.verdict?.state] || "";
  const write = value => points(value, decimalsOf(goal).points);
  return {
    title: [isolated(label), " − ", isolated(series.control), h("small", null, "percentage points")],
    spoken: `${label} minus ${series.control}, percentage points`,
    ...padded([0, ...known(difference, FIRST_ESTIMATE), ...bands]), hasZero: true, hasMarks: true, write: points,
    bands: [{kind: "decides", lows: low, highs: high}, {kind: `once ${tone}`, lows: onceLow, highs: onceHigh}],
    lines: [{kind: "middle", values: difference}],
    figures: index => [
      {kind: "line middle", text: write(difference[index])},
      {kind: "band decides", name: "decides", text: interval(low[index], high[index], write)},
      {kind: `band once ${tone}`, name: "single look", text: interval(onceLow[index], onceHigh[index], write)},
    ],
  };
}

function interval(low, high, write) {
  return low === null && high === null ? "–" : range({low, high}, write);
}

function ratesPlot(own, goal, series, times, isRepeated) {
  const days = series.days.day.map(day => Date.parse(day));
  const middles = days.map(day => Math.max(times[0], Math.min(times.at(-1), day + DAY_OF_UTC / 2)));
  const reached = series.days.reached[own.goal] || {};
  const daily = label => days.map((_, index) => series.days.visitors[label]?.[index] > 0
    ? (reached[label]?.[index] ?? 0) / series.days.visitors[label][index] : null);
  const come = shareOfVisitors(series);
  const byLabel = series.labels.map((label, index) =>
    ({label, rates: own.rates[label], daily: daily(label), style: `v${index % STYLES}`}));
  const rates = byLabel.flatMap(each =>
    each.rates.filter((rate, index) => rate !== null && come[index] >= FIRST_ESTIMATE));
  const perDay = byLabel.flatMap(each => each.daily).filter(rate => rate !== null).sort((a, b) => a - b);
  const usual = perDay.slice(Math.floor(0.05 * perDay.length), Math.ceil(0.95 * perDay.length));
  const write = isRepeated ? perVisitor : rate => percent(rate, decimalsOf(goal).rate);
  const dayAt = index => days.findLastIndex(day => day <= times[index]);
  return {
    title: [isRepeated ? "Per visitor" : "Conversion rate", h("small", null, "cumulative; thin: per day (UTC)")],
    spoken: isRepeated ? "Per visitor" : "Conversion rate",
    ...padded([...rates, ...usual], 0), write: isRepeated ? perVisitor : percent,
    lines: [
      ...byLabel.map(each => ({kind: `daily ${each.style}`, values: each.daily, times: middles})),
      ...byLabel.map(each => ({kind: each.style, values: each.rates, end: each.label})),
    ],
    figures: index => byLabel.map(each => ({kind: `line ${each.style}`, name: each.label,
      text: `${write(each.rates[index])} (day: ${write(each.daily[dayAt(index)])})`})),
  };
}

function visitorsGroup(item, series) {
  const days = series.days.day.map(day => Date.parse(day));
  const byLabel = series.labels.map((label, index) =>
    ({label, visitors: series.days.visitors[label], style: `v${index % STYLES}`}));
  const today = days.length - 1;
  const known = (values, from, until) => values.map((value, index) => index >= from && index <= until ? value : null);
  const states = statesOf("", series);
  return {
    key: item.experiment, label: "Visitors per day", times: days, from: days[0], to: days[today], isUtc: true,
    marks: states.filter(({text}, index) => index || text !== SPLITS.ok),
    moment: index => [`${dayOf(days[index])} (UTC)${index === today ? ", so far" : ""}`,
      stateAt(days[index] + DAY_OF_UTC - 1, states)].filter(Boolean).join(" · "),
    plots: [{
      title: ["Visitors", h("small", null, "per day (UTC)")], spoken: "Visitors",
      hasMarks: true, write: value => count(value),
      ...padded([0, ...byLabel.flatMap(each => each.visitors)], 0),
      lines: [
        ...byLabel.map(each => ({kind: each.style, values: known(each.visitors, 0, today - 1), end: each.label})),
        // Today is not over.
        ...byLabel.map(each => ({kind: `unfinished ${each.style}`, values: known(each.visitors, today - 1, today)})),
      ],
      figures: index => byLabel.map(each =>
        ({kind: `line ${each.style}`, name: each.label, text: count(each.visitors[index])})),
    }],
  };
}

// How much of today's visitors had come at each point.
function shareOfVisitors(series) {
  const all = series.at.map((_, index) => series.labels.reduce((sum, label) => sum + series.visitors[label][index], 0));
  return all.map(visitors => visitors / (all.at(-1) || 1));
}

// The range of an axis on which these values lie; never below `least`.
function padded(values, least = -Infinity) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = ROOM * (high - low) || Math.abs(high) / 10 || 0.01;
  return {low: Math.max(least, low - room), high: high + room};
}

// The same in a table, for those who prefer one.
function asTable(group) {
  return foldable(`${group.key}\ntable`, "As a table", false, () => {
    const columns = group.plots.flatMap(plot =>
      plot.figures(0).map(({name}) => [plot.spoken, name].filter(Boolean).join(", ")));
    return h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": group.label},
      table("points", ["Time", ...columns].map(title => column(title)), group.times.map((_, index) =>
        h("tr", null, h("th", {scope: "row", role: "rowheader"}, group.moment(index)),
          group.plots.flatMap(plot => plot.figures(index)).map(({text}) => h("td", {class: "number"}, text))))));
  });
}
