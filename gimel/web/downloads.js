// Downloads what is on the page: exactly the numbers shown, not those of another request.

import { asCsv } from "./csv.js";
import { h } from "./elements.js";
import { request } from "./source.js";

const FORMS = {
  json: {type: "application/json", write: ({report}) => `${JSON.stringify(report, null, 2)}\n`},
  csv: {type: "text/csv", write: ({report}) => asCsv(report)},
  html: {type: "text/html", write: asPage},
};

// `one` is the name of the only experiment, if it is to be one.
export async function download(form, shown, one) {
  const {type, write} = FORMS[form];
  const text = await write(shown);
  const time = shown.read_at.slice(0, 16).replace(/[:T]/g, "-");
  const names = [shown.namespace, ...(one ? [one] : [])].map(name => name.replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60));
  const url = URL.createObjectURL(new Blob([text], {type}));
  h("a", {href: url, download: `gimel-${names.join("-")}-${time}.${form}`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// This page as one file with what is shown, which asks no server: page.py makes the same. Names come from the public
// internet: none may end the script element or begin a comment in it.
async function asPage(shown) {
  const page = (await request("")).replace("connect-src 'self'; ", "");
  const end = page.lastIndexOf("</body>");
  const json = JSON.stringify(shown).replaceAll("<", "\\u003c");
  return `${page.slice(0, end)}<script type="application/json" id="snapshot">${json}<\/script>\n${page.slice(end)}`;
}
