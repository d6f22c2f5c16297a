// What the tables of figures have in common.

import { h, isolated } from "./elements.js";
import { compareNames } from "./numbers.js";

const LONG = 60; // characters: a longer name may be cut off, so it is its own tooltip

export function table(kind, head, rows) {
  return h("table", {class: kind}, h("thead", null, h("tr", null, head)), h("tbody", null, rows));
}

export function column(title, kind, below) {
  return h("th", {scope: "col", class: kind}, title, below ? h("small", null, below) : null);
}

// A figure; its title is shown where the table has no visible head, and `below` in small print.
export function figure(title, text, below) {
  return h("td", {class: "number", "data-label": title},
    h("span", {class: "value"}, text), below ? h("small", null, below) : null);
}

export function variantHeader(label, item, ...more) {
  return h("th", {scope: "row", role: "rowheader", class: "variant"}, h("span", {class: "labels"},
    isolated(label, tooltip(label)), kind(label, item) ? h("span", {class: "tag"}, kind(label, item)) : null, more));
}

export function tooltip(name) {
  return {title: name.length > LONG ? name : null};
}

// What distinguishes a label from the other variants; also the class of its row.
export function kind(label, item) {
  if (label === item.control) return "control";
  return item.participants.some(one => one.label === label && one.unexpected) ? "unexpected" : null;
}

// In the order of a table: the control, the other variants, and then the labels that are none.
export function inOrder(labels, item) {
  const rank = new Map([...labels].map(label => [label, ["control", null, "unexpected"].indexOf(kind(label, item))]));
  return [...labels].sort((a, b) => rank.get(a) - rank.get(b) || compareNames(a, b));
}
