// Downloads what is on the page: exactly the numbers shown, not those of another request.

import { h } from "./elements.js";
import { request } from "./source.js";

const TYPES = {json: "application/json", csv: "text/csv", html: "text/html"};

export async function download(form, shown) {
  const options = {method: "POST", body: JSON.stringify(shown), headers: {"Content-Type": "application/json"}};
  const text = form === "json" ? `${JSON.stringify(shown.report, null, 2)}\n` : await request(`export/${form}`, {}, options);
  const time = shown.read_at.slice(0, 16).replace(/[:T]/g, "-");
  const namespace = shown.namespace.replace(/[^\p{L}\p{N}_-]+/gu, "-");
  const url = URL.createObjectURL(new Blob([text], {type: TYPES[form]}));
  h("a", {href: url, download: `gimel-${namespace}-${time}.${form}`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
