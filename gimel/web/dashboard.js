// The page: reads the report, draws what the address asks for, and does both again when either changes.

import { arrivalSection, isAwaited, readSnippet, turnedAwayNote } from "./arrival.js";
import { download } from "./downloads.js";
import { capitalize, h, isolated } from "./elements.js";
import { experimentPane } from "./experiment.js";
import { everyHistory, readHistory } from "./histories.js";
import { ignoredToday } from "./ignored.js";
import { archivedGroup, filterAndSort, isArchived, listTable, namesMatching } from "./list.js";
import { lastVisit } from "./needs.js";
import { asMarkdown } from "./markdown.js";
import { count, dateAndTime, plural, timeOfDay } from "./numbers.js";
import { patch } from "./patch.js";
import { apiKey, enter, isAlone, problem, report, request, snapshot } from "./source.js";
import { planner } from "./planner.js";
import { copy, experimentNotFound, keyForm, loading, noReport, nothingMatches, nothingTracked } from "./states.js";
import { address, readView, replaceView, show } from "./view.js";

const REFRESH_MS = 30000;
const AWAITED_MS = 3000; // while the first visitor of a draft is awaited, ...
const AWAITED_FOR_MS = 600000; // ... but not for ever in a forgotten tab: on AWS, each request is paid for
const part = id => document.getElementById(id);
const hide = (id, isHidden) => part(id).toggleAttribute("hidden", Boolean(isHidden));

let view = readView();
let items = null; // the last report read of the view's namespace
let isWhole = false; // or only its first pages, while the others are on their way
let ignored = {}; // how many requests were, today
let namespaces = []; // those in use, of any view
let archived = []; // the names of archived experiments
let turnedAway = []; // the events of the last hour that were not counted
let plan = null; // draws the form for a new experiment again
let access = "read"; // or "write": what the API key may do
let isAsking = false; // for another API key
let visit = null; // when the last visit of the view's namespace ended
let readAt = null;
let failure = null; // why the last read failed
let server = null; // what it says about itself
let shown = ""; // the experiment of which the page has all
let lastRead = 0; // only the answer to the latest request counts
let timer = null;
let shownSince = Date.now(); // when the address changed last

async function read() {
  const thisRead = ++lastRead;
  clearTimeout(timer);
  document.body.classList.add("reading");
  let fresh = null;
  let error = null;
  try {
    const {namespace} = view;
    // Asked again only after a failure: on AWS, each request is paid for.
    const isKnown = snapshot || (server?.namespace === namespace && !failure);
    const answer = isKnown ? server : {...JSON.parse(await request("", {about: 1, namespace})), namespace};
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
    ({items, ignored, namespaces, archived, turned_away: turnedAway, access} = fresh);
    isWhole = true;
    readAt = snapshot ? new Date(snapshot.read_at) : new Date();
    visit = snapshot ? readAt : lastVisit(view.namespace, readAt);
  }
  draw();
  const isAwaiting = !error && !view.plan && Date.now() - shownSince < AWAITED_FOR_MS
    && isAwaited(items?.find(each => each.experiment === shown));
  if (!snapshot) timer = setTimeout(readIfVisible, isAwaiting ? AWAITED_MS : REFRESH_MS);
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
  hide("experiment", state || view.plan);
  hide("planner", state || !view.plan);
  hide("new", snapshot);
  hide("export", state || snapshot || !isWhole);
  patch(part("state"), state);
  document.body.classList.toggle("one", !state && Boolean(view.experiment || view.plan));
  if (!state) drawResults();
  drawPlanner(state);
  drawFreshness();
  drawNamespaces();
  hide("key", !server?.needs_key || !apiKey.get() || !isWhole || state);
  patch(part("key").querySelector("summary"), access === "write" ? "Key" : "Read only");
  const namespace = view.namespace === "alephbet" ? "" : view.namespace;
  patch(document.querySelector("title"), [view.experiment, namespace, "Gimel"].filter(Boolean).join(" – "));
}

