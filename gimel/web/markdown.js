// Experiments as Markdown, for tickets and chat: what the page says of them, and its tables.

import { capitalize } from "./elements.js";
import { facts, planned } from "./experiment.js";
import { inReadingOrder } from "./goal.js";
import { lifeSection } from "./life.js";
import { count, dateAndTime, decimalsOf, perVisitor, percent, plural, points, range, signedPercent } from "./numbers.js";
import { inOrder, kind } from "./tables.js";
import { called, deciding, participants, warnings } from "./verdicts.js";

// `linkTo` gives the address of an experiment.
export function asMarkdown(items, linkTo, namespace, readAt) {
  const end = `Namespace ${plain(namespace)}, ${dateAndTime(readAt)}.`;
  return `${[...items.map(item => experimentAsMarkdown(item, linkTo(item.experiment))), end].join("\n\n")}\n`;
}

function experimentAsMarkdown(item, link) {
  const {verdict, headline, settings} = item;
  const isDraft = settings?.status === "draft";
  const state = verdict && settings?.decision == null ? `**${called(verdict.state)}.** ` : ""; // as on the page
  return [
    `### [${plain(item.experiment)}](${link})`,
    verdict && !isDraft ? state + plain(headline || verdict.text) : null,
    capitalize(linesOf(lifeSection(item)).join("\\\n")),
    isDraft ? null : [plural(participants(item), "participant"), ...[planned(item), facts(item)].map(part => part?.textContent)]
      .filter(Boolean).join(" · "),
    ...warnings(item).map(text => `> ${plain(text)}`),
    ...inReadingOrder(item).map(goal => goalAsMarkdown(goal, item)),
  ].filter(Boolean).join("\n\n");
}

// The paragraphs of a part of the page.
function linesOf(part) {
  const paragraphs = part ? [...part.querySelectorAll("p")] : [];
  return paragraphs.map(each => plain([...each.childNodes].map(node => node.textContent).join(" ")));
}

function goalAsMarkdown(goal, item) {
  const {kind: sort, role, verdict, results} = goal;
  const digits = decimalsOf(goal);
  const isRepeated = sort === "per_visitor";
  const write = end => points(end, digits.points);
  const isCompared = results.some(row => row.difference_interval);
  const head = ["Variant", "Reached", isRepeated ? "Per visitor" : "Rate",
    ...(isCompared ? ["Difference, points", "95 % interval"] : []), "Uplift"];
  const rows = inOrder(results.map(row => row.label), item).map(label => {
    const row = results.find(each => each.label === label);
    const isControl = label === item.control;
    return [
      `${plain(label)}${kind(label, item) ? ` (${kind(label, item)})` : ""}`,
      `${count(row.successes)} of ${count(row.trials)}`,
      isRepeated ? perVisitor(row.rate) : percent(row.rate, digits.rate),
      ...(isCompared ? isControl ? ["", ""] : [write(row.difference), range(deciding(row, item), write)] : []),
      isControl ? "" : signedPercent(row.uplift, digits.uplift),
    ];
  });
  const title = `**${plain(goal.goal)}**${["primary", "guardrail"].includes(role) ? ` (${role})` : ""}`;
  return [
    verdict ? `${title}: ${plain(verdict.text)}` : title, "",
    ...[head, ["---", ...head.slice(1).map(() => "--:")], ...rows].map(cells => `| ${cells.join(" | ")} |`),
  ].join("\n");
}

// Names come from the public internet: in a ticket, none may format anything, call a person, or lead to an address.
function plain(text) {
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "").replace(/\s+/g, " ").trim()
    .replace(/[\\`*[\]<>|~&]|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, "\\$&")
    .replace(/[@#](?=\S)|:(?=\/\/)|www(?=\.)/gi, "$&\u2060");
}
