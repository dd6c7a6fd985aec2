// A digest, an id or a key: a small picture and its text.

import { el, svg } from "../dom.js";
import { glyph, SIDE } from "../glyph.js";
import { short } from "../text.js";

/** The picture alone: it says nothing that the text beside it does not. */
export function picture(digest, round = false) {
  const { hue, cells } = glyph(digest);
  const squares = cells.flatMap((cell, at) => {
    if (cell === 0) return [];
    const [x, y] = [(at % SIDE) * 2 + 1, Math.floor(at / SIDE) * 2 + 1];
    return svg("rect", { x, y, width: 2.05, height: 2.05, class: cell === 1 ? "light" : "full" });
  });
  const drawing = svg("svg", { viewBox: "0 0 12 12", class: round ? "glyph round" : "glyph", "aria-hidden": "true" }, squares);
  drawing.style.setProperty("--hue", String(hue));
  return drawing;
}

/**
 * @param {string} digest
 * @param {{ full?: boolean }} [how] in full, or its beginning and end
 */
export function digest(digest, { full = false } = {}) {
  return el("span", { class: full ? "digest full" : "digest", title: digest, "data-digest": digest }, picture(digest), el("code", {}, full ? digest : short(digest)));
}

/** An author, known by nothing but its key. @param {string} key @param {string | null} [own] key of this browser */
export function author(key, own = null) {
  return el("span", { class: "author", title: key }, picture(key, true), el("code", {}, short(key)), key === own ? el("span", { class: "you" }, "you") : null);
}
