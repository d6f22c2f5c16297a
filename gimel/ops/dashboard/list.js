// The experiments: searched, sorted, each with what a person should know first.

import { h, icon, named, words } from "./elements.js";
import { compareNames, count } from "./numbers.js";
import { chip, foremost, participants, rank, warnings } from "./verdicts.js";

const COLUMNS = {
  name: {title: "Experiment", value: item => item.experiment, compare: compareNames},
  verdict: {title: "Verdict", value: item => rank(foremost(item)?.verdict.state), compare: (a, b) => a - b},
  participants: {title: "Participants", value: participants, compare: (a, b) => b - a},
  goals: {title: "Goals", value: item => item.goals.length, compare: (a, b) => b - a},
  warnings: {title: "Warnings", value: item => warnings(item).length, compare: (a, b) => b - a},
};

// Those whose name or variants or goals hold all the words searched for, in the order asked for.
export function arranged(items, search, sort) {
  const terms = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found = items.filter(item => {
    const text = [item.experiment, ...item.participants.map(each => each.label), ...item.goals.map(each => each.goal)]
      .join("\n").toLocaleLowerCase();
    return terms.every(term => text.includes(term));
  });
  const isReversed = sort.startsWith("-");
  const column = COLUMNS[sort.replace("-", "")] || COLUMNS.verdict;
  return found.map(item => ({item, value: column.value(item), participants: participants(item)})).sort((a, b) =>
    (isReversed ? -1 : 1) * column.compare(a.value, b.value)
    || b.participants - a.participants || compareNames(a.item.experiment, b.item.experiment)).map(each => each.item);
}

export function listTable(items, selected, sort, addressOf, sortBy) {
  return h("table", {class: "experiments", role: "table"},
    h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, Object.entries(COLUMNS).map(([name, column]) =>
      heading(name, column, sort, sortBy)),
    h("th", {scope: "col", role: "columnheader", class: "unseen"}, "Summary"))),
    h("tbody", {role: "rowgroup"}, items.map(item => row(item, item.experiment === selected, addressOf(item)))));
}

function heading(name, {title}, sort, sortBy) {
  const isSorted = sort.replace("-", "") === name;
  const isReversed = isSorted && sort.startsWith("-");
  return h("th", {
    scope: "col", role: "columnheader", class: name,
    "aria-sort": isSorted ? (isReversed === (name === "name" || name === "verdict") ? "descending" : "ascending") : null,
  }, h("button", {type: "button", class: "sort", title: `Sort by ${title.toLowerCase()}`, "data-focus": `sort-${name}`,
    onclick: () => sortBy(isSorted && !isReversed ? `-${name}` : name)},
  name === "warnings" ? [icon("warning"), h("span", {class: "unseen"}, title)] : title,
  isSorted ? h("span", {class: isReversed ? "arrow reversed" : "arrow"}, icon("down")) : null));
}

function row(item, isSelected, href) {
  const first = foremost(item);
  const doubts = warnings(item);
  return h("tr", {role: "row", class: isSelected ? "selected" : null},
    h("th", {scope: "row", role: "rowheader", class: "name"},
      h("a", {href, "data-focus": `experiment ${item.experiment}`, "aria-current": isSelected ? "true" : null,
        title: item.experiment.length > 60 ? item.experiment : null}, named(item.experiment))),
    h("td", {role: "cell", class: "verdict"}, first ? chip(first.verdict.state) : chip("no_data", "No goal yet")),
    h("td", {role: "cell", class: "participants number"}, count(participants(item))),
    h("td", {role: "cell", class: "goals number"}, count(item.goals.length)),
    h("td", {role: "cell", class: "warnings", title: doubts.join("\n") || null}, doubts.length
      ? h("span", {class: "doubt"}, icon("warning"), h("span", null, count(doubts.length))) : h("span", {class: "unseen"}, "0")),
    h("td", {role: "cell", class: "summary"}, summary(item, first)));
}

// The chip above says already that it is collecting.
function withoutState({state, text}) {
  const said = `${state.replaceAll("_", " ")}: `;
  return text.startsWith(said) ? text.slice(said.length) : text;
}

function summary(item, first) {
  if (!first) return null;
  const labels = item.participants.map(each => each.label);
  const text = words(withoutState(first.verdict), labels);
  if (first.goal === null) return h("span", {class: "line"}, text);
  // A line each, so that a long name before it hides no loss.
  return [h("span", {class: "line"}, named(first.goal), ": ", text), first.losses.map(({label, goals}) =>
    h("span", {class: "line"}, "but ", named(label), " loses in ", goals.map((goal, index) => [index ? ", " : "", named(goal)])))];
}
