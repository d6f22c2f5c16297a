// From a draft to its first visitor: the snippet for its page, and the events that were not counted of late.

import { h, icon, isolated } from "./elements.js";
import { plural, timeOfDay } from "./numbers.js";
import { request, snapshot } from "./source.js";
import { copyButton } from "./states.js";
import { participants } from "./verdicts.js";
import { readView } from "./view.js";

const IGNORED = {
  bot: "sent by a bot", prefetch: "sent by a page that is loaded in advance", origin: "sent by a page of another origin",
  limit: "a new name beyond a limit", stopped: "the experiment is stopped",
  namespace: "this namespace is not in config.json", experiment: "this experiment is not in config.json",
  variant: "this variant is not in config.json", goal: "this goal is not in config.json",
};
const drafts = new Set(); // those seen on this page, by namespace and name
const snippets = new Map(); // the answer of each request for one: {snippet} or {failure}

const draftKey = item => JSON.stringify([readView().namespace, item.experiment]);

// What the snippet of these settings is asked for with, with the control first; null while they name too little.
function namesOf({experiment, settings}) {
  const {baseline, weights, per_visitor: repeated} = settings;
  const variants = weights ? Object.keys(weights) : settings.variants || [];
  const control = baseline ?? [...variants].sort()[0];
  const labels = variants.length ? [control, ...variants.filter(each => each !== control)] : [];
  const others = settings.goals || [...Object.keys(settings.guardrails || {}), ...repeated || []];
  const goals = [...new Set([settings.goal, ...others].filter(Boolean))];
  if (labels.length < 2 || !goals.length) return null;
  const list = names => names.map(each => `${each}\n`).join("");
  return {
    about: 1, namespace: readView().namespace, experiment, variants: list(labels), goals: list(goals),
    per_visitor: list(repeated || []), ...(weights ? {weights: labels.map(each => weights[each]).join(",")} : {}),
  };
}

// Reads the snippet of a draft, once for the same settings; then calls `redraw`.
export async function readSnippet(item, redraw) {
  if (snapshot || item.settings?.status !== "draft") return;
  const names = namesOf(item);
  const key = JSON.stringify(names);
  if (!names || snippets.has(key)) return;
  snippets.set(key, {});
  try {
    snippets.set(key, {snippet: JSON.parse(await request("", names)).snippet});
  } catch (failure) {
    snippets.set(key, {failure});
    if (failure.kind === "unreachable") setTimeout(() => snippets.delete(key), 1000);
  }
  redraw();
}

// Whether the page waits for the first visitor of this experiment.
export function isAwaited(item) {
  return item?.settings?.status === "draft" && !participants(item);
}

export function arrivalSection(item, turnedAway) {
  if (snapshot || !item.settings) return null;
  if (!isAwaited(item)) {
    return drafts.has(draftKey(item)) ? h("p", {class: "card arrival arrived", role: "status"}, icon("kept"),
      h("span", null, h("strong", null, "The first visitor has arrived."), " The experiment is running.")) : null;
  }
  drafts.add(draftKey(item));
  const names = namesOf(item);
  const {snippet, failure} = snippets.get(JSON.stringify(names)) || {};
  const code = text => h("pre", {tabindex: "0", role: "region", "aria-label": "Snippet"}, h("code", null, text));
  return h("section", {class: "card arrival", "aria-label": "First visitor"},
    h("div", {class: "row between"}, h("h3", null, "Add it to your page"), snippet ? copyButton("Copy", snippet.html) : null),
    names ? null : h("p", null, "Name two variants and a goal in the settings, and the snippet for them appears here."),
    failure ? h("div", {class: "wrong"}, icon("warning"), h("div", null,
      (failure.details?.problems || [failure.message]).map(problem => h("p", null, problem)),
      failure.kind === "refused" ? h("p", null, "Change it in the settings.") : null)) : null,
    snippet ? [
      h("p", {class: "quiet"}, "Fill in what each variant shows, and what a visitor does to reach a goal."),
      code(snippet.html),
      h("details", null, h("summary", null, "As an ES module"),
        h("div", {class: "row end"}, copyButton("Copy", snippet.module)), code(snippet.module)),
    ] : null,
    h("p", {class: "waiting", role: "status"}, icon("collecting"), h("span", null, "Waiting for the first visitor…")),
    turnedAwayTable(turnedAway.filter(each => each.experiment === item.experiment), "Its events that were not counted"),
    turnedAwayTable(turnedAway.filter(each => each.experiment !== item.experiment), "Other events that were not counted"));
}

// The events of the last hour that were ignored or refused, each with the reasons.
export function turnedAwayNote(turnedAway) {
  return turnedAway.length ? h("details", {class: "turned-away"},
    h("summary", null, `${plural(turnedAway.length, "kind")} of events not counted in the last hour`),
    turnedAwayTable(turnedAway)) : null;
}

function turnedAwayTable(events, title) {
  if (!events.length) return null;
  const text = value => value ? isolated(value) : h("span", {class: "quiet"}, "missing");
  const cell = (name, ...content) => h("td", {"data-label": name}, content);
  const heads = ["Last at", "Experiment", "Variant", "Event", "Why not"];
  return h("div", {class: "scroller", tabindex: "0", role: "region", "aria-label": title || "Events not counted"},
    h("table", {class: "plan-table turned"}, title ? h("caption", null, `${title} in the last hour`) : null,
      h("thead", null, h("tr", null, heads.map(head => h("th", {scope: "col"}, head)))),
      h("tbody", null, events.map(each => h("tr", null,
        cell(heads[0], timeOfDay(new Date(each.at)).slice(0, 5)), cell(heads[1], text(each.experiment)),
        cell(heads[2], text(each.variant)), cell(heads[3], text(each.event)),
        cell(heads[4], `${each.why}: ${each.reasons.map(reason => IGNORED[reason] || reason).join("; ")}`))))));
}
