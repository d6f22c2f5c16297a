// The parts of the form of settings. `fill` shows values by key, as the API has them, and `read` gives those now shown: null
// for what is not set. `isFixed` says which keys are set in config.json.

import { h } from "./elements.js";
import { compareNames } from "./numbers.js";
import { participants, variants } from "./verdicts.js";

export const SETTINGS = {
  hypothesis: "Hypothesis", owner: "Owner", link: "Link", goal: "Goal that decides", guardrails: "Guardrails",
  per_visitor: "Goals counted per visitor", goals: "All its goals", baseline: "Control", variants: "All its variants",
  weights: "Weights", smallest_change: "Smallest change that matters", planned_visitors: "Planned visitors",
  status: "Status", decision: "Decision", note: "Note",
};
const ROLES_OF_GOALS = {
  "": "No special role", goal: "Decides (primary goal)", fall: "Guardrail: must not fall", rise: "Guardrail: must not rise",
  per_visitor: "Per visitor, not tested",
};
const KEY_OF_ROLE = {goal: "goal", fall: "guardrails", rise: "guardrails", per_visitor: "per_visitor"};
const ACCEPTED = 0.02; // what a guardrail may change if nobody says otherwise

export function aboutPart() {
  const fields = {
    hypothesis: h("textarea", {id: "set-hypothesis", rows: 3, dir: "auto"}),
    owner: h("input", {id: "set-owner", type: "text", autocomplete: "off", dir: "auto"}),
    link: h("input", {id: "set-link", type: "text", inputmode: "url", autocomplete: "off", spellcheck: "false",
      placeholder: "https://"}),
  };
  return {
    element: formPart("About", ["hypothesis", "owner", "link"].map(key => settingField(key, fields[key]))),
    fill: values => Object.keys(fields).forEach(key => { fields[key].value = values[key] ?? ""; }),
    read: () => Object.fromEntries(Object.keys(fields).map(key => [key, fields[key].value.trim() || null])),
  };
}

export function planPart(isFixed) {
  const field = (key, inputmode, placeholder) => h("input", {id: `set-${key}`, type: "text", inputmode, autocomplete: "off",
    placeholder, readonly: isFixed(key), "aria-describedby": `help-${key}`});
  const change = field("smallest_change", "decimal", "10");
  const planned = field("planned_visitors", "numeric", "No end");
  return {
    element: formPart("Plan",
      settingField("smallest_change", h("div", {class: "unit"}, change, "%"),
        "Of the control's rate. A smaller difference is “no difference”.", isFixed),
      settingField("planned_visitors", planned, "Per variant; with weights, of all variants together. The verdict is final "
        + "when they have come. Without them it holds no matter how often you check.", isFixed)),
    fill(values) {
      change.value = toPercent(values.smallest_change);
      planned.value = values.planned_visitors ?? "";
    },
    read: () => ({smallest_change: fromPercent(change.value), planned_visitors: toNumber(planned.value)}),
  };
}

