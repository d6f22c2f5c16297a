// The page: reads the report, draws what the address asks for, and does both again when either changes.

import { askToDelete } from "./deletion.js";
import { download } from "./downloads.js";
import { capitalize, h } from "./elements.js";
import { experimentPane } from "./experiment.js";
import { everyHistory, readHistory } from "./histories.js";
import { ignoredToday } from "./ignored.js";
import { filterAndSort, listTable } from "./list.js";
import { count, dateAndTime, plural, timeOfDay } from "./numbers.js";
import { patch } from "./patch.js";
import { apiKey, enter, problem, report, request, snapshot } from "./source.js";
import { experimentNotFound, keyForm, loading, noReport, nothingMatches, nothingTracked } from "./states.js";
import { participants } from "./verdicts.js";
import { address, readView, replaceView, show } from "./view.js";

const REFRESH_MS = 30000;
const RECENT = "gimel namespaces";
const part = id => document.getElementById(id);
const hide = (id, isHidden) => part(id).toggleAttribute("hidden", Boolean(isHidden));

let view = readView();
let items = null; // the last report read of the view's namespace
let isWhole = false; // or only its first pages, while the others are on their way
let ignored = {}; // how many requests were, today
let readAt = null;
let failure = null; // why the last read failed
let server = null; // what it says about itself
let lastRead = 0; // only the answer to the latest request counts
let timer = null;

async function read() {
  const thisRead = ++lastRead;
  clearTimeout(timer);
  document.body.classList.add("reading");
  let fresh = null;
  let error = null;
  try {
    const answer = snapshot ? null : JSON.parse(await request("about", {namespace: view.namespace}));
    if (thisRead !== lastRead) return;
    server = answer;
    if (server?.needs_key && !apiKey.get()) throw problem("key", "API key required");
    fresh = await report(view, soFar => thisRead === lastRead && !isWhole && drawFirst(soFar));
  } catch (caught) {
    error = caught;
  }
  if (thisRead !== lastRead) return;
  document.body.classList.remove("reading");
  failure = error;
  if (!fresh && !isWhole) items = null;
  if (fresh) {
    ({items, ignored} = fresh);
    isWhole = true;
    readAt = new Date();
    remember(view.namespace);
  }
  draw();
  if (!snapshot) timer = setTimeout(readIfVisible, REFRESH_MS);
}

// The first pages of a report, while there is none yet.
function drawFirst(soFar) {
  items = soFar;
  draw();
}

function readIfVisible() {
  // Without a key there is nothing to read.
  if (document.visibilityState === "visible" && !needsKey()) read();
}

function needsKey() {
  return failure?.kind === "key" && Boolean(server?.needs_key);
}

function draw() {
  const state = insteadOfResults();
  hide("state", !state);
  hide("overview", state);
  hide("experiment", state);
  hide("export", state || snapshot || !isWhole);
  patch(part("state"), state);
  document.body.classList.toggle("one", !state && Boolean(view.experiment));
  if (!state) drawResults();
  drawFreshness();
  const namespace = view.namespace === "alephbet" ? "" : view.namespace;
  patch(document.querySelector("title"), [view.experiment, namespace, "Gimel"].filter(Boolean).join(" – "));
}

function insteadOfResults() {
  if (needsKey()) return keyForm(Boolean(apiKey.get()), useKey);
  if (items === null) return failure ? noReport(failure, read) : loading();
  return items.length === 0 && !view.experiment ? nothingTracked(view.namespace, server, ignored) : null;
}

function drawResults() {
  const matches = filterAndSort(items, view.search, view.sort);
  const item = view.experiment ? items.find(each => each.experiment === view.experiment) : matches[0];
  const all = `${plural(items.length, "experiment")}${isWhole ? "" : " so far"}`;
  patch(part("found"), view.search ? `${count(matches.length)} of ${all}` : all);
  patch(part("list"), matches.length || !view.search
    ? listTable(matches, item?.experiment, view.sort)
    : nothingMatches(view.search, clearSearch));
  patch(part("ignored"), ignoredToday(ignored));
  if (!isWhole && !(view.experiment && item)) {
    patch(part("experiment"), loading());
  } else if (item) {
    if (isWhole) readHistory(item, readAt, draw);
    patch(part("experiment"), experimentPane(item, snapshot ? null : {
      // Until the answer comes, a control just chosen stays chosen.
      control: (!failure && view.experiment && view.control) || item.control,
      choose: control => show({experiment: item.experiment, control}),
      remove: () => askToDelete(item.experiment, plural(participants(item), "participant"), () => deleteNow(item.experiment)),
    }));
  } else {
    patch(part("experiment"), view.experiment ? experimentNotFound(view.experiment, view.namespace) : null);
  }
}

