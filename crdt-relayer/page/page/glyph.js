// A digest as a small picture: equal digests give equal pictures. The picture is for the eye; that
// two digests are equal is said in words beside it.

/** Cells of a side. The right half mirrors the left one. */
export const SIDE = 5;

/**
 * What is drawn for a digest.
 * @param {string} digest hex of at least 20 digits
 * @returns {{ hue: number, cells: (0 | 1 | 2)[] }} by rows: empty, light, full
 */
export function glyph(digest) {
  const half = Math.ceil(SIDE / 2);
  const cells = [];
  for (let row = 0; row < SIDE; row += 1) {
    for (let column = 0; column < SIDE; column += 1) {
      const from = row * half + Math.min(column, SIDE - 1 - column);
      cells.push(shade(Number.parseInt(digest[from], 16)));
    }
  }
  return { hue: Math.round((Number.parseInt(digest.slice(16, 20), 16) / 65_536) * 360) % 360, cells };
}

/** Six of sixteen are empty, so that there is a form. */
function shade(nibble) {
  if (nibble < 6) return 0;
  return nibble < 10 ? 1 : 2;
}
