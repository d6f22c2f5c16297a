// The list of experiments: what needs a person first, then the others; searched and sorted.

import { capitalize, h, icon, isolated, withNames } from "./elements.js";
import { need } from "./needs.js";
import { compareNames, count } from "./numbers.js";
import { sparkline } from "./sparkline.js";
import { column, tooltip } from "./tables.js";
import { statusTag } from "./life.js";
import { chip, participants, rank, warnings } from "./verdicts.js";
import { address, show } from "./view.js";

const GROUPED = "verdict"; // sorted by another column, the list is not grouped
const GROUPS = ["Needs you", "Everything else", "Drafts", "Decided and stopped"];
const COLUMNS = {
  name: {title: "Experiment", value: item => item.experiment, compare: compareNames},
  verdict: {title: "Verdict", value: item => rank(item.verdict?.state), compare: (a, b) => a - b},
  participants: {title: "Participants", value: participants, compare: (a, b) => b - a},
  goals: {title: "Goals", value: item => item.goals.length, compare: (a, b) => b - a},
  warnings: {title: "Warnings", value: item => warnings(item).length, compare: (a, b) => b - a},
};

export function isArchived(item) {
  return item.settings?.status === "archived";
}

function contains(text, search) {
  const terms = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return terms.every(term => text.toLocaleLowerCase().includes(term));
}

// The names of archived experiments that contain every search term.
export function namesMatching(names, search) {
  return names.filter(name => contains(name, search)).sort(compareNames);
}

export function archivedGroup(names, selected, search) {
  if (!names.length) return null;
  return h("details", {class: "filed", open: Boolean(search) || names.includes(selected)},
    h("summary", null, "Archived ", h("span", {class: "quiet"}, count(names.length))),
    h("ul", null, names.map(name => h("li", {key: name, class: name === selected ? "selected" : null},
      h("a", {href: address({experiment: name, control: ""}), "aria-current": name === selected ? "true" : null, ...tooltip(name)},
        isolated(name))))));
}

// The experiments, but for archived ones, whose name, variants and goals contain every search term. `since`: see needs.js.
export function filterAndSort(items, search, sort, since) {
  const matches = items.filter(item => !isArchived(item)
    && contains([item.experiment, ...namesIn(item)].join("\n"), search));
  const direction = sort.startsWith("-") ? -1 : 1;
  const column = COLUMNS[sort.replace("-", "")] || COLUMNS.verdict;
  const ranks = new Map(matches.map(item => [item, sort === GROUPED ? need(item, since).rank : 0]));
  return matches.sort((a, b) => ranks.get(a) - ranks.get(b) || direction * column.compare(column.value(a), column.value(b))
    || participants(b) - participants(a) || compareNames(a.experiment, b.experiment));
}

export function listTable(items, selected, {sort, search}, since) {
  const rows = items.map(item => ({...need(item, since), item}))
    .map(({why, group, item}) => ({group, row: experimentRow(item, why, item.experiment === selected)}));
  const inGroup = index => rows.filter(({group}) => group === index).map(({row}) => row);
  const [urgent, ...others] = GROUPS.map((_, index) => inGroup(index));
  return h("table", {class: "experiments"},
    h("thead", null, h("tr", null, Object.keys(COLUMNS).map(name => sortHeader(name, sort)), column("Summary", "unseen"),
      column("Visitors per day", "unseen"))),
    sort === GROUPED ? [
      urgent.length || !search ? group(urgent.length ? GROUPS[0] : "Nothing needs you today", urgent) : null,
      others.map((found, index) => found.length ? group(GROUPS[index + 1], found) : null),
    ] : h("tbody", null, rows.map(({row}) => row)));
}

function group(title, rows) {
  return h("tbody", {key: title}, h("tr", {class: "group"}, h("th", {scope: "rowgroup", role: "rowheader"},
    title, rows.length ? h("span", {class: "quiet"}, ` ${count(rows.length)}`) : null)), rows);
}

function sortHeader(name, sort) {
  const {title} = COLUMNS[name];
  const isSorted = sort.replace("-", "") === name;
  const isReversed = isSorted && sort.startsWith("-");
  const isAscending = isReversed !== (name === "name" || name === "verdict");
  const next = isSorted && !isReversed ? `-${name}` : name;
  return h("th", {scope: "col", class: name, "aria-sort": !isSorted ? null : sort === GROUPED ? "other" : isAscending ? "ascending" : "descending"},
    h("button", {type: "button", class: "sort", title: `Sort by ${title.toLowerCase()}`, onclick: () => show({sort: next})},
      name === "warnings" ? [icon("warning"), h("span", {class: "unseen"}, title)] : title,
      isSorted ? h("span", {class: isReversed ? "arrow reversed" : "arrow"}, icon("down")) : null));
}

function experimentRow(item, why, isSelected) {
  const status = item.settings?.status || "running";
  const notes = warnings(item);
  const href = address({experiment: item.experiment, control: ""});
  const everyone = participants(item);
  return h("tr", {key: item.experiment, class: isSelected ? "selected" : null},
    h("th", {scope: "row", role: "rowheader", class: "name"},
      h("a", {href, "aria-current": isSelected ? "true" : null, ...tooltip(item.experiment)}, isolated(item.experiment))),
    h("td", {class: "verdict"}, status === "draft" ? null : item.verdict ? chip(item.verdict.state) : chip("no_data", "No verdict"),
      status === "running" ? null : statusTag(status)),
    h("td", {class: "participants number", "data-unit": everyone === 1 ? "participant" : "participants"}, count(everyone)),
    h("td", {class: "goals number"}, count(item.goals.length)),
    h("td", {class: "warnings", title: notes.join("\n") || null}, notes.length
      ? h("span", {class: "doubt"}, icon("warning"), h("span", null, count(notes.length)))
      : h("span", {class: "unseen"}, "0")),
    h("td", {class: "summary"}, why ? h("strong", {class: "why"}, capitalize(why)) : null, item.verdict && status !== "draft" ? summary(item) : null),
    h("td", {class: "sparks"}, sparkline(item)));
}

function summary(item) {
  const {state, goal, text} = item.verdict;
  // That a winner also loses is in the last words, so they are never cut off.
  return h("span", {class: state === "mixed" ? null : "line"},
    goal === null ? null : [isolated(goal), ": "], withNames(text, namesIn(item)));
}

function namesIn(item) {
  return [...item.participants.map(each => each.label), ...item.goals.map(each => each.goal)];
}
