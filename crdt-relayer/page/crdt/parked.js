// Verified ops that lack a dependency, in memory and within bounds. Forgetting one is harmless: it
// can be asked for again. Source: docs/PROTOCOL.md, "Validity" and "Fetching".

import { MISSING_BYTES, PARKED_BYTES_MAX, PARKED_MAX, PARKED_OF_AUTHOR_MAX } from "./limits.js";

/** @typedef {import("./op.js").Op} Op */

/** The parked ops of one room. */
export class Parked {
  /** id -> { op, missing: Set of ids, bytes, ... }, the oldest first */
  #ops = new Map();
  /** missing id -> ids of the ops that wait for it */
  #waiting = new Map();
  /** author -> ids, the oldest first */
  #authors = new Map();
  #bytes = 0;

  /** @returns {number} */
  get size() {
    return this.#ops.size;
  }

  /** @param {string} id @returns {boolean} */
  has(id) {
    return this.#ops.has(id);
  }

  /** Ids of the parked ops, the oldest first. @returns {IterableIterator<string>} */
  ids() {
    return this.#ops.keys();
  }

  /** Missing dependencies that are not parked themselves. @returns {Iterable<string>} */
  *missing() {
    for (const id of this.#waiting.keys()) if (!this.#ops.has(id)) yield id;
  }

  /** What a parked op lacks. @param {string} id @returns {string[]} */
  missingOf(id) {
    return [...(this.#ops.get(id)?.missing ?? [])];
  }

  /**
   * Parks an op.
   * @param {Op} op
   * @param {string[]} missing its dependencies that are not in the log
   * @param {unknown} note given back with the op
   */
  add(op, missing, note) {
    const { author } = op.head;
    const bytes = op.weight + MISSING_BYTES * missing.length;
    const ofAuthor = this.#authors.get(author) ?? new Set();
    if (ofAuthor.size >= PARKED_OF_AUTHOR_MAX) this.#remove(ofAuthor.values().next().value);
    while (this.#ops.size > 0 && (this.#ops.size >= PARKED_MAX || this.#bytes + bytes > PARKED_BYTES_MAX)) {
      this.#remove(this.#ops.keys().next().value);
    }
    this.#authors.set(author, ofAuthor.add(op.id));
    this.#ops.set(op.id, { op, missing: new Set(missing), bytes, note });
    this.#bytes += bytes;
    for (const id of missing) {
      const waiting = this.#waiting.get(id);
      if (waiting) waiting.add(op.id);
      else this.#waiting.set(id, new Set([op.id]));
    }
  }

  /**
   * An op was admitted: what lacked nothing else is taken out.
   * @param {string} id
   * @returns {{ op: Op, note: unknown }[]}
   */
  admitted(id) {
    const ready = [];
    for (const waiting of [...(this.#waiting.get(id) ?? [])]) {
      const parked = this.#ops.get(waiting);
      parked.missing.delete(id);
      if (parked.missing.size === 0) ready.push(this.#remove(waiting));
    }
    this.#waiting.delete(id);
    return ready;
  }

  /**
   * An op was rejected: what waited for it is taken out.
   * @param {string} id
   * @returns {{ op: Op, note: unknown }[]}
   */
  rejected(id) {
    return [...(this.#waiting.get(id) ?? [])].map((waiting) => this.#remove(waiting));
  }

  #remove(id) {
    const { op, missing, bytes, note } = this.#ops.get(id);
    this.#ops.delete(id);
    this.#bytes -= bytes;
    const ofAuthor = this.#authors.get(op.head.author);
    ofAuthor.delete(id);
    if (ofAuthor.size === 0) this.#authors.delete(op.head.author);
    for (const dependency of missing) {
      const waiting = this.#waiting.get(dependency);
      waiting.delete(id);
      if (waiting.size === 0) this.#waiting.delete(dependency);
    }
    return { op, note };
  }
}
