// Where reports come from: the server of this page, or the data in it if it is a snapshot.

const KEY = "gimel api key";
const TOKEN = "gimel token";
const TIMEOUT_MS = 40000;

// `kind`: "unreachable" (no answer), "key" (a key is needed, or wrong), "refused" (the answer says why).
class Problem extends Error {
  constructor(kind, message, hint) {
    super(message);
    this.kind = kind;
    this.hint = hint || "";
  }
}

const inlined = document.getElementById("snapshot");
export const snapshot = inlined ? JSON.parse(inlined.textContent) : null;

// Kept for this tab alone, and only ever sent as a header.
export const key = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: text => sessionStorage.setItem(KEY, text),
};

// What `gimel dashboard` lets a page in by. Kept for all tabs of this server's address, and only ever sent as a header.
const token = {
  get: () => {
    try {
      return localStorage.getItem(TOKEN) || "";
    } catch {
      return token.here;
    }
  },
  set: text => {
    token.here = text;
    try {
      localStorage.setItem(TOKEN, text);
    } catch {
      // A browser that keeps nothing has it until the page is left.
    }
  },
  here: "",
};

// Takes what lets this page in out of its address, and keeps it if the server says so. Whether there was any.
export async function enter() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const given = asked.get("token");
  if (!given || snapshot) return false;
  asked.delete("token");
  history.replaceState(null, "", `#${asked}`);
  try {
    token.set(JSON.parse(await call("enter", {}, {method: "POST", headers: {"x-gimel-token": given}})).token);
  } catch {
    // Not let in by this one. If not by an earlier one either, the answer to the next question says what to do.
  }
  return true;
}

async function call(path, params, options) {
  const query = new URLSearchParams(params);
  let answer;
  let text;
  try {
    answer = await fetch(`${path}?${query}`, {
      cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options,
      headers: {...held("x-api-key", key.get()), ...held("x-gimel-token", token.get()), ...options?.headers},
    });
    text = await answer.text();
  } catch {
    throw new Problem("unreachable", `Gimel does not answer at ${location.origin}`, "Is it still running? Its terminal tells.");
  }
  if (answer.ok) return text;
  let said = {};
  try {
    said = JSON.parse(text) || {};
  } catch {
    // Not from Gimel: the status is all there is to tell.
  }
  const kind = answer.status === 403 || answer.status === 401 ? "key" : answer.status >= 500 ? "unreachable" : "refused";
  throw new Problem(kind, said.error || `The answer was ${answer.status} ${answer.statusText}`, said.hint);
}

function held(name, value) {
  return value ? {[name]: value} : {};
}

export async function about(namespace) {
  return JSON.parse(await call("about", {namespace}));
}

const UNKNOWN = Object.fromEntries(["rate", "rate_interval", "counting_error", "difference", "difference_interval", "uplift",
  "uplift_interval", "p_value", "chance_to_beat_control", "always_valid_interval", "always_valid_p_value",
  "visitors_needed"].map(name => [name, null]));

// An API of an older Gimel knows counts alone: what it does not tell is unknown.
function complete(item) {
  const goals = item.goals.map(goal => ({...goal, results: goal.results.map(row => ({...UNKNOWN, ...row}))}));
  const participants = item.participants || (goals[0]?.results || []).map(({label, trials}) => ({label, trials}));
  return {...item, participants, control: item.control ?? participants[0]?.label ?? null, goals};
}

// The experiments of a namespace. With a control, that of one experiment is exchanged; all others keep theirs.
export async function report(view) {
  if (snapshot) return snapshot.report.map(complete);
  const {namespace, experiment, control} = view;
  const asked = [call("experiments", {namespace})];
  if (experiment && control) asked.push(call("experiments", {namespace, scope: experiment, control}));
  const [all, other] = (await Promise.all(asked)).map(text => JSON.parse(text).filter(item => item.experiment).map(complete));
  const exchanged = other?.find(item => item.experiment === experiment);
  return all.map(item => exchanged && item.experiment === experiment ? exchanged : item);
}

export function remove(namespace, experiment) {
  return call("delete", {namespace, experiment}, {method: "DELETE"});
}

export function exported(form, shown) {
  return call(`export/${form}`, {}, {
    method: "POST", body: JSON.stringify(shown), headers: {"Content-Type": "application/json"},
  });
}
