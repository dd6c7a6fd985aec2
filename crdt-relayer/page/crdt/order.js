// The log's order and its digests: a function of the set of ops.
// Source: docs/PROTOCOL.md, "Order" and "Digests".

import { fromHex, toHex } from "./bytes.js";
import { logHasher, setDigest } from "./hash.js";

/** @typedef {import("./op.js").Op} Op */

/** Order of two ops in the log. */
export function compareOps(a, b) {
  if (a.head.depth !== b.head.depth) return a.head.depth - b.head.depth;
  if (a.id === b.id) return 0;
  return a.id < b.id ? -1 : 1;
}

/** Ops kept in log order. New ones are sorted in when somebody reads, not one by one. */
export class Order {
  #sorted = [];
  #fresh = [];

  /** @param {Op} op one that was not added before */
  add(op) {
    this.#fresh.push(op);
  }

  /** The ops in log order; valid until the next `add`. @returns {readonly Op[]} */
  ops() {
    if (this.#fresh.length === 0) return this.#sorted;
    const fresh = this.#fresh.sort(compareOps);
    this.#fresh = [];
    const last = this.#sorted.at(-1);
    if (last === undefined || compareOps(last, fresh[0]) < 0) this.#sorted = this.#sorted.concat(fresh);
    else this.#sorted = merge(this.#sorted, fresh);
    return this.#sorted;
  }
}

function merge(left, right) {
  const merged = [];
  let at = 0;
  for (const op of left) {
    while (at < right.length && compareOps(right[at], op) < 0) merged.push(right[at++]);
    merged.push(op);
  }
  while (at < right.length) merged.push(right[at++]);
  return merged;
}

/**
 * The digest of a set of ops, by its heads.
 * @param {Iterable<string>} heads in any order
 * @returns {string} hex of 64 digits
 */
export function digestOfSet(heads) {
  return setDigest([...heads].sort());
}

/**
 * The digest of the entries in log order. A pass over the whole log.
 * @param {Iterable<Op>} ops in log order
 * @returns {string} hex of 64 digits
 */
export function digestOfLog(ops) {
  const hash = logHasher();
  const entry = new Uint8Array(36);
  const index = new DataView(entry.buffer, 32);
  for (const op of ops) {
    if (op.entries.length === 0) continue;
    entry.set(fromHex(op.id));
    for (let at = 0; at < op.entries.length; at += 1) {
      index.setUint32(0, at);
      hash.update(entry);
    }
  }
  return toHex(hash.digest());
}
