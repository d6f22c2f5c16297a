// What is shown instead of results while there are none, and what to do about it.

import { capitalize, h, icon, isolated } from "./elements.js";
import { address } from "./view.js";

export function loading() {
  return h("div", {class: "state", "aria-busy": "true"}, h("p", {class: "quiet"}, "Loading the report…"));
}

// `notCounted` tells of events that came, but were not counted.
export function nothingTracked(namespace, server, notCounted) {
  const isDefault = namespace === "alephbet";
  return h("div", {class: "state first-steps"},
    h("h2", null, "Nothing has been tracked yet"),
    h("p", null, "The namespace ", isolated(namespace, {class: "strong"}), " has no experiments. ",
      isDefault ? null : "If you expected some, check the namespace above. ",
      server ? "The first one appears here as soon as a visitor takes part." : null),
    notCounted,
    server?.example ? [h("h3", null, "Try it"), h("p", null,
      h("a", {href: server.example, target: "_blank", rel: "noopener"}, "Open the example page"),
      ` in another tab: it runs an experiment${isDefault ? "" : " in the namespace alephbet"}, `,
      "and its buttons reach two goals.")] : null,
    server ? [
      h("h3", null, "Plan your first experiment"),
      h("p", null, h("a", {href: address({experiment: "", control: "", plan: "1"})}, "Plan an experiment"),
        ": how long it takes, and a snippet with its names."),
      h("div", {class: "row between"}, h("h3", null, "Or add an example to your page"), copyButton("Copy", server.snippet.html)),
      h("p", null, "This snippet runs an experiment with two variants and sends its events to ",
        h("code", null, server.track_url), "."),
      h("pre", {tabindex: "0", role: "region", "aria-label": "Snippet"}, h("code", null, server.snippet.html)),
      h("h3", null, "Or send an event by hand"),
      h("pre", {tabindex: "0", role: "region", "aria-label": "Command"},
        h("code", null, curlCommand(server.track_url, namespace))),
    ] : null);
}

function curlCommand(url, namespace) {
  const event = {experiment: "button color", variant: "red", event: "participate", uuid: "visitor-1", namespace};
  return `curl ${url} --json '${JSON.stringify(event).replaceAll("'", "\\u0027")}'`;
}

export function copyButton(title, text) {
  return h("button", {type: "button", class: "copy", onclick: () => copy(text)}, title);
}

let copies = 0;

// What says so is no part of what is drawn anew when an answer comes.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return prompt("Copy this:", text); // the browser allows no more on this page
  }
  const said = document.querySelector("#copied"), own = ++copies;
  said.textContent = "Copied";
  setTimeout(() => own === copies && said.replaceChildren(), 4000);
}

export function nothingMatches(search, clear) {
  return h("div", {class: "state"},
    h("p", null, "No experiment matches “", isolated(search), "”."),
    h("button", {type: "button", onclick: clear}, "Clear search"));
}

export function experimentNotFound(name, namespace) {
  return h("div", {class: "state"},
    h("h2", null, "Experiment not found"),
    h("p", null, "The namespace ", isolated(namespace, {class: "strong"}), " has no experiment ",
      isolated(name, {class: "strong"}), ". It may have been deleted, or be in another namespace."),
    h("p", null, h("a", {href: address({experiment: "", control: ""})}, "All experiments")));
}

export function noReport(problem, retry) {
  return h("div", {class: "state trouble"},
    h("h2", null, icon("warning"), capitalize(problem.message)),
    problem.hint ? h("p", null, capitalize(problem.hint)) : null,
    problem.kind === "unreachable" ? h("p", {class: "quiet"}, "This page retries every 30 seconds.") : null,
    h("button", {type: "button", onclick: retry}, "Retry"));
}

// `wrong` says what is wrong with the key in use, `cancel` goes back to another key; either may be missing.
export function keyForm(wrong, use, cancel) {
  return h("form", {class: "state key", onsubmit: event => {
    event.preventDefault();
    use(event.target.elements["api-key"].value);
  }},
  h("h2", null, cancel ? "Use another API key" : "API key required"),
  wrong ? h("p", {class: "wrong", role: "alert"}, icon("warning"), h("span", null, wrong)) : null,
  h("label", {for: "api-key"}, "API key"),
  h("div", {class: "row"},
    h("input", {id: "api-key", type: "password", autocomplete: "off", spellcheck: "false", required: true,
      "aria-describedby": "key-note", "aria-invalid": wrong ? "true" : null}),
    h("button", {type: "submit", class: "primary"}, "Show the report"),
    cancel ? h("button", {type: "button", onclick: cancel}, "Cancel") : null),
  h("p", {id: "key-note", class: "quiet"}, "Whoever runs this server has it: `gimel api-key` prints it, or `gimel serve` was ",
    "started with it. It is sent to this server only, and forgotten when you close this tab."));
}
