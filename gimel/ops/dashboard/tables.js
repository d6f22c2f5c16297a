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
    isolated(label, tooltip(label)), label === item.control ? h("span", {class: "tag"}, "control") : null, more));
}

export function tooltip(name) {
  return {title: name.length > LONG ? name : null};
}

export function controlFirst(labels, item) {
  return [...labels].sort((a, b) => (b === item.control) - (a === item.control) || compareNames(a, b));
}
