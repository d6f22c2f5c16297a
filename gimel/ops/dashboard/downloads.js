// What is on the page as a file: the very numbers shown, not those of another reading.

import { exported } from "./source.js";

const TYPES = {json: "application/json", csv: "text/csv", html: "text/html"};

export async function download(form, shown) {
  const text = form === "json" ? `${JSON.stringify(shown.report, null, 2)}\n` : await exported(form, shown);
  const day = shown.read_at.slice(0, 16).replace(/[:T]/g, "-");
  const place = shown.namespace.replace(/[^\p{L}\p{N}_-]+/gu, "-");
  const url = URL.createObjectURL(new Blob([text], {type: TYPES[form]}));
  const link = document.createElement("a");
  link.href = url;
  link.download = `gimel-${place}-${day}.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
