// The lines of a file, bounded: memory holds one line and one piece of the file, whatever it is.

import { join } from "../crdt/bytes.js";
import { LINE_BYTES_MAX } from "../crdt/limits.js";

/**
 * @param {AsyncIterable<Uint8Array> | Iterable<Uint8Array>} file
 * @returns {AsyncGenerator<Uint8Array | null, void, void>} lines without their line feed; `null` for one
 *   that is too long, after which the next one keeps its number
 */
export async function* linesOf(file) {
  let begun = [];
  let length = 0;
  const add = (piece) => {
    length += piece.length;
    if (length < LINE_BYTES_MAX) begun.push(piece);
    else begun = [];
  };
  const finish = () => {
    const line = length < LINE_BYTES_MAX ? join(begun) : null;
    [begun, length] = [[], 0];
    return line;
  };
  for await (const piece of file) {
    let start = 0;
    for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, start)) {
      add(piece.subarray(start, end));
      yield finish();
      start = end + 1;
    }
    if (start < piece.length) add(piece.slice(start));
  }
  if (length > 0) yield finish();
}
