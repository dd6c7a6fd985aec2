// Text of others on the page: isolated from what stands around it, with marks for what cannot be seen.

import { el } from "../dom.js";
import { beginning, pieces } from "../text.js";

/**
 * @param {string} text
 * @param {number} [most] code points that are shown
 * @returns {HTMLElement}
 */
export function safe(text, most = Infinity) {
  const { text: shown, more } = beginning(text, most);
  const parts = pieces(shown).map((piece) => (piece.mark ? el("span", { class: "hidden-letter", title: "a letter that cannot be seen" }, piece.text) : piece.text));
  const rest = more > 0 ? el("span", { class: "more" }, ` … ${more.toLocaleString("en")} more letters`) : null;
  return el("bdi", { class: "theirs" }, parts, rest);
}
