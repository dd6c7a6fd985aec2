// Canonical bytes as text, in full, with a button to keep them.

import { el } from "../dom.js";
import { download } from "../download.js";
import { safe } from "./safe.js";

/** Letters shown; the file has all. */
const LETTERS = 20_000;

/** @param {string} name of the file @param {string} text @param {string} words on the button */
export function bytes(name, text, words = "Download") {
  return [
    el("pre", { class: "bytes", tabindex: "0", "aria-label": "Canonical bytes" }, safe(text, LETTERS)),
    el("button", { type: "button", click: () => download(name, text) }, words),
  ];
}
