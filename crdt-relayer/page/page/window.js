// Which rows of a long list are on the screen. Only these are in the document.

/**
 * @param {object} list
 * @param {number} list.total rows
 * @param {number} list.row height of a row in pixels
 * @param {number} list.top how far the list is scrolled
 * @param {number} list.height of what is seen of it
 * @param {number} [list.spare] rows kept on either side, so that scrolling shows no gap
 * @returns {{ first: number, end: number, before: number, after: number }} rows `first` to `end`, which
 *   is not among them, and the pixels that stand for those before and after
 */
export function visibleRows({ total, row, top, height, spare = 8 }) {
  const seen = Math.max(0, Math.min(total, Math.floor(Math.max(0, top) / row)));
  const first = Math.max(0, Math.min(seen, total) - spare);
  const end = Math.min(total, seen + Math.ceil(height / row) + 1 + spare);
  return { first, end, before: first * row, after: (total - end) * row };
}
