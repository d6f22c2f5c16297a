// Asks uBlock Origin's own engine: `node ad_blocker.mjs ENGINE SUFFIXES LIST…`. Each line of stdin is a request as JSON;
// each line of stdout is the rule that blocks it, or null.

import {readFileSync} from "node:fs";
import {createInterface} from "node:readline";
import {pathToFileURL} from "node:url";

const [engine, suffixes, ...lists] = process.argv.slice(2);
const {StaticNetFilteringEngine, pslInit} = await import(pathToFileURL(engine));
const blocker = await StaticNetFilteringEngine.create();
pslInit(readFileSync(suffixes, "utf8")); // the package's own copy is empty, and then every subdomain is another site
await blocker.useLists(lists.map(name => ({name, raw: readFileSync(name, "utf8")})));
for await (const line of createInterface({input: process.stdin})) {
  const isBlocked = blocker.matchRequest(JSON.parse(line)) === 1;
  console.log(JSON.stringify(isBlocked ? blocker.toLogData().raw : null));
}
