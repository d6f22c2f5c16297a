// The life of an experiment: its status since when, what was decided, and the dialogs that change it.

import { askToDelete } from "./deletion.js";
import { askFirst } from "./dialogs.js";
import { capitalize, h, isolated } from "./elements.js";
import { dateAndTime, plural } from "./numbers.js";
import { changedMeanwhile, editSettings } from "./settings.js";
import { participants, variants } from "./verdicts.js";

const LAST = 80; // characters of a link's address that are shown

// What can be done in each status, beside deleting.
const ACTIONS = {
  draft: ["settings", "start"],
  running: ["settings", "decide", "stop"],
  decided: ["settings", "decide", "stop", "archive"],
  stopped: ["settings", "decide", "start", "archive"],
  archived: ["restore"],
};

// Also of an experiment on a server that knows no settings: it can only be deleted.
export function lifeActions(item, actions) {
  const {status, can_start: canStart = true} = item.settings || {};
  const isOffered = name => name !== "start" || canStart;
  const titles = {
    settings: "Settings…", start: status === "draft" ? "Start…" : "Start again…", stop: "Stop…", archive: "Archive…",
    restore: "Restore…", decide: item.settings?.decision == null ? "Decide…" : "Change decision…",
  };
  const dialogs = {settings: editSettings, ...DIALOGS};
  return [
    ...(ACTIONS[status] || []).filter(isOffered).map(name => h("button",
      {type: "button", key: name, onclick: () => dialogs[name](item, actions.change)}, titles[name])),
    h("button", {type: "button", key: "delete", class: "plain danger", onclick: () => askToDelete(
      item.experiment, losses(item), actions.remove)}, "Delete…"),
  ];
}

function losses(item) {
  const counts = `its counts (${plural(participants(item), "participant")})`;
  return item.settings?.version ? `${counts}, its settings and its decision` : counts;
}

export function lifeSection(item, actions) {
  const {settings} = item;
  if (!settings) return null;
  const {status, dates, hypothesis, owner, link, decision, note} = settings;
  return h("section", {class: `card life ${status}`, "aria-label": "Status"},
    h("div", {class: "life-head"},
      h("p", {class: "life-status"}, statusTag(status),
        dates[status] ? h("span", null, sinceOrOn(status, dates[status])) : null),
      actions?.change ? h("div", {class: "life-acts"}, lifeActions(item, actions)) : null),
    decision != null ? h("p", {class: "decision"}, h("strong", null, "Decision: ", inShort(decision, item))) : null,
    note ? h("p", {class: "said"}, isolated(note)) : null,
    hypothesis ? h("p", {class: "said"}, h("span", {class: "quiet"}, "Hypothesis: "), isolated(hypothesis)) : null,
    told(settings) ? h("p", {class: "quiet"}, told(settings)) : null,
    owner || link ? h("p", {class: "quiet"}, owner ? ["Owner: ", isolated(owner)] : null, owner && link ? " · " : null,
      link ? linkOf(link) : null) : null,
    earlier(status, dates));
}

export function statusTag(status) {
  return h("span", {class: `tag status ${status}`}, status);
}

function inShort(decision, item) {
  return decision === noneOf(item) ? "none of the variants" : isolated(decision);
}

// The decision for none of the variants: "none", unless that is the name of one.
function noneOf(item) {
  return variants(item).some(variant => variant.label === "none") ? "none of the variants" : "none";
}

