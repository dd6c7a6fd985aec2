// A verdict: a sign, a colour and words. Never the colour alone.

import { el, svg } from "../dom.js";

const SIGNS = {
  good: "M3 8.5 6.5 12 13 4.5",
  bad: "M4 4 12 12 M12 4 4 12",
  warn: "M8 3v6.5 M8 12.2v.6",
  open: "M4 8h8",
};
const SPOKEN = { good: "good", bad: "failed", warn: "warning", open: "not decided" };

/**
 * @param {"good" | "bad" | "warn" | "open"} kind
 * @param {...unknown} words
 * @returns {HTMLElement}
 */
export function status(kind, ...words) {
  const sign = svg("svg", { viewBox: "0 0 16 16", class: "sign", role: "img", "aria-label": SPOKEN[kind] }, svg("path", { d: SIGNS[kind] }));
  return el("span", { class: `status ${kind}` }, sign, el("span", { class: "words" }, words));
}
