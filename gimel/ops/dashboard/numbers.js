// Numbers as text, with as many digits as they can bear.

const MINUS = "\u2212";
const NARROW = "\u202f"; // between a number and its unit: it neither breaks nor spreads
const NONE = "\u2013";
export const MANIFOLD = 10; // of an uplift as large as 1,000 %, two digits are enough

// A language of its own, not the browser's: the report's sentences are English too.
const LANGUAGE = "en-US";

function fixed(value, decimals) {
  const text = Math.abs(value).toLocaleString(LANGUAGE, {minimumFractionDigits: decimals, maximumFractionDigits: decimals});
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

function signed(value, decimals) {
  const text = fixed(value, decimals);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

export function count(value) {
  return value.toLocaleString(LANGUAGE);
}

// Decimals for a number that is uncertain by this much: the last digit shown is about a third of it or less.
export function decimals(uncertainty) {
  if (!(uncertainty > 0)) return 1;
  return Math.min(4, Math.max(0, Math.ceil(0.5 - Math.log10(uncertainty))));
}

export function halfWidth(interval) {
  return interval && interval.low !== null && interval.high !== null ? (interval.high - interval.low) / 2 : null;
}

// One precision for a column, so that its numbers can be compared: the one that its middle uncertainty bears.
export function sharedDecimals(widths) {
  const known = widths.filter(width => width > 0).sort((a, b) => a - b);
  return known.length === 0 ? 0 : decimals(100 * known[Math.floor((known.length - 1) / 2)]);
}

export function percent(share, digits) {
  return share === null ? NONE : `${fixed(100 * share, digits)}${NARROW}%`;
}

export function signedPercent(share, digits) {
  return share === null ? NONE : `${signed(share < MANIFOLD ? 100 * share : twoDigits(100 * share), digits)}${NARROW}%`;
}

function twoDigits(value) {
  const step = 10 ** (Math.floor(Math.log10(value)) - 1);
  return Math.round(value / step) * step;
}

export function points(difference, digits) {
  return difference === null ? NONE : signed(100 * difference, digits);
}

export function range(interval, write) {
  if (!interval) return "";
  if (interval.low === null || interval.high === null) {
    if (interval.low !== null) return `${write(interval.low)} or more`;
    return interval.high === null ? "unknown" : `${write(interval.high)} or less`;
  }
  return `${write(interval.low)} to ${write(interval.high)}`;
}

export function perVisitor(rate) {
  return rate === null ? NONE : rate.toLocaleString(LANGUAGE, {maximumSignificantDigits: 3, minimumSignificantDigits: 3});
}

// Never 0 % or 100 %: no experiment is that sure.
export function chance(value) {
  if (value === null) return NONE;
  if (value < 0.001) return `<${NARROW}0.1${NARROW}%`;
  if (value > 0.999) return `>${NARROW}99.9${NARROW}%`;
  const digits = value < 0.01 || value > 0.99 ? 1 : 0;
  return percent(value, digits);
}

export function probability(p) {
  if (p === null) return NONE;
  if (p < 0.0001) return `<${NARROW}0.0001`;
  return p > 0.995 ? "1"
    : p.toLocaleString(LANGUAGE, {minimumSignificantDigits: 2, maximumSignificantDigits: 2});
}

// About so many: two digits, rounded up, as a plan is.
export function roughly(value) {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(value, 1))) - 1);
  return count(Math.ceil(value / step) * step);
}

export function clock(date) {
  return date.toLocaleTimeString("en-GB");
}

export function moment(date) {
  return date.toLocaleString("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
  });
}

// Names as people order them: variant 2 before variant 10.
export const compareNames = new Intl.Collator("en", {numeric: true}).compare;
