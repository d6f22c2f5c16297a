// The requests of today that were not counted, and why.

import { h, icon } from "./elements.js";
import { plural } from "./numbers.js";

const REASONS = {
  bot: "from bots",
  prefetch: "from browsers that load pages in advance",
  origin: "from other origins",
  namespace: "for namespaces that are not in config.json",
  experiment: "for experiments that are not in config.json",
  variant: "for variants that are not in config.json",
  goal: "for goals that are not in config.json",
  stopped: "for experiments that are stopped",
};
const RAISE_IT = "delete experiments that are no longer needed, or raise limits in config.json";

export function ignoredToday(counts) {
  const codes = [...Object.keys(REASONS), ...Object.keys(counts).filter(code => !REASONS[code])];
  const parts = codes.filter(code => counts[code] && code !== "limit")
    .map(code => `${plural(counts[code], "request")} ${REASONS[code] || `(${code})`}`);
  return [
    counts.limit ? h("p", {class: "note"}, icon("warning"),
      h("span", null, `${plural(counts.limit, "request")} beyond a limit ignored today: ${RAISE_IT}.`)) : null,
    parts.length ? h("p", {class: "quiet"}, `${parts.join(", ")} ignored today.`) : null,
  ];
}
