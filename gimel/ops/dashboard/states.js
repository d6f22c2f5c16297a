// What stands in the place of results while there are none, and what to do about it.

import { capital, h, icon, named } from "./elements.js";

export function loading() {
  return h("div", {class: "state", "aria-busy": "true"},
    h("p", {class: "quiet"}, "Reading the report…"),
    h("div", {class: "skeleton", "aria-hidden": "true"}, Array.from({length: 5}, () => h("div"))));
}

export function nothingTracked(namespace, info) {
  return h("div", {class: "state first-steps"},
    h("h2", null, "Nothing has been tracked yet"),
    h("p", null, "There is no experiment in the namespace ", named(namespace, {class: "strong"}),
      namespace === "alephbet" ? ". " : ". If you expected some, check the namespace above. ",
      info ? "This page shows the first one by itself as soon as a visitor takes part." : null),
    info?.example ? [h("h3", null, "Try it"), h("p", null,
      h("a", {href: info.example, target: "_blank", rel: "noopener"}, "Open the example page"),
      ` in another tab: it takes part in an experiment${namespace === "alephbet" ? "" : " of the namespace alephbet"}, `,
      "and its buttons reach two goals.")] : null,
    info ? [
      h("div", {class: "row between"}, h("h3", null, "Put it into your page"), copyButton(info.snippet)),
      h("p", null, "This snippet runs an experiment with two variants and sends what visitors do to ",
        h("code", null, info.track_url), "."),
      h("pre", {tabindex: "0", role: "region", "aria-label": "Snippet"}, h("code", null, info.snippet)),
      h("h3", null, "Or send an event by hand"),
      h("pre", {tabindex: "0", role: "region", "aria-label": "Command"}, h("code", null, byHand(info.track_url, namespace))),
    ] : null);
}

function byHand(url, namespace) {
  const event = {experiment: "button color", variant: "red", event: "participate", uuid: "visitor-1", namespace};
  const text = JSON.stringify(event).replaceAll("'", "\\u0027");
  return `curl ${url} --json '${text}'`;
}

function copyButton(text) {
  const button = h("button", {type: "button", class: "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it, and copy";
    }
  }}, "Copy");
  return button;
}

export function nothingFound(search, clear) {
  return h("div", {class: "state"},
    h("p", null, "No experiment matches “", named(search), "”."),
    h("button", {type: "button", onclick: clear}, "Clear the search"));
}

export function unknownExperiment(name, namespace, overview) {
  return h("div", {class: "state"},
    h("h2", null, "This experiment is not here"),
    h("p", null, "There is no ", named(name, {class: "strong"}), " in the namespace ", named(namespace, {class: "strong"}),
      ". It may have been deleted, or be in another namespace."),
    h("p", null, h("a", {href: overview}, "All experiments")));
}

export function noAnswer(problem, retry) {
  return h("div", {class: "state trouble"},
    h("h2", null, icon("warning"), capital(problem.message)),
    problem.hint ? h("p", null, capital(problem.hint)) : null,
    h("p", {class: "quiet"}, problem.kind === "unreachable" ? "This page goes on trying every 30 seconds." : null),
    h("button", {type: "button", onclick: retry, "data-focus": "retry"}, "Try again"));
}

export function keyWanted(wasWrong, use) {
  const field = h("input", {id: "api-key", type: "password", autocomplete: "off", spellcheck: "false", required: true,
    "aria-describedby": "key-note", "aria-invalid": wasWrong ? "true" : null, "data-focus": "key"});
  return h("form", {class: "state key", onsubmit: event => {
    event.preventDefault();
    if (field.value) use(field.value);
  }},
  h("h2", null, "This server wants its API key"),
  wasWrong ? h("p", {class: "wrong", role: "alert"}, icon("warning"), h("span", null, "That key is not the right one.")) : null,
  h("label", {for: "api-key"}, "API key"),
  h("div", {class: "row"}, field, h("button", {type: "submit", class: "primary"}, "Show the report")),
  h("p", {id: "key-note", class: "quiet"}, "It is what the server was started with: --api-key or GIMEL_API_KEY. ",
    "This tab keeps it until it is closed, and sends it to this server alone."));
}
