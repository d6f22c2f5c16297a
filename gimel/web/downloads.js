// Downloads what is on the page: exactly the numbers shown, not those of another request.

import { h } from "./elements.js";
import { request } from "./source.js";

const TYPES = {json: "application/json", csv: "text/csv", html: "text/html"};

// `one` is the name of the only experiment, if it is to be one.
export async function download(form, shown, one) {
  const options = {method: "POST", body: JSON.stringify(shown), headers: {"Content-Type": "application/json"}};
  const text = form === "json" ? `${JSON.stringify(shown.report, null, 2)}\n` : await request(`export/${form}`, {}, options);
  const time = shown.read_at.slice(0, 16).replace(/[:T]/g, "-");
  const names = [shown.namespace, ...(one ? [one] : [])].map(name => name.replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60));
  const url = URL.createObjectURL(new Blob([text], {type: TYPES[form]}));
  h("a", {href: url, download: `gimel-${names.join("-")}-${time}.${form}`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
