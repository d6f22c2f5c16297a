// Builds elements. Names come from the public internet: they are only ever set as text, each isolated from its context.

const SVG = "http://www.w3.org/2000/svg";

// Right-to-left scripts, and the invisible characters that change the direction of what follows.
const BIDI = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff]|[\ud802\ud803\ud83a\ud83b]/;

// The event handler properties in use: patch.js copies them, so that no element keeps an outdated handler.
export const HANDLERS = new Set();

// Browsers drop the roles of a table that CSS lays out as a grid, so they are spelled out.
const ROLES = {table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", th: "columnheader", td: "cell"};

// A `key` distinguishes an element from its siblings: see patch.js.
function build(element, {key, ...attributes}, children) {
  element.key = key;
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      element[name] = value;
      HANDLERS.add(name);
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(tag, attributes, ...children) {
  return build(document.createElement(tag), {role: ROLES[tag], ...attributes}, children);
}

export function s(tag, attributes, ...children) {
  return build(document.createElementNS(SVG, tag), attributes || {}, children);
}

// What a person can see and type of a name: without invisible characters, and with single spaces.
export function typeable(name) {
  return name.normalize().replace(/[\s\p{Z}\u115f\u1160\u2800\u3164\uffa0]+/gu, " ").replace(/[\p{Cc}\p{Cf}]/gu, "").trim();
}

export function isolated(name, attributes) {
  return h("bdi", attributes, typeable(name) ? name : `“${name}” (blank)`);
}

// A text of the report. Names in it are isolated if they could change the direction of the rest.
export function withNames(text, names) {
  const bidiNames = [...names].filter(name => BIDI.test(name)).sort((a, b) => b.length - a.length);
  let parts = [text];
  for (const name of bidiNames) {
    parts = parts.flatMap(part => typeof part !== "string" ? [part]
      : part.split(name).flatMap((piece, index) => index ? [h("bdi", null, name), piece] : [piece]));
  }
  // No line break between a number and its unit.
  return parts.map(part => typeof part === "string" ? part.replace(/(\d) %/g, "$1\u202f%") : part);
}

export function capitalize(text) {
  return /^https?:/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

// The same as a sentence: with a capital letter, unless it begins with a name.
export function sentence(text, names) {
  const isName = [...names].some(name => text.startsWith(name));
  return withNames(isName ? text : capitalize(text), names);
}

const ICONS = {
  winner: "M3 9.5 8 4l5 5.5M8 4.5V13",
  loser: "M3 6.5 8 12l5-5.5M8 3v8.5",
  mixed: "M5 13V3.5M2 6.5l3-3 3 3M11 3v9.5M8 9.5l3 3 3-3",
  equal: "M3 6h10M3 10h10",
  leaning: "m3 11 10-6",
  unknown: "M5.6 5.9a2.4 2.4 0 1 1 3.4 2.2C8.2 8.5 8 9 8 9.8M8 12.6v.2",
  kept: "m3 8.5 3.5 3.5L13 4.5",
  collecting: "M8 4.5V8l2.5 1.8M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z",
  warning: "M8 2 15 14H1ZM8 6.5v3.5M8 12v.2",
  visitor: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8Zm-5 6c.3-3 2.3-4.4 5-4.4s4.7 1.4 5 4.4",
  none: "M4 8h8",
  down: "m4 6 4 4 4-4",
};

export function icon(name) {
  return s("svg", {class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false"},
    s("path", {d: ICONS[name], fill: "none", stroke: "currentColor", "stroke-width": 1.7,
      "stroke-linecap": "round", "stroke-linejoin": "round"}));
}
