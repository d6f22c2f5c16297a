// The page: reads the report, draws what the address asks for, and does both again when either changes.

import { askToDelete } from "./deletion.js";
import { download } from "./downloads.js";
import { capital } from "./elements.js";
import { experimentPane, plural } from "./experiment.js";
import { arranged, listTable } from "./list.js";
import { clock, moment } from "./numbers.js";
import { about, enter, key, remove, report, snapshot } from "./source.js";
import { keyWanted, loading, noAnswer, nothingFound, nothingTracked, unknownExperiment } from "./states.js";
import { participants } from "./verdicts.js";
import { address, readView, show, showQuietly } from "./view.js";

const REFRESH_MS = 30000;
const RECENT = "gimel namespaces";
const part = id => document.getElementById(id);

let view = readView();
let items = null; // what was read last, if it belongs to the view
let readAt = null;
let problem = null;
let info = null; // what the server says about itself
let reading = 0; // only the answer to the last question counts
let timer = null;

async function read() {
  const mine = ++reading;
  clearTimeout(timer);
  document.body.classList.add("reading");
  let found = null;
  let failure = null;
  try {
    if (!snapshot) info = await about(view.namespace);
    if (mine !== reading) return;
    if (info?.needs_key && !key.get()) throw Object.assign(new Error(), {kind: "key"});
    found = await report(view);
  } catch (error) {
    failure = error;
  }
  if (mine !== reading) return;
  document.body.classList.remove("reading");
  problem = failure;
  if (found) {
    items = found;
    readAt = new Date();
    remember(view.namespace);
  }
  draw();
  if (!snapshot) timer = setTimeout(readIfVisible, REFRESH_MS);
}

function readIfVisible() {
  // Not while a key is being typed, which would be lost.
  if (document.visibilityState === "visible" && !wantsKey()) read();
}

function wantsKey() {
  return problem?.kind === "key" && Boolean(info?.needs_key);
}

function draw() {
  const kept = keep();
  const whole = wantsKey() ? keyWanted(Boolean(key.get()), useKey)
    : items === null ? (problem ? noAnswer(problem, read) : loading())
    : items.length === 0 && !view.experiment ? nothingTracked(view.namespace, info) : null;
  part("state").hidden = !whole;
  part("overview").hidden = part("experiment").hidden = Boolean(whole);
  part("export").hidden = Boolean(whole) || Boolean(snapshot);
  part("state").replaceChildren(...(whole ? [whole] : []));
  if (!whole) drawResults();
  else document.body.classList.remove("one");
  drawFreshness();
  document.title = [view.experiment, view.namespace === "alephbet" ? "" : view.namespace, "Gimel"].filter(Boolean).join(" – ");
  kept();
}

function drawResults() {
  const found = arranged(items, view.search, view.sort);
  const item = items.find(each => each.experiment === view.experiment) || (view.experiment ? null : found[0]);
  document.body.classList.toggle("one", Boolean(view.experiment));
  drawList(found, item);
  const overview = address({experiment: "", control: ""});
  if (item) {
    part("experiment").replaceChildren(...experimentPane(item, {
      overview,
      choose: snapshot ? null : control => show({experiment: item.experiment, control}),
      remove: snapshot ? null : name => askToDelete(name, plural(participants(item), "participant"), () => deleted(name)),
    }).flat(2).filter(Boolean));
  } else {
    part("experiment").replaceChildren(view.experiment ? unknownExperiment(view.experiment, view.namespace, overview) : "");
  }
}

function drawList(found, item) {
  part("found").textContent = view.search ? `${found.length} of ${plural(items.length, "experiment")}` : plural(items.length, "experiment");
  part("list").replaceChildren(found.length || !view.search
    ? listTable(found, item?.experiment, view.sort, each => address({experiment: each.experiment, control: ""}),
      sort => show({sort: sort === "verdict" ? "" : sort}))
    : nothingFound(view.search, () => { part("search").value = ""; search(); part("search").focus(); }));
}