function insteadOfResults() {
  if (needsKey() || isAsking) return askForKey();
  if (items === null) return failure ? noReport(failure, read) : loading();
  return items.length === 0 && archived.length === 0 && !view.experiment && !view.plan
    ? nothingTracked(view.namespace, server, notCounted()) : null;
}

function notCounted() {
  return [ignoredToday(ignored), turnedAwayNote(turnedAway)];
}

function drawResults() {
  const since = {visit, now: readAt || new Date()};
  const matches = filterAndSort(items, view.search, view.sort, since);
  const item = view.experiment ? items.find(each => each.experiment === view.experiment) : matches[0];
  const filed = namesMatching(archived, view.search);
  shown = item?.experiment || "";
  const current = items.filter(each => !isArchived(each)).length;
  const all = `${plural(current, "experiment")}${isWhole ? "" : " so far"}`;
  patch(part("found"), view.search ? `${count(matches.length)} of ${all}` : all);
  const marked = view.plan ? "" : shown;
  patch(part("list"), matches.length || !view.search ? listTable(matches, marked, view, since)
    : filed.length ? null : nothingMatches(view.search, clearSearch), archivedGroup(filed, marked, view.search));
  patch(part("ignored"), notCounted());
  if (isWhole ? !item && isOnItsWay() : !(view.experiment && item)) {
    patch(part("experiment"), loading());
  } else if (item) {
    if (isWhole) readHistory(item, readAt, draw);
    readSnippet(item, draw);
    patch(part("experiment"), experimentPane(item, snapshot ? null : {
      // Until the answer comes, a control just chosen stays chosen.
      control: (!failure && view.experiment && view.control) || item.control,
      choose: control => show({experiment: item.experiment, control}),
      link: linkTo(item.experiment),
      markdown: () => asMarkdown([item], linkTo, view.namespace, readAt),
      change: access === "write" ? (changes, version) => changeNow(item.experiment, changes, version) : null,
      remove: () => deleteNow(item.experiment),
    }, arrivalSection(item, turnedAway)));
  } else {
    patch(part("experiment"), view.experiment ? experimentNotFound(view.experiment, view.namespace) : null);
  }
}

// The form for a new experiment is made once, and keeps what is typed until it is saved.
function drawPlanner(isHidden) {
  part("new").ariaCurrent = view.plan ? "page" : null;
  part("new").href = address({experiment: "", control: "", plan: "1"});
  if (!view.plan || isHidden) return;
  plan ??= planner(part("planner"), saveDraft);
  plan({items, access});
}

async function saveDraft(experiment, changes) {
  await changeSettings(experiment, changes, 0);
  plan = null;
  show({experiment, control: "", search: ""});
  read();
}

// Without what is searched for, as whoever follows it looks for this.
function linkTo(experiment) {
  const control = experiment && experiment === view.experiment ? view.control : "";
  return new URL(address({experiment, control, search: "", sort: ""}), location).href;
}