// The roles of goals: a row for each.
export function goalsPart(item, isFixed) {
  const list = h("ul", {class: "rows"});
  const only = h("input", {type: "checkbox", id: "set-goals", disabled: isFixed("goals")});
  const isLocked = role => Boolean(role) && isFixed(KEY_OF_ROLE[role]);

  function addRow(name, role, change) {
    const locked = isLocked(role);
    const label = nameField("goal", name, locked || isFixed("goals"));
    const select = h("select", {"aria-label": "Role", disabled: locked, onchange: () => chose(select)},
      Object.entries(ROLES_OF_GOALS).map(([value, title]) =>
        h("option", {value, selected: value === role, disabled: !locked && isLocked(value)}, title)));
    const amount = h("input", {type: "text", inputmode: "decimal", "aria-label": "Accepted change in %", readonly: locked,
      value: typeof change === "string" ? change.replace("-", "") : toPercent(Math.abs(change ?? ACCEPTED))});
    const row = h("li", null, label, select,
      h("label", {class: "unit amount"}, "by more than", amount, "%"),
      locked ? fixedTag() : isFixed("goals") ? null : removeButton(() => row, list, "goal"));
    list.append(row);
    toggleAmount(row, select);
    return label;
  }

  function toggleAmount(row, select) {
    row.querySelector(".amount").hidden = KEY_OF_ROLE[select.value] !== "guardrails";
  }

  // One goal decides.
  function chose(select) {
    if (select.value === "goal") {
      for (const each of list.querySelectorAll("select")) if (each !== select && each.value === "goal") each.value = "";
    }
    toggleAmount(select.closest("li"), select);
  }

  const rows = () => [...list.children].map(row => {
    const [label, amount] = row.querySelectorAll("input");
    return {name: nameIn(label), role: row.querySelector("select").value, amount: amount.value};
  }).filter(each => each.name);

  return {
    element: formPart("Goals", h("p", {class: "quiet"}, participants(item)
      ? "Choose them before you look at results: a goal chosen afterwards proves nothing."
      : "Which one decides, and which must not get worse?"),
    h("div", {"data-key": "goal guardrails per_visitor goals"}, list,
      isFixed("goals") ? null : addButton("goal", () => {
        only.checked = true; // as for variants, see close
        addRow("", "").focus();
      }),
      checkField(only, "These are all its goals", isFixed("goals")))),
    fill(values) {
      const counted = values.goals || item.goals.map(each => each.goal);
      const guardrails = new Map(Object.entries(values.guardrails || {})); // a goal may be called constructor
      const judged = [values.goal, ...guardrails.keys()];
      const names = new Set([...judged, ...counted, ...values.per_visitor || []].filter(Boolean));
      list.replaceChildren();
      for (const name of names) {
        const accepted = guardrails.get(name);
        const isRisingBad = typeof accepted === "string" ? !accepted.startsWith("-") : accepted > 0;
        addRow(name, name === values.goal ? "goal" : accepted != null ? isRisingBad ? "rise" : "fall"
          : values.per_visitor?.includes(name) ? "per_visitor" : "", accepted);
      }
      only.checked = Boolean(values.goals);
    },
    read() {
      const found = rows();
      const having = role => found.filter(each => each.role === role);
      const guardrails = [...having("rise").map(each => [each.name, fromPercent(each.amount)]),
        ...having("fall").map(each => [each.name, negative(fromPercent(each.amount))])];
      return {
        goal: having("goal")[0]?.name ?? null,
        guardrails: guardrails.length ? Object.fromEntries(guardrails) : null,
        per_visitor: sortedOrNull(having("per_visitor")),
        goals: only.checked ? sortedOrNull(found) ?? [] : null,
      };
    },
  };
}

export function variantsPart(item, isFixed) {
  const list = h("ul", {class: "rows"});
  const areNamesFixed = isFixed("variants") || isFixed("weights");
  const only = h("input", {type: "checkbox", id: "set-variants", onchange: () => { isClosed = only.checked; }});
  const byWeights = h("input", {type: "checkbox", id: "set-weights", disabled: isFixed("weights"),
    onchange: () => toggleWeights()});
  const control = h("select", {id: "set-baseline", disabled: isFixed("baseline"), "aria-describedby": "help-baseline"});
  let isClosed = false; // whether these are all, also without weights

  function addRow(name, weight) {
    const label = nameField("variant", name, areNamesFixed);
    label.oninput = () => offerControls(control.value);
    const share = h("input", {type: "text", inputmode: "decimal", "aria-label": "Weight", value: weight ?? 1,
      readonly: isFixed("weights")});
    const row = h("li", null, label, h("label", {class: "unit weight"}, "weight", share),
      areNamesFixed ? null : removeButton(() => row, list, "variant", () => {
        close();
        offerControls(control.value);
      }));
    list.append(row);
    return label;
  }

  // Whoever adds or removes a name means the list: without it, nothing of that would be saved.
  function close() {
    isClosed = true;
    toggleWeights();
  }

  function toggleWeights() {
    list.classList.toggle("weighted", byWeights.checked);
    only.disabled = byWeights.checked || areNamesFixed;
    only.checked = byWeights.checked || isClosed;
  }

  function offerControls(current) {
    const names = [...new Set([...rows().map(each => each.name), current].filter(Boolean))];
    control.replaceChildren(h("option", {value: ""}, "The first by name"),
      ...names.map(name => h("option", {value: name}, name)));
    control.value = current ?? "";
  }

  const rows = () => [...list.children].map(row => {
    const [label, share] = row.querySelectorAll("input");
    return {name: nameIn(label), weight: share.value};
  }).filter(each => each.name);

  return {
    element: formPart("Variants",
      h("div", {"data-key": "variants weights"}, list,
        areNamesFixed ? null : addButton("variant", () => {
          close();
          addRow("").focus();
        }),
        checkField(byWeights, "Visitors are split by weights, not equally", isFixed("weights")),
        checkField(only, "These are all its variants", isFixed("variants"))),
      settingField("baseline", control, "The others are compared with it.", isFixed)),
    fill(values) {
      const {weights, baseline} = values;
      const known = weights ? Object.keys(weights) : values.variants
        || [...new Set([...variants(item).map(each => each.label), baseline].filter(Boolean))];
      list.replaceChildren();
      for (const name of [...known].sort(compareNames)) addRow(name, weights?.[name]);
      byWeights.checked = Boolean(weights);
      isClosed = Boolean(values.variants) && !weights;
      offerControls(baseline);
      toggleWeights();
    },
    read() {
      const found = rows();
      const weights = byWeights.checked ? Object.fromEntries(found.map(each => [each.name, toNumber(each.weight)])) : null;
      const isOnly = !weights && only.checked;
      return {weights, variants: isOnly ? sortedOrNull(found) ?? [] : null, baseline: control.value || null};
    },
  };
}