// Only the web's own addresses can be followed.
function linkOf(link) {
  const isWeb = URL.canParse(link) && ["http:", "https:"].includes(new URL(link).protocol);
  const text = link.replace(/^https?:\/\//, "").slice(0, LAST);
  return isWeb ? h("a", {href: link, target: "_blank", rel: "noopener noreferrer"}, isolated(text)) : isolated(link);
}

function sinceOrOn(status, moment) {
  return `${["draft", "running"].includes(status) ? "since" : "on"} ${dateAndTime(new Date(moment))}`;
}

// What its status means for whoever reads its figures.
function told({status, can_start: canStart}) {
  return {
    draft: "It starts by itself, with its first visitor.",
    stopped: "Later events are ignored. The figures are those of that moment."
      + (canStart ? "" : " It cannot run again, because its counters were deleted when it was archived."),
    decided: "The headline stays as it was then. Counting goes on.",
    archived: "The figures are those of the moment when it was stopped. Its counters are deleted, so it cannot run again.",
  }[status];
}

function earlier(status, dates) {
  const others = Object.keys(dates).filter(name => name !== status && dates[name] && ACTIONS[name])
    .sort((a, b) => Date.parse(dates[a]) - Date.parse(dates[b]));
  return others.length ? h("p", {class: "quiet facts"},
    capitalize(others.map(name => `${name} ${dateAndTime(new Date(dates[name]))}`).join(" · "))) : null;
}

// Asks, and sends the changes. If others changed something meanwhile, the dialog says what, and goes on if confirmed again.
function askForStatus(item, change, question) {
  let {version} = item.settings;
  askFirst({...question,
    content: [h("p", {class: "name"}, isolated(item.experiment, {class: "strong"})), question.content],
    act: () => change(question.changes(), version),
    explain(error) {
      version = error.details?.settings?.version ?? version;
      return changedMeanwhile(error);
    },
  });
}

const DIALOGS = {
  start(item, change) {
    const isDraft = item.settings.status === "draft";
    askForStatus(item, change, {
      title: isDraft ? "Start this experiment?" : "Start this experiment again?", confirm: "Start",
      changes: () => ({status: "running"}),
      content: h("p", null, isDraft
        ? "It is shown as running from now on. A draft also starts by itself, with its first visitor."
        : "Within a minute its events are counted again, on top of what was counted until it was stopped. What happened in "
          + "between stays a gap in its history. Visitors who came then are not counted as participants later, but may still "
          + "reach goals: if they were many, give the next run a new name instead."),
    });
  },

  stop(item, change) {
    askForStatus(item, change, {
      title: "Stop this experiment?", confirm: "Stop", changes: () => ({status: "stopped"}),
      content: [
        h("p", null, "Within a minute its events are ignored, and its figures stay as they are now. Pages that still run it "
          + "keep showing its variants: remove it from them, too."),
        h("p", null, "You can start it again.")],
    });
  },

  archive(item, change) {
    askForStatus(item, change, {
      title: "Archive this experiment?", confirm: "Archive", isDanger: true, changes: () => ({status: "archived"}),
      content: [
        h("p", null, "Its report is kept as it is now, under “Archived” at the end of the list. Its counters are deleted, "
          + "so it makes room for new experiments."),
        h("p", null, "It can never run again. “Restore” brings back the report, not the counters.")],
    });
  },

  restore(item, change) {
    askForStatus(item, change, {
      title: "Restore this experiment?", confirm: "Restore", changes: () => ({status: "stopped"}),
      content: h("p", null, "Its report returns to the list, as that of a stopped experiment. It cannot run again, because "
        + "its counters are deleted."),
    });
  },

  decide(item, change) {
    const {status, decision, note} = item.settings;
    const labels = variants(item).map(variant => variant.label);
    const winner = decision == null ? winnerOf(item) : decision;
    const none = noneOf(item);
    const isOther = winner != null && winner !== none && !labels.includes(winner);
    const radio = (value, isChosen, ...title) => h("label", null,
      h("input", {type: "radio", name: "decision", value, checked: isChosen}), h("span", null, title));
    const other = h("input", {type: "text", dir: "auto", "aria-label": "Another decision", value: isOther ? winner : "",
      oninput: () => { choices.querySelector("[value=other]").checked = true; }});
    const choices = h("fieldset", {class: "options"}, h("legend", null, "What was decided?"),
      labels.map((label, index) => radio(index, label === winner,
        isolated(label), " ", label === item.control ? h("span", {class: "tag"}, "control") : null)),
      radio("none", winner === none, "None of the variants"),
      h("div", {class: "row other"}, radio("other", isOther, "Something else:"), other),
      status === "decided" ? radio("open", false, "It is not decided after all") : null);
    const comment = h("textarea", {id: "note", rows: 3, dir: "auto"}, note);
    const changes = () => {
      const {value} = choices.querySelector(":checked") || {};
      const chosen = value === "other" ? other.value.trim() : value === "none" ? none : labels[value];
      const made = value === "open" ? {status: "running"} : {status: "decided", decision: chosen};
      return {...made, note: comment.value.trim() || null};
    };
    askForStatus(item, change, {
      title: decision == null ? "Record a decision" : "Change the decision", confirm: "Save the decision", kind: "decide",
      isReady: () => changes().status === "running" || Boolean(changes().decision),
      isChanged: () => comment.value.trim() !== note.trim(),
      changes,
      content: [
        choices,
        h("label", {for: "note"}, "Note: why, and what comes next"), comment,
        status === "running" ? h("p", {class: "quiet"},
          "The headline stays as it is now. Counting goes on until you stop it.") : null],
    });
  },
};

// The variant that the verdict says has won.
function winnerOf({verdict, goals, control}) {
  if (verdict?.state === "loser") return control;
  if (verdict?.state !== "winner") return null;
  const rows = goals.find(each => each.goal === verdict.goal)?.results || [];
  return rows.find(row => row.verdict?.state === "winner")?.label ?? null;
}
