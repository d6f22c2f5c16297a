// Planning a new experiment: how long it takes, by the API's numbers, then its names, and a draft with its snippet.

import { inLines } from "./dialogs.js";
import { capitalize, h, icon, s } from "./elements.js";
import { addButton, checkField, formPart, nameField, plainNumber, removeButton } from "./fields.js";
import { chosen, count, plural } from "./numbers.js";
import { patch } from "./patch.js";
import { request } from "./source.js";
import { participants } from "./verdicts.js";
import { address } from "./view.js";

const TYPING_MS = 250;
const NAMED = {planned: "Planned size", always_valid: "Always-valid", single_look: "Single look"};
const LINES = {planned: "v1", always_valid: "v2", single_look: "v0"};
const [CURVE_WIDTH, CURVE_HEIGHT] = [1000, 150];
const SHORTEST_AXIS = 56; // days
const STEEPEST = 14; // of the axis' days: what is found earlier is above the plot
const CLOSEST_LABELS = 5; // on an axis, with its ends

// Fills the section with a form, which stays as it is typed. Returns what to call with every new report: `items` to take
// figures from, and whether the API key may `write`. `save` stores the draft.
export function planner(section, save) {
  let items = [];
  let mayWrite = false;
  let lastAsked = 0;
  let typing = null;
  let found = null; // the last answer

  const field = (name, value, more) => h("input", {id: `plan-${name}`, name, type: "text", autocomplete: "off", value,
    "aria-describedby": `help-plan-${name}`, ...more});
  const rate = field("rate", "5", {inputmode: "decimal"});
  const change = field("change", "10", {inputmode: "decimal"});
  const perDay = field("per_day", "", {inputmode: "numeric"});
  const name = field("name", "", {dir: "auto", spellcheck: "false"});
  const hypothesis = h("textarea", {id: "plan-hypothesis", rows: 2, dir: "auto"});
  const source = h("select", {id: "plan-source", onchange: takeOver});
  const taken = h("p", {class: "quiet", role: "status"});
  const byWeights = h("input", {type: "checkbox", id: "plan-weights", onchange: () => drawWeights()});
  const variants = h("ul", {class: "rows"});
  const goals = h("ul", {class: "rows"});
  const numbers = h("div", {class: "plan-numbers", "aria-live": "polite"});
  const ends = h("div", {class: "plan-ends"});
  const trouble = h("div", {class: "wrong", role: "alert"});
  const button = h("button", {type: "submit", class: "primary"}, "Save the draft and show its snippet");
  const back = h("a", {class: "back"}, "All experiments");
  const needsKey = h("p", {class: "quiet"}, "Saving needs the write key.");

  const form = h("form", {class: "pane", novalidate: true, onsubmit: submit, oninput: typed},
    h("header", {class: "experiment-head"},
      back, h("h2", {id: "planner-title", tabindex: "-1"}, "New experiment")),
    h("section", {class: "card plan-card", "aria-labelledby": "plan-how-long"},
      h("h3", {id: "plan-how-long"}, "How long will it take?"),
      h("div", {class: "plan-figures"},
        setting(source, "Take the figures of", null),
        setting(rate, "Conversion rate now", "Of all visitors who take part, how many reach the goal", "%"),
        setting(change, "Smallest change that matters", "Relative to that rate: 10 % of 5 % is 0.5 percentage points", "%"),
        setting(perDay, "Visitors per day", "Who take part, in all variants together")),
      taken,
      formPart("Variants", variants, add("variant", addVariant),
        checkField(byWeights, "Visitors are split by weights, not equally"),
        h("p", {class: "problem", id: "problem-plan-weights"})),
      numbers),
    h("section", {class: "card plan-card", "aria-labelledby": "plan-what"},
      h("h3", {id: "plan-what"}, "What is it about?"),
      setting(name, "Name", "A changed name is a new experiment"),
      setting(hypothesis, "Hypothesis", null),
      formPart("Goals", goals, add("goal", addGoal)),
      ends, trouble,
      h("div", {class: "row end"}, needsKey, button)));
  addVariant("current");
  addVariant("new");
  addGoal("");
  section.replaceChildren(form);
  typed();

  function setting(input, title, help, unit) {
    return h("div", {class: "setting"}, h("label", {for: input.id}, title),
      unit ? h("div", {class: "unit"}, input, unit) : input,
      help ? h("small", {id: `help-${input.id}`}, help) : null,
      h("p", {class: "problem", id: `problem-${input.id}`}));
  }

  function add(thing, addRow) {
    return addButton(thing, () => {
      addRow("").focus();
      typed();
    });
  }

  function row(list, thing, value, ...more) {
    const label = nameField(thing, value);
    const each = h("li", {class: thing}, label, more, removeButton(() => each, list, thing, typed));
    list.append(each);
    return label;
  }

  function addVariant(value) {
    return row(variants, "variant", value,
      h("label", {class: "unit weight"}, "weight", h("input", {type: "text", inputmode: "numeric", value: "1"})),
      h("span", {class: "tag only-first"}, "control"));
  }

  function addGoal(value) {
    return row(goals, "goal", value, checkField(h("input", {type: "checkbox"}), "counts every time, as page views"),
      h("span", {class: "tag only-first"}, "decides"));
  }

  function drawWeights() {
    variants.classList.toggle("weighted", byWeights.checked);
  }

  const rowsOf = list => [...list.children].map(each => {
    const [label, second] = each.querySelectorAll("input");
    return {name: label.value.trim(), second};
  });

  // The parameters of GET /plan, as they are typed.
  function asked() {
    const typedIn = input => input.value.trim().replace(/\s*%$/, "");
    const weights = rowsOf(variants).map(each => each.second.value.trim());
    return {
      rate: percentOf(typedIn(rate)), change: percentOf(typedIn(change)), per_day: plainNumber(perDay.value),
      ...(byWeights.checked ? {weights: weights.join(",")} : {}), variants: String(variants.children.length),
      experiment: name.value.trim(),
    };
  }

  function typed() {
    drawWeights();
    clearTimeout(typing);
    typing = setTimeout(ask, TYPING_MS);
    drawEnds();
  }

  async function ask() {
    const thisAsked = ++lastAsked;
    const params = asked();
    form.querySelectorAll(".plan-figures .problem, #problem-plan-weights").forEach(each => each.replaceChildren());
    form.querySelectorAll("[aria-invalid]").forEach(each => each.removeAttribute("aria-invalid"));
    if (!params.per_day) return show(null, h("p", {class: "quiet"}, "How many visitors per day take part?"));
    try {
      const answer = JSON.parse(await request("plan", params));
      if (thisAsked === lastAsked) show(answer, numbersOf(answer));
    } catch (error) {
      if (thisAsked !== lastAsked) return;
      const unplaced = (error.details?.problems || [error.message]).filter(problem => !place(problem));
      show(null, unplaced.map(problem => h("p", {class: "wrong"}, icon("warning"), h("span", null, capitalize(problem)))));
    }
  }

  function show(answer, content) {
    found = answer;
    patch(numbers, content);
    drawEnds();
  }

  // Puts a problem below the field that it begins with. Whether there is one.
  function place(problem) {
    const [, key, text] = /^(\w+) (.*)$/s.exec(problem) || [];
    const line = document.getElementById(`problem-plan-${key === "variants" ? "weights" : key}`);
    line?.replaceChildren(capitalize(text));
    document.getElementById(`plan-${key}`)?.setAttribute("aria-invalid", "true");
    return Boolean(line);
  }

  // When the experiment is decided: the choice stays as it was made.
  function drawEnds() {
    const {planned, always_valid: always} = found?.ways || {};
    const days = way => way?.days == null ? "" : ` (${plural(way.days, "day")})`;
    patch(ends, h("fieldset", {class: "options"}, h("legend", null, "When is it decided?"),
      h("label", null, h("input", {type: "radio", name: "end", value: "planned", checked: true}),
        h("span", null, planned?.visitors ? `At the planned size of ${count(planned.visitors)} visitors${days(planned)}`
          : "At the planned size")),
      h("label", null, h("input", {type: "radio", name: "end", value: "always"}),
        h("span", null, `Whenever there is a verdict${always?.days == null ? "" : `: half of such experiments have it after ${
          plural(always.typical.days, "day")}, 80\u202f% after ${plural(always.days, "day")}`}`))));
  }

  function takeOver() {
    const [experiment, goal] = JSON.parse(source.value || "[]");
    const item = items.find(each => each.experiment === experiment);
    const control = item?.goals.find(each => each.goal === goal)?.results.find(each => each.label === item.control);
    if (!control) return taken.replaceChildren();
    const speed = speedOf(item);
    rate.value = Number((100 * control.rate).toPrecision(3));
    if (speed) perDay.value = Number(speed.toPrecision(3));
    taken.textContent = `${count(control.successes)} of ${count(control.trials)} visitors of the control reached this goal`
      + (speed ? `; ${count(speed)} visitors per day came over its last 7 full days.` : "; there is no full day of visitors yet.");
    typed();
  }

  async function submit(event) {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    trouble.replaceChildren();
    clearTimeout(typing);
    await ask(); // the figures shown may be those of what was typed before
    const problems = problemsOf();
    try {
      if (problems.length) throw {message: problems[0], details: {problems}};
      await save(name.value.trim(), changes());
    } catch (error) {
      const exists = error.details?.changed && {message: "an experiment of this name exists", hint: "choose another name"};
      fail(exists || error);
    }
    button.disabled = !mayWrite;
  }

  function fail(error) {
    trouble.replaceChildren(...inLines(error));
    trouble.scrollIntoView({block: "nearest"});
  }

  // What the API would not find wrong before the first visitor comes.
  function problemsOf() {
    const [labels, reached] = [variants, goals].map(list => rowsOf(list).map(each => each.name));
    const isUnclear = names => names.some(each => !each) || new Set(names).size < names.length;
    const weights = rowsOf(variants).map(each => each.second.value.trim());
    return [
      name.value.trim() ? null : "Give the experiment a name.",
      items.some(each => each.experiment === name.value.trim()) ? "An experiment of this name exists: choose another name." : null,
      labels.length < 2 || isUnclear(labels) ? "Give two or more variants a name each, all different." : null,
      reached.length < 1 || isUnclear(reached) ? "Give each goal a name, all different." : null,
      byWeights.checked && !weights.every(each => /^[1-9]\d{0,5}$/.test(each)) ? "Weights must be whole numbers from 1, such as 9 and 1." : null,
      found ? null : "The figures above are not complete.",
      found && isPlanned() && !found.settings.planned_visitors
        ? "There is no planned size for these figures: choose the other way to decide, or change them." : null,
    ].filter(Boolean);
  }

  const isPlanned = () => ends.querySelector("[value=planned]").checked;

  function changes() {
    const labels = rowsOf(variants);
    const reached = rowsOf(goals);
    const repeated = reached.slice(1).filter(each => each.second.checked).map(each => each.name);
    return {
      status: "draft",
      hypothesis: hypothesis.value.trim() || null,
      baseline: labels[0].name,
      ...(byWeights.checked ? {weights: Object.fromEntries(labels.map(each => [each.name, Number(each.second.value)]))}
        : {variants: labels.map(each => each.name)}),
      goal: reached[0].name,
      goals: reached.map(each => each.name),
      per_visitor: repeated,
      smallest_change: found.settings.smallest_change,
      planned_visitors: isPlanned() ? found.settings.planned_visitors : null,
    };
  }

  return ({items: fresh, access}) => {
    items = fresh || [];
    mayWrite = access === "write";
    button.disabled = !mayWrite;
    needsKey.hidden = mayWrite;
    back.href = address({experiment: "", control: ""}); // the namespace may be another one since
    const known = items.map(item => [item, item.goals.filter(goal => goal.kind === "proportion"
      && goal.results.some(each => each.label === item.control && each.rate > 0 && each.rate < 1))]);
    patch(source, h("option", {value: ""}, "no other experiment"), known.filter(([, having]) => having.length)
      .sort(([one], [other]) => participants(other) - participants(one))
      .flatMap(([item, having]) => having.map(({goal}) => [item.experiment, goal])).map(pair => JSON.stringify(pair))
      .map(pair => h("option", {key: pair, value: pair}, JSON.parse(pair).join(": "))));
  };
}

