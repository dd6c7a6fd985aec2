// What this page is worth, and which relayer served it.

import { el, replace } from "../dom.js";
import * as relay from "../relay.js";
import { safe } from "./safe.js";

/** @param {HTMLElement} place */
export async function footer(place) {
  const build = el("span", {}, "…");
  replace(place,
    el("p", {}, "This relayer cannot forge an op: every op shown here was checked by this browser. It can withhold ops, and it served the page that checks: compare the digests with a second relayer, and with a node of your own."),
    el("p", { class: "note" }, build, " · ", el("a", { href: "openapi.json" }, "openapi.json"), " · ", el("a", { href: "crdt.js" }, "crdt.js")));
  try {
    const { name, version, protocol } = await relay.version();
    replace(build, safe(`${name} ${version}`, 80), ", protocol ", safe(String(protocol), 20));
  } catch (error) {
    if (!(error instanceof relay.RelayError)) throw error;
    replace(build, "the relayer does not tell its version");
  }
}