function drawFreshness() {
  const isOld = problem && items !== null && !wantsKey();
  const banner = part("banner");
  banner.hidden = !isOld;
  const text = isOld ? `${capital(problem.message)}. Shown is the last good answer, of ${clock(readAt)}. ${capital(problem.hint || "")}` : "";
  if (banner.textContent !== text) banner.textContent = text;
  document.body.classList.toggle("old", Boolean(isOld));
  part("demo").hidden = !info?.is_demo;
  if (snapshot) {
    part("freshness").textContent = `Snapshot of ${moment(new Date(snapshot.read_at))}`;
  } else if (readAt && items !== null) {
    part("freshness").replaceChildren("Read at ", Object.assign(document.createElement("time"), {
      dateTime: readAt.toISOString(), textContent: clock(readAt)}));
  } else {
    part("freshness").textContent = "";
  }
}

// Drawing replaces elements: what has the focus and what is unfolded stays so.
function keep() {
  const focused = document.activeElement?.dataset?.focus;
  const open = [...document.querySelectorAll("details[data-keep][open]")].map(each => each.dataset.keep);
  const drawn = view.experiment;
  return () => {
    if (keep.drawn === drawn) {
      for (const each of document.querySelectorAll("details[data-keep]")) each.open = open.includes(each.dataset.keep);
    }
    keep.drawn = drawn;
    if (focused) [...document.querySelectorAll("[data-focus]")].find(each => each.dataset.focus === focused)?.focus();
  };
}

function useKey(text) {
  key.set(text);
  problem = null;
  draw();
  read();
}

async function deleted(name) {
  await remove(view.namespace, name);
  items = items.filter(each => each.experiment !== name);
  show({experiment: "", control: ""});
  read();
}

function search() {
  showQuietly({search: part("search").value.trim()});
  view = readView();
  draw();
}

function remember(namespace) {
  try {
    const recent = [...new Set([namespace, ...JSON.parse(localStorage.getItem(RECENT) || "[]")])].slice(0, 12);
    localStorage.setItem(RECENT, JSON.stringify(recent));
    part("namespaces").replaceChildren(...recent.map(each => Object.assign(document.createElement("option"), {value: each})));
  } catch {
    // A browser that keeps nothing only costs the list of namespaces seen before.
  }
}

function changed() {
  const before = view;
  view = readView();
  part("namespace").value = view.namespace;
  if (part("search").value.trim() !== view.search) part("search").value = view.search;
  const isOther = view.namespace !== before.namespace;
  if (isOther) items = null;
  // The control belongs to one experiment, so to leave that with a control chosen is a change of numbers too.
  const isRead = !isOther && view.control === before.control && (!view.control || view.experiment === before.experiment);
  draw();
  if (view.experiment && view.experiment !== before.experiment && document.body.classList.contains("one")) {
    part("experiment").scrollTop = 0;
    if (getComputedStyle(part("overview")).display === "none") {
      scrollTo(0, 0);
      part("experiment-title")?.focus();
    }
  }
  if (!isRead && !snapshot) read();
}

function start() {
  if (snapshot) {
    if (location.hash.length < 2 && snapshot.view) history.replaceState(null, "", `#${snapshot.view}`);
    part("namespace").readOnly = true;
    part("refresh").hidden = true;
  }
  addEventListener("hashchange", async () => {
    const isLetIn = await enter();
    changed();
    if (isLetIn) read();
  });
  document.addEventListener("visibilitychange", () => {
    if (!snapshot && document.visibilityState === "visible" && (!readAt || problem || Date.now() - readAt >= REFRESH_MS)) read();
  });
  part("refresh").addEventListener("click", read);
  part("search").addEventListener("input", search);
  part("namespace").addEventListener("change", () =>
    show({namespace: part("namespace").value.trim() || "alephbet", experiment: "", control: ""}));
  part("skip").addEventListener("click", event => { event.preventDefault(); part("experiment").focus(); });
  part("export").addEventListener("click", event => {
    const form = event.target.closest("[data-form]")?.dataset.form;
    if (!form) return;
    part("export").open = false;
    download(form, {namespace: view.namespace, read_at: readAt.toISOString(), view: location.hash.slice(1), report: items})
      .catch(error => { part("banner").textContent = `Nothing was exported: ${error.message}.`; part("banner").hidden = false; });
  });
  document.addEventListener("click", event => { if (!part("export").contains(event.target)) part("export").open = false; });
  document.addEventListener("keydown", shortcut);
  changed();
  enter().then(read);
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