const speedOf = item => Object.values(item.visitors_per_day || {}).reduce((sum, each) => sum + each, 0);

function percentOf(text) {
  return text && `${text}%`;
}

// An answer of GET /plan as tables and a plot.
function numbersOf(found) {
  const {ways, visible, precision} = found;
  const rows = [
    [NAMED.planned, ways.planned, "Look whenever you like. The verdict is final at the end."],
    [NAMED.always_valid, ways.always_valid, "Look whenever you like. Stop at the first verdict: 80\u202f% have it by then."],
    ["", ways.always_valid.typical, "Half of such experiments have their verdict by then."],
    [NAMED.single_look, ways.single_look, "For comparison: right only if nobody looks before."],
  ];
  const isHidden = Object.values(ways).some(way => way.visitors === null);
  const write = value => value === null ? "–" : count(value);
  return [
    found.change < 0 ? h("p", {class: "note"}, "This rate has no room to rise so much, so the numbers are those of a fall.") : null,
    scrolled(planTable("Visitors and days for each way of deciding", ["Decided by", "Visitors", "Days", ""],
      rows.map(([title, way, meaning]) => [
        title || h("span", {class: "quiet"}, h("span", {class: "unseen"}, "Always-valid, "), "half of them"), write(way.visitors), write(way.days), meaning]))),
    isHidden ? h("p", {class: "note"}, icon("warning"), h("span", null, `–: the counting error of precision ${precision} `
      + "hides this change, however many visitors come. Set a higher precision in config.json.")) : null,
    h("div", {class: "plan-both"},
      curve(found),
      scrolled(planTable("The smallest change that is visible after some weeks",
        ["Weeks", "Visitors", ...Object.values(NAMED)],
        visible.map(each => [String(each.weeks), count(each.visitors), ...Object.keys(NAMED).map(way =>
          each[way] === null ? "–" : chosen(Math.ceil(1000 * each[way]) / 1000))])))),
  ];
}

