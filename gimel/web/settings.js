// The settings of an experiment as a form, and what to do if others change them at the same time.

import { askFirst, inLines } from "./dialogs.js";
import { h, icon, isolated } from "./elements.js";
import { SETTINGS, aboutPart, goalsPart, planPart, variantsPart } from "./fields.js";
import { chosen, count } from "./numbers.js";

// `change` sends changes based on a version of the settings.
export function editSettings(item, change) {
  let {settings} = item;
  const isFixed = key => settings.in_config.includes(key);
  const parts = [aboutPart(), goalsPart(item, isFixed), variantsPart(item, isFixed), planPart(isFixed)];
  const fill = values => parts.forEach(part => part.fill(values));
  const read = () => Object.assign({}, ...parts.map(part => part.read()));
  fill(settings);
  let before = read();
  const changes = () => {
    const now = read();
    const isChanged = ([key, value]) => !isFixed(key) && !isSame(value, before[key]);
    const changed = Object.fromEntries(Object.entries(now).filter(isChanged));
    // Weights name the variants themselves.
    return changed.weights && !isFixed("variants") ? {...changed, variants: null} : changed;
  };
  const conflict = h("div", {class: "conflict", role: "alert", hidden: true});

  // Takes what others changed as the new base, and leaves what was typed here.
  function rebase(details) {
    const mine = changes();
    const theirs = details.settings;
    const other = Object.keys(before).filter(key => !(key in mine) && !isSame(theirs[key] ?? null, settings[key] ?? null));
    const clashes = Object.keys(mine).filter(key => key in details.changed && !isSame(mine[key], theirs[key] ?? null));
    settings = theirs;
    fill(theirs);
    before = read();
    fill({...theirs, ...mine});
    conflict.hidden = false;
    conflict.replaceChildren(icon("warning"), h("div", null,
      h("p", null, h("strong", null, "Somebody else changed these settings while you were editing. What you typed is still "
        + "here, and not saved yet.")),
      clashes.length ? h("ul", null, clashes.map(key => h("li", null,
        h("strong", null, SETTINGS[key]), ": theirs is ", inWordsOf(key, theirs[key]), ", yours is ",
        inWordsOf(key, mine[key]), ". ",
        h("button", {type: "button", onclick: ({target}) => {
          fill({...read(), [key]: theirs[key], ...(key === "weights" ? {variants: theirs.variants} : {})});
          target.closest("li").replaceChildren(h("strong", null, SETTINGS[key]), ": theirs is kept.");
        }}, "Use theirs")))) : null,
      other.length ? h("p", null, "Also changed, and kept: ", other.map(key => SETTINGS[key] || key).join(", "), ".") : null,
      h("p", null, "Save again to replace theirs with yours.")));
    conflict.scrollIntoView({block: "nearest"});
    conflict.querySelector("button")?.focus();
  }

  function explain(error) {
    form().querySelectorAll("[aria-invalid]").forEach(each => { each.removeAttribute("aria-invalid"); });
    form().querySelectorAll(".problem").forEach(each => each.remove());
    if (hasChanged(error)) {
      rebase(error.details);
      return [];
    }
    const {problems = [error.message]} = error.details || {};
    const unplaced = problems.filter(problem => !place(problem));
    const lines = unplaced.length ? [...unplaced, error.hint].filter(Boolean)
      : [`${count(problems.length)} of these ${problems.length === 1 ? "settings is" : "settings are"} not valid; see above.`];
    form().querySelector("[aria-invalid]")?.focus();
    return [icon("warning"), h("div", null, lines.map(line => h("p", null, line)))];
  }

  // Puts a problem below the field that it is about. Whether there is one.
  function place(problem) {
    const [, key, text] = /^(\w+): (.*)$/s.exec(problem) || [];
    const field = key && form().querySelector(`[data-key~="${key}"]`);
    if (!field) return false;
    const id = `problem-${key}`;
    field.append(h("p", {class: "problem", id}, SETTINGS[key], ": ", text));
    const input = field.querySelector("input, textarea, select");
    input?.setAttribute("aria-invalid", "true");
    input?.setAttribute("aria-describedby", `${id} help-${key}`);
    return true;
  }

  const form = () => conflict.closest("form");
  askFirst({
    title: "Settings", kind: "settings", confirm: "Save", explain,
    isChanged: () => Object.keys(changes()).length > 0,
    act: async () => {
      const made = changes();
      if (Object.keys(made).length) await change(made, settings.version);
    },
    content: [
      h("p", {class: "name"}, isolated(item.experiment, {class: "strong"})),
      conflict, parts.map(part => part.element),
    ],
  });
}

// Whether somebody else has changed the experiment, and not deleted it.
function hasChanged({details}) {
  return Boolean(details?.changed && details.settings.version);
}

// A failure of a dialog that asks for one thing only, as elements.
export function changedMeanwhile(error) {
  if (!hasChanged(error)) return inLines(error);
  return [icon("warning"), h("div", null,
    h("p", null, "Somebody else changed this experiment meanwhile:"),
    h("ul", null, Object.entries(error.details.changed).map(([key, {was, is}]) => h("li", null,
      h("strong", null, SETTINGS[key] || key), was == null ? null : [" was ", inWordsOf(key, was), ","],
      " is now ", inWordsOf(key, is), "."))),
    h("p", null, "Confirm again to go on."))];
}

function inWordsOf(key, value) {
  if (value == null || value.length === 0 || (typeof value === "object" && !Object.keys(value).length)) return "not set";
  if (key === "smallest_change" && typeof value === "number") return chosen(value);
  if (typeof value === "number") return count(value);
  if (Array.isArray(value)) return joined(value.map(each => isolated(each)));
  if (typeof value === "object") {
    const write = number => key !== "guardrails" || typeof number !== "number" ? String(number)
      : `must not ${number > 0 ? "rise" : "fall"} by more than ${chosen(Math.abs(number))}`;
    return joined(Object.entries(value).map(([name, number]) => [isolated(name), " ", write(number)]));
  }
  return ["“", isolated(value), "”"];
}

function joined(parts) {
  return parts.flatMap((part, index) => index ? [", ", part] : [part]);
}

function isSame(one, other) {
  const plain = value => JSON.stringify(value, (_, each) => each && typeof each === "object" && !Array.isArray(each)
    ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => a < b ? -1 : 1)) : each);
  return plain(one) === plain(other);
}