function drawNamespaces() {
  hide("in-use", !namespaces.some(name => name !== view.namespace));
  patch(part("namespaces"), namespaces.map(name => h("a", {
    key: name, href: address({namespace: name, experiment: "", control: "", search: ""}),
    "aria-current": name === view.namespace ? "true" : null,
  }, isolated(name))));
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

function askForKey() {
  const wrong = !needsKey() || !apiKey.get() ? ""
    : apiKey.isTyped() ? "The API key is wrong." : "The key of your link is no longer valid. Ask for a new link.";
  return keyForm(wrong, useKey, isAsking || (wrong && apiKey.isTyped() && apiKey.isInvited()) ? cancelKey : null);
}

function useKey(text) {
  isAsking = false;
  apiKey.set(text);
  read();
}

// Back to the key in use or, if the one that was typed is wrong, to that of the link.
function cancelKey() {
  isAsking = false;
  if (!needsKey()) return draw();
  apiKey.set("");
  return read();
}

function askForAnotherKey() {
  isAsking = true;
  closeMenus();
  draw();
  part("api-key").focus();
}

function forgetKey() {
  apiKey.forget();
  [items, isWhole, namespaces, archived] = [null, false, [], []];
  closeMenus();
  read();
}

// An archived experiment that was not asked for when the report was read.
function isOnItsWay() {
  return archived.includes(view.experiment) && !failure && !items.some(each => each.experiment === view.experiment);
}

// Sends changes of an experiment's settings or status, based on a version of them.
async function changeNow(experiment, changes, version) {
  const use = ({settings}) => { items = items.map(each => each.experiment === experiment ? {...each, settings} : each); };
  try {
    use(await changeSettings(experiment, changes, version));
  } catch (error) {
    if (error.details?.settings) use(error.details);
    draw();
    throw error;
  }
  draw();
  read();
}

async function changeSettings(experiment, changes, version) {
  const body = JSON.stringify({namespace: view.namespace, experiment, version, changes});
  return JSON.parse(await request("experiment", {}, {method: "PUT", body, headers: {"Content-Type": "application/json"}}));
}

async function deleteNow(name) {
  await request("delete", {namespace: view.namespace, experiment: name}, {method: "DELETE"});
  items = items.filter(each => each.experiment !== name);
  archived = archived.filter(each => each !== name);
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

function viewChanged() {
  const before = view;
  shownSince = Date.now();
  view = readView();
  part("namespace").value = view.namespace;
  if (part("search").value.trim() !== view.search) part("search").value = view.search;
  const isOther = view.namespace !== before.namespace;
  if (isOther) [items, isWhole, ignored, archived, turnedAway, visit] = [null, false, {}, [], [], null];
  closeMenus();
  // A control is chosen for one experiment only, so leaving that experiment changes its figures too.
  const isRead = !isOther && view.control === before.control && (!view.control || view.experiment === before.experiment)
    && !(isWhole && isOnItsWay());
  draw();
  const isOnlyPane = getComputedStyle(part("overview")).display === "none";
  if (view.plan !== before.plan || (view.experiment && view.experiment !== before.experiment && isOnlyPane)) {
    scrollTo(0, 0);
    part(view.plan ? "planner-title" : "experiment-title")?.focus();
  }
  if (!isRead && !snapshot) read();
}

function start() {
  if (snapshot) {
    if (location.hash.length < 2 && snapshot.view) history.replaceState(null, "", `#${snapshot.view}`);
    part("namespace").readOnly = true;
    hide("refresh", true);
    if (isAlone) replaceView({experiment: snapshot.report[0].experiment});
    document.body.classList.toggle("alone", isAlone);
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
  part("other-key").onclick = askForAnotherKey;
  part("forget-key").onclick = forgetKey;
  part("skip").onclick = event => {
    event.preventDefault();
    part("experiment").focus();
  };
  part("export").onclick = event => exportAs(event.target.closest("[data-form]"));
  document.addEventListener("click", event => closeMenus(event.target));
  document.addEventListener("keydown", shortcut);
  viewChanged();
  enter().then(read);
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu")) {
    if (!menu.contains(except || null)) menu.open = false;
  }
}

// All experiments or the one shown, in the form that a button of the menu stands for.
async function exportAs(button) {
  if (!button) return;
  const {form} = button.dataset;
  const one = part("export").querySelector("[value=one]").checked ? shown : "";
  const report = one ? items.filter(each => each.experiment === one) : items;
  if (form === "link") return copy(one ? linkTo(one) : new URL(address({experiment: "", control: ""}), location).href);
  if (form === "markdown") return copy(asMarkdown(report, linkTo, view.namespace, readAt));
  closeMenus();
  try {
    const read_at = readAt.toISOString();
    const hash = one ? address({experiment: one, search: ""}) : location.hash;
    const histories = form === "html" ? await everyHistory(report) : [];
    await download(form, {namespace: view.namespace, read_at, view: hash.slice(1), ignored, report, histories}, one);
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
  } else if (event.key === "Escape" && document.querySelector("details.menu[open]")) {
    const summary = document.querySelector("details.menu[open] summary");
    closeMenus();
    summary.focus();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.closest("#list, #search")) {
    const stops = [part("search"), ...part("list").querySelectorAll("tbody a, [open] a")];
    const next = stops[stops.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
}

start();
