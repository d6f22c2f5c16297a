// Numbers as text, with no more digits than they are good for. A number that is null or missing is unknown.

const MINUS = "\u2212";
const NARROW = "\u202f"; // between a number and its unit: a space without a line break
const UNKNOWN = "\u2013";
const SMALLEST = 8; // decimals
export const LARGE_UPLIFT = 10; // from 1,000 % on, two digits are enough

// Not the browser's language, because the report's sentences are English too.
const LANGUAGE = "en-US";
const FORMATS = []; // by decimals, as they are slow to make

// With more decimals where it would read 0 and is not: wording.py has the same rules.
function fixed(value, digits, plus = "") {
  for (let more = digits; more <= SMALLEST; more++) {
    FORMATS[more] ??= new Intl.NumberFormat(LANGUAGE, {minimumFractionDigits: more, maximumFractionDigits: more});
    const text = FORMATS[more].format(Math.abs(value));
    if (/[1-9]/.test(text)) return (value < 0 ? MINUS : plus) + text;
  }
  return (0).toFixed(digits);
}

function signed(value, digits) {
  return fixed(value, digits, "+");
}

// How many decimals the figures of a goal have: what the report says, so that its sentences have the same.
export function decimalsOf(goal) {
  return goal.digits || {rate: 2, points: 2, uplift: 1}; // an older server does not say
}

export function count(value) {
  return fixed(value, 0);
}

export function plural(number, thing) {
  return `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
}

export function percent(share, digits) {
  return share == null ? UNKNOWN : `${fixed(100 * share, digits)}${NARROW}%`;
}

export function signedPercent(share, digits) {
  if (share == null) return UNKNOWN;
  return `${signed(share < LARGE_UPLIFT ? 100 * share : twoDigits(100 * share, Math.round), digits)}${NARROW}%`;
}

function twoDigits(value, round) {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(value, 1))) - 1);
  return round(value / step) * step;
}

// A number of visitors to plan for: two digits, rounded up.
export function roundUp(value) {
  return value == null ? UNKNOWN : count(twoDigits(value, Math.ceil));
}

export function points(difference, digits) {
  return difference == null ? UNKNOWN : signed(100 * difference, digits);
}

// In percentage points, without a sign: a loss is never below 0.
export function loss(expected) {
  if (expected == null) return "";
  if (expected < 0.00001) return `<${NARROW}0.001`;
  return fixed(100 * expected, Math.max(1, Math.ceil(0.5 - Math.log10(100 * expected))));
}

export function range(interval, write) {
  if (!interval) return "";
  const {low, high} = interval;
  if (low === null && high === null) return "unknown";
  if (low === null) return `${write(high)} or less`;
  return high === null ? `${write(low)} or more` : `${write(low)} to ${write(high)}`;
}

export function perVisitor(rate) {
  return rate == null ? UNKNOWN
    : rate.toLocaleString(LANGUAGE, {maximumSignificantDigits: 3, minimumSignificantDigits: 3});
}

// Never 0 % or 100 %: no experiment is that certain.
export function chance(value) {
  if (value == null) return UNKNOWN;
  if (value < 0.001) return `<${NARROW}0.1${NARROW}%`;
  if (value > 0.999) return `>${NARROW}99.9${NARROW}%`;
  return percent(value, value < 0.01 || value > 0.99 ? 1 : 0);
}

export function pValue(p) {
  if (p == null) return "";
  if (p < 0.0001) return "p\u00a0<\u00a00.0001";
  const digits = {minimumSignificantDigits: 2, maximumSignificantDigits: 2};
  return `p\u00a0=\u00a0${p > 0.995 ? "1" : p.toLocaleString(LANGUAGE, digits)}`;
}

// 0.03 -> 3 %: a share that someone has chosen.
export function chosen(share) {
  return `${Number((100 * share).toPrecision(3))}${NARROW}%`;
}

export function timeOfDay(date) {
  return date.toLocaleTimeString("en-GB");
}

const DAY_FORMAT = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "long", year: "numeric", timeZone: "UTC"});

export function dayOf(moment) {
  return DAY_FORMAT.format(new Date(moment));
}

export function dateAndTime(date) {
  return date.toLocaleString("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
  });
}

// Names in the order that people expect: variant 2 before variant 10.
export const compareNames = new Intl.Collator("en", {numeric: true}).compare;
