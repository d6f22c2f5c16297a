// Where reports come from: the server of this page, or the page itself if it is a snapshot.

const TIMEOUT_MS = 40000;
const PAGE = 100; // experiments in one answer
const NO_META = {ignored: {}, namespaces: [], archived: [], turned_away: [], access: "write"}; // what an older server leaves out

const inlined = document.getElementById("snapshot");
export const snapshot = inlined ? JSON.parse(inlined.textContent) : null;

// Whether the page is about one experiment, for readers who know neither Gimel nor the others.
export const isAlone = snapshot?.report.length === 1;

// A key that was typed is kept for this tab; that of an invite link, and the session token of `gimel dashboard`, for all tabs
// of this server. All are only ever sent as headers.
const typedKey = secret("sessionStorage", "gimel api key");
const invitedKey = secret("localStorage", "gimel api key");
export const apiKey = {
  get: () => typedKey.get() || invitedKey.get(),
  set: typedKey.set,
  isTyped: () => Boolean(typedKey.get()),
  isInvited: () => Boolean(invitedKey.get()),
  forget: () => [typedKey, invitedKey].forEach(each => each.set("")),
};
const token = secret("localStorage", "gimel token");

function secret(storage, name) {
  try {
    const kept = window[storage];
    return {get: () => kept.getItem(name) || "", set: text => kept.setItem(name, text)};
  } catch {
    let kept = ""; // until the page is left: the browser allows no storage, as in a sandboxed frame
    return {get: () => kept, set: text => { kept = text; }};
  }
}

// Requests are relative to this address: behind a gateway, that of a stage may lack its slash.
if (!snapshot && !location.pathname.endsWith("/")) {
  history.replaceState(null, "", `${location.pathname}/${location.search}${location.hash}`);
}

// Takes a key out of the page's address and keeps it, or a token or ticket, and keeps the session token that the server gives
// for it. Whether there was one.
export async function enter() {
  const params = new URLSearchParams(location.hash.slice(1));
  const [key, given] = [params.get("key"), params.get("token")];
  if (snapshot || !(key || given)) return false;
  for (const name of ["key", "token"]) params.delete(name);
  history.replaceState(null, "", `#${params}`);
  if (key) {
    typedKey.set("");
    invitedKey.set(key);
  }
  if (!given) return true;
  try {
    token.set(JSON.parse(await request("enter", {}, {method: "POST", headers: {"x-gimel-token": given}})).token);
  } catch {
    // The token of an earlier visit may still be valid; if not, the next request's error says what to do.
  }
  return true;
}

export async function request(path, params, options) {
  let response;
  let text;
  try {
    response = await fetch(`./${path}?${new URLSearchParams(params)}`, {
      cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options,
      headers: {...headerIfSet("x-api-key", apiKey.get()), ...headerIfSet("x-gimel-token", token.get()), ...options?.headers},
    });
    text = await response.text();
  } catch {
    throw problem("unreachable", `Gimel does not answer at ${location.origin}`, "Is it still running? Check its terminal.");
  }
  if (response.ok) return text;
  let details = {};
  try {
    details = JSON.parse(text) || {};
  } catch {
    // Not from Gimel: there is only the status.
  }
  const {status, statusText} = response;
  const kind = status === 403 || status === 401 ? "key" : status >= 500 ? "unreachable" : "refused";
  throw problem(kind, details.error || `The server answered ${status} ${statusText}`, details.hint, details);
}

// `kind`: "unreachable" (no usable answer), "key" (missing or wrong), "refused" (the message says why). `details`: the answer.
export function problem(kind, message, hint, details) {
  return Object.assign(new Error(message), {kind, hint, details});
}

// A header holds bytes: those of UTF-8, as `gimel report` sends them.
function headerIfSet(name, value) {
  return value ? {[name]: String.fromCharCode(...new TextEncoder().encode(value))} : {};
}

// The API of Gimel 1 knows no participants and no control, only the counts of goals.
function complete(item) {
  const participants = item.participants || (item.goals[0]?.results || []).map(({label, trials}) => ({label, trials}));
  return {...item, participants, control: item.control ?? participants[0]?.label ?? null};
}

// The experiments of a namespace, and what the report says beside them: how many requests were ignored today, the namespaces
// in use, the names of archived experiments, and whether the API key may change anything. An archived experiment is only read
// if it is the one asked for. A control that was chosen applies to one experiment; the others keep theirs. `soFar` is called
// with the experiments read until then, if there are more.
export async function report({namespace, experiment, control}, soFar) {
  if (snapshot) return {...NO_META, access: "read", ignored: snapshot.ignored || {}, items: snapshot.report.map(complete)};
  const isChosen = experiment && control;
  const readOne = () => pages({namespace, scope: experiment, ...(control ? {control} : {})});
  const [all, early] = await Promise.all([pages({namespace}, soFar), isChosen ? readOne() : null]);
  const one = early || (all.archived.includes(experiment) ? await readOne() : null);
  const found = one?.items.find(item => item.experiment === experiment);
  const items = all.items.filter(item => !found || item.experiment !== experiment);
  return {...all, items: found ? [...items, found] : items};
}

// A server that knows no pages answers with all experiments at once, and names no next one.
async function pages(params, soFar) {
  const items = [];
  const page = {limit: PAGE};
  for (;;) {
    const answer = JSON.parse(await request("experiments", {...params, ...page}));
    items.push(...answer.filter(item => item.experiment).map(complete));
    const {next, ...meta} = answer.find(item => item.meta)?.meta || {};
    if (!next || next === page.after) return {...NO_META, ...meta, items};
    page.after = next;
    soFar?.([...items]);
  }
}
