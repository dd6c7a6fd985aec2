// Text that somebody else wrote, made harmless to read: what cannot be seen, or changes how its
// surroundings are shown, becomes a visible mark.

/** Controls, formats (bidi among them), separators, private and unassigned ones, and what is blank
 * or changes the letter before it without being seen. */
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u00a0\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200a\u202f\u205f\u3000\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]/gu;

/** More marks than this on one letter climb over the lines above it. */
const STACKED = /(\p{M}{3})\p{M}+/gu;

const nameOf = (letter) => `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/**
 * A text in pieces: what can be shown as it is, and names of what cannot.
 * @param {string} text
 * @returns {{ text: string, mark: boolean }[]}
 */
export function pieces(text) {
  const found = [];
  let from = 0;
  for (const { 0: letter, index } of text.matchAll(HIDDEN)) {
    if (index > from) found.push({ text: plain(text.slice(from, index)), mark: false });
    found.push({ text: nameOf(letter), mark: true });
    from = index + letter.length;
  }
  if (from < text.length) found.push({ text: plain(text.slice(from)), mark: false });
  return found;
}

const plain = (text) => text.replace(STACKED, "$1\u25cc");

/**
 * The beginning of a text.
 * @param {string} text
 * @param {number} most code points
 * @returns {{ text: string, more: number }} `more`: how many code points are left out
 */
export function beginning(text, most) {
  let [at, count] = [0, 0];
  for (const letter of text) {
    if (count === most) break;
    at += letter.length;
    count += 1;
  }
  let more = 0;
  for (const _ of text.slice(at)) more += 1;
  return { text: text.slice(0, at), more };
}

/** An id or key, short enough for a line. @param {string} hex */
export function short(hex) {
  return hex.length > 14 ? `${hex.slice(0, 8)}\u2026${hex.slice(-4)}` : hex;
}

/** A count with its noun. @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** A number of bytes, in the largest unit of which there is one. @param {number} bytes */
export function bytesText(bytes) {
  let [value, unit] = [bytes, 0];
  while (Math.round(value) >= 1_024 && unit < UNITS.length - 1) [value, unit] = [value / 1_024, unit + 1];
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
