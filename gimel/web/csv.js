// A report as CSV, with the rows and columns of formats.py.

const FIGURES = [
  "rate", "rate_interval", "difference", "difference_interval", "uplift", "uplift_interval", "p_value",
  "unadjusted_p_value", "chance_to_beat_control", "always_valid_interval", "always_valid_p_value", "planned_interval",
  "planned_p_value", "expected_loss", "visitors_needed", "visitors_needed_smallest", "visitors_needed_equal",
  "counting_error",
];

// Where a spreadsheet could begin a cell with a formula: at the start of the value, and after whatever it may take for
// the end of a cell.
const FORMULA = /(?:^|(?<=[\t\n;,]))(?=[\s\x1c-\x1f\x85\0'"]*[=+@\uff1d\uff0b\uff0d\uff20-])|^(?=[\t\n\0])/g;

const NOTHING = {experiment: "", goals: [{goal: "", results: [{label: "", trials: 0}]}]};

export function asCsv(report) {
  const head = Object.keys(rowsOf(NOTHING)[0]);
  const rows = report.flatMap(rowsOf).map(row => head.map(name => cellOf(row[name])));
  return [head, ...rows].map(cells => `${cells.join(",")}\n`).join("");
}

// One row for each goal and variant; an experiment without goals has a row for each variant.
function rowsOf(item) {
  const {sample_ratio: ratio = {}, participants = []} = item;
  const perDay = new Map(Object.entries(item.visitors_per_day || {}));
  const goals = item.goals.length ? item.goals : [{goal: null, results: participants}];
  return goals.flatMap(goal => goal.results.map(result => {
    const own = participants.find(each => each.label === result.label);
    const expected = ratio.expected?.find(each => each.label === result.label);
    return {
      experiment: item.experiment, goal: goal.goal, kind: goal.kind, role: goal.role, alpha: goal.alpha,
      variant: result.label, unexpected: own?.unexpected, participants: result.trials,
      participants_counting_error: own?.counting_error, expected_participants: expected?.trials,
      expected_share: expected?.share, successes: result.successes,
      ...Object.assign({}, ...FIGURES.map(name => figuresOf(name, result[name]))),
      ...verdictOf("verdict", result), ...verdictOf("goal_verdict", goal), ...sinceOf("goal_verdict", goal),
      days_left: goal.days_left, ...verdictOf("experiment_verdict", item), ...sinceOf("experiment_verdict", item),
      experiment_verdict_goal: item.verdict?.goal, control: item.control, comparisons: item.comparisons,
      first_seen: item.first_seen, last_seen: item.last_seen, days: item.days,
      visitors_per_day: perDay.get(result.label), smallest_change: item.smallest_change,
      planned_participants: item.plan?.in_all, plan_reached: item.plan?.reached, plan_ended: item.plan?.ended?.at,
      plan_ended_participants: item.plan?.ended?.visitors, sample_ratio: ratio.state,
      sample_ratio_p_value: ratio.p_value, sample_ratio_always_valid_p_value: ratio.always_valid_p_value,
      sample_ratio_text: ratio.text, sample_ratio_since: ratio.since, counting_note: item.counting_note,
      notes: (item.notes || []).join("; "), status: item.settings?.status, owner: item.settings?.owner,
      decision: item.settings?.decision, note: item.settings?.note,
    };
  }));
}

function figuresOf(name, value) {
  return name.endsWith("_interval") ? {[`${name}_low`]: value?.low, [`${name}_high`]: value?.high} : {[name]: value};
}

function verdictOf(column, {verdict}) {
  return {[column]: verdict?.state, [`${column}_text`]: verdict?.text, [`${column}_reason`]: verdict?.reason};
}

function sinceOf(column, {verdict_since: since}) {
  return {[`${column}_since`]: since?.at, [`${column}_before`]: since?.before};
}

function cellOf(value) {
  if (typeof value === "number") return numberOf(value);
  if (typeof value !== "string") return `${value ?? ""}`;
  const inert = value.replaceAll("\0", "\ufffd").replace(/\r\n?/g, "\n").replace(FORMULA, "'");
  return /[",\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

// As Python writes it.
function numberOf(value) {
  const isSmall = value && Math.abs(value) < 1e-4;
  return isSmall ? value.toExponential().replace(/e-(\d)$/, "e-0$1") : String(value);
}