function drawFreshness() {
  const isOld = Boolean(failure && items !== null && !needsKey());
  hide("banner", !isOld);
  patch(part("banner"), isOld
    ? `${capitalize(failure.message)}. Showing the last report, read at ${timeOfDay(readAt)}. ${capitalize(failure.hint || "")}`
    : null);
  document.body.classList.toggle("old", isOld);
  hide("demo", !server?.is_demo);
  patch(part("freshness"), snapshot ? `Snapshot of ${dateAndTime(new Date(snapshot.read_at))}`
    : isWhole ? ["Updated ", h("time", null, timeOfDay(readAt))] : null);
}

function useKey(text) {
  apiKey.set(text);
  read();
}

async function deleteNow(name) {
  await request("delete", {namespace: view.namespace, experiment: name}, {method: "DELETE"});
  items = items.filter(each => each.experiment !== name);
  show({experiment: "", control: ""});
  read();
}

function search() {
  replaceView({search: part("search").value.trim()});
  view = readView();
  draw();
}

function clearSearch() {
  part("search").value = "";
  part("search").focus();
  search();
}

function remember(namespace) {
  try {
    const recent = [...new Set([namespace, ...JSON.parse(localStorage.getItem(RECENT) || "[]")])].slice(0, 12);
    localStorage.setItem(RECENT, JSON.stringify(recent));
    patch(part("namespaces"), recent.map(value => h("option", {value})));
  } catch {
    // Without local storage, only the suggestions are missing.
  }
}

function viewChanged() {
  const before = view;
  view = readView();
  part("namespace").value = view.namespace;
  if (part("search").value.trim() !== view.search) part("search").value = view.search;
  const isOther = view.namespace !== before.namespace;
  if (isOther) [items, isWhole, ignored] = [null, false, {}];
  // A control is chosen for one experiment only, so leaving that experiment changes its figures too.
  const isRead = !isOther && view.control === before.control && (!view.control || view.experiment === before.experiment);
  draw();
  const isOnlyPane = getComputedStyle(part("overview")).display === "none";
  if (view.experiment && view.experiment !== before.experiment && isOnlyPane) {
    scrollTo(0, 0);
    part("experiment-title")?.focus();
  }
  if (!isRead && !snapshot) read();
}

function start() {
  if (snapshot) {
    if (location.hash.length < 2 && snapshot.view) history.replaceState(null, "", `#${snapshot.view}`);
    part("namespace").readOnly = true;
    hide("refresh", true);
  }
  addEventListener("hashchange", async () => {
    const hadToken = await enter();
    viewChanged();
    if (hadToken) read();
  });
  if (!snapshot) document.addEventListener("visibilitychange", readIfVisible);
  part("refresh").onclick = read;
  part("search").oninput = search;
  part("namespace").onchange = () =>
    show({namespace: part("namespace").value.trim() || "alephbet", experiment: "", control: ""});
  part("skip").onclick = event => {
    event.preventDefault();
    part("experiment").focus();
  };
  part("export").onclick = event => exportAs(event.target.closest("[data-form]")?.dataset.form);
  document.addEventListener("click", event => {
    if (!part("export").contains(event.target)) part("export").open = false;
  });
  document.addEventListener("keydown", shortcut);
  viewChanged();
  enter().then(read);
}

async function exportAs(form) {
  if (!form) return;
  part("export").open = false;
  try {
    const read_at = readAt.toISOString();
    const histories = form === "html" ? await everyHistory(items) : [];
    const shown = {namespace: view.namespace, read_at, view: location.hash.slice(1), ignored, report: items, histories};
    await download(form, shown);
  } catch (error) {
    patch(part("banner"), `Export failed: ${error.message}.`);
    hide("banner", false);
  }
}

function shortcut(event) {
  const isTyping = event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    part("search").focus();
  } else if (event.key === "Escape" && part("export").open) {
    part("export").open = false;
    part("export").querySelector("summary").focus();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.closest("#list")) {
    const links = [...part("list").querySelectorAll("tbody a")];
    const next = links[links.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
}

start();