function scrolled(table) {
  return h("div", {class: "scroller", tabindex: "0", role: "region", "aria-label": table.caption.textContent}, table);
}

function planTable(caption, head, rows) {
  return h("table", {class: "plan-table"}, h("caption", null, caption),
    h("thead", null, h("tr", null, head.map(title => h(title ? "th" : "td", title ? {scope: "col"} : null, title)))),
    h("tbody", null, rows.map(([first, ...cells]) => h("tr", null,
      h("th", {scope: "row", role: "rowheader"}, first), cells.map(cell => h("td", {class: /\d|–/.test(cell[0]) ? "number" : null}, cell))))));
}

// Days by the size of the change: a line for each way of deciding.
function curve({curve: points, ways, change, per_day: perDay}) {
  if (!points.length) return null;
  const longest = Math.max(SHORTEST_AXIS, ...Object.values(ways).map(way => way.days || 0));
  const steep = points.filter(each => each.planned !== null && each.planned / perDay >= longest / STEEPEST);
  const highest = Math.max(1.25 * Math.abs(change), ...steep.map(each => each.change));
  const x = days => CURVE_WIDTH * days / longest;
  const y = size => CURVE_HEIGHT * (1 - size / highest);
  const path = way => {
    const inside = points.filter(each => each[way] !== null); // what is beyond the plot is cut off
    return inside.length ? `M${inside.map(each => `${x(each[way] / perDay).toFixed(1)} ${y(each.change).toFixed(1)}`).join("L")}` : "";
  };
  const asked = Math.abs(change);
  const days = roundSteps(longest);
  const sizes = roundSteps(highest).filter(Boolean);
  return h("figure", {class: "plan-curve"},
    h("figcaption", null, "Days by the size of the change"),
    h("p", {class: "legend"}, Object.keys(NAMED).map(way => h("span", null,
      s("svg", {class: `swatch ${LINES[way]}`, width: 26, height: 8, "aria-hidden": "true"}, s("path", {class: "line", d: "M0 4H26"})),
      NAMED[way].toLowerCase()))),
    h("div", {class: "frame"},
      s("svg", {class: "plot", height: CURVE_HEIGHT + 18, "aria-hidden": "true"}, sizes.map(size =>
        s("text", {class: "tick", x: "100%", y: y(size) + 4, "text-anchor": "end"}, chosen(size)))),
      s("svg", {class: "plot over", height: CURVE_HEIGHT + 18, role: "img", "aria-label": `Smaller changes take longer: ${
        points.filter((_, index) => index % 8 === 0 && points[index].planned !== null).map(each =>
          `${chosen(Number(each.change.toPrecision(2)))} about ${plural(Math.ceil(each.planned / perDay), "day")}`).join(", ")}`},
      sizes.map(size => s("line", {class: "grid", x1: 0, x2: "100%", y1: y(size), y2: y(size)})),
      s("svg", {width: "100%", height: CURVE_HEIGHT, viewBox: `0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`, preserveAspectRatio: "none"},
        s("path", {class: "mark", d: `M0 ${y(asked).toFixed(1)}H${CURVE_WIDTH}`, "vector-effect": "non-scaling-stroke"}),
        Object.keys(NAMED).map(way => s("path", {class: `line ${LINES[way]}`, d: path(way), "data-way": way}))),
      days.map(each => s("text", {class: "tick minor", x: `${(100 * each / longest).toFixed(2)}%`, y: CURVE_HEIGHT + 14,
        "text-anchor": each ? each > 0.94 * longest ? "end" : "middle" : "start"}, each ? count(each) : "0 days")))));
}

// Round values from 0 to this end.
function roundSteps(end) {
  for (let power = 10 ** Math.floor(Math.log10(end / 100)); ; power *= 10) {
    for (const factor of [1, 2, 5]) {
      const last = Math.floor(end / (factor * power));
      if (last < CLOSEST_LABELS) return Array.from({length: last + 1}, (_, index) => index * factor * power);
    }
  }
}
