// Visitors per day, as a line as small as a word.

import { s } from "./elements.js";
import { count, plural } from "./numbers.js";

const [WIDTH_OF_SPARK, HEIGHT_OF_SPARK] = [100, 16];

// Of the last 28 days at most (UTC), today left out: it is not over.
export function sparkline(item) {
  const visitors = (item.visitors_by_day || []).slice(0, -1).map(each => each.visitors);
  if (visitors.length < 2) return null;
  const most = Math.max(...visitors, 1);
  const x = index => (WIDTH_OF_SPARK * index / (visitors.length - 1)).toFixed(1);
  const y = each => (1 + (HEIGHT_OF_SPARK - 2) * (1 - each / most)).toFixed(1);
  const line = visitors.map((each, index) => `${x(index)} ${y(each)}`).join("L");
  const text = `${plural(visitors.at(-1), "visitor")} yesterday, at most ${count(most)} on a day`;
  return s("svg", {class: "spark", height: HEIGHT_OF_SPARK, viewBox: `0 0 ${WIDTH_OF_SPARK} ${HEIGHT_OF_SPARK}`,
    preserveAspectRatio: "none", role: "img", "aria-label": text}, s("path", {d: `M${line}`}));
}