export function formPart(title, ...content) {
  return h("fieldset", {class: "part"}, h("legend", null, title), content);
}

function settingField(key, input, help, isFixed) {
  return h("div", {class: "setting", "data-key": key},
    h("label", {for: `set-${key}`}, SETTINGS[key], isFixed?.(key) ? fixedTag() : null), input,
    help ? h("small", {id: `help-${key}`}, help) : null);
}

export function checkField(input, title, isLocked) {
  return h("label", {class: "check"}, input, h("span", null, title), isLocked ? fixedTag() : null);
}

function fixedTag() {
  return h("span", {class: "tag"}, "set in config.json");
}

// Read-only, unlike disabled, can be reached by keyboard, and copied.
export function nameField(thing, name, isLocked) {
  return h("input", {type: "text", class: "wide", dir: "auto", autocomplete: "off", spellcheck: "false", value: name,
    "aria-label": `Name of the ${thing}`, placeholder: `Name of the ${thing}`, readonly: isLocked});
}

export function addButton(thing, onclick) {
  return h("button", {type: "button", class: "plain add", onclick}, `Add a ${thing}`);
}

export function removeButton(row, list, thing, after) {
  const remove = () => {
    const next = row().nextElementSibling || row().previousElementSibling;
    row().remove();
    (next?.querySelector(".remove") || list.parentElement.querySelector(".add"))?.focus();
    after?.();
  };
  const title = `Remove this ${thing}`;
  return h("button", {type: "button", class: "plain remove", "aria-label": title, title, onclick: remove}, "✕");
}

// As it was, or without the spaces that were typed around it.
function nameIn(input) {
  return input.value === input.defaultValue ? input.value : input.value.trim();
}

function sortedOrNull(rows) {
  return rows.length ? [...new Set(rows.map(each => each.name))].sort() : null;
}

// What is no number is sent as it was typed, so that the answer can say what is wrong with it.
function toNumber(text) {
  const plain = plainNumber(text);
  return plain === "" ? null : Number.isFinite(Number(plain)) ? Number(plain) : plain;
}

export function plainNumber(text) {
  const typed = text.trim();
  return /^\d{1,3}([ ,]\d{3})+$/.test(typed) ? typed.replaceAll(/[ ,]/g, "") : typed;
}

function fromPercent(text) {
  const value = toNumber(text.replace(/%\s*$/, ""));
  return typeof value === "number" ? Number((value / 100).toPrecision(12)) : value;
}

function toPercent(value) {
  return typeof value === "number" ? Number((100 * value).toPrecision(12)) : value ?? "";
}

function negative(value) {
  return typeof value === "string" ? `-${value}` : value && -Math.abs(value);
}
