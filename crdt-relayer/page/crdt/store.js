// Where a client keeps ops. What a store must do:
//
// * `id`: hex of 64 digits, drawn at random when the store is made and kept as long as it is;
// * `durable`: whether its ops are there again after this program has ended;
// * `load(room)`: the envelopes of a room, in the order in which they were appended;
// * `append(room, ops)`: resolves when the ops are kept. Calls come one after another.

import { toHex } from "./bytes.js";

/** @typedef {import("./op.js").Op} Op */

/**
 * @typedef {object} Store
 * @property {string} id
 * @property {boolean} durable
 * @property {(room: string) => Promise<AsyncIterable<string> | Iterable<string>>} load
 * @property {(room: string, ops: Op[]) => Promise<void>} append
 */

/** 32 bytes that nobody can guess, as hex. @returns {string} */
export function randomId() {
  return toHex(globalThis.crypto.getRandomValues(new Uint8Array(32)));
}

/**
 * A store that ends with the program. A key that signs with it must learn its own chain from the
 * relayer each time, and a relayer that keeps the end of that chain back brings the key to fork it:
 * give a key that matters a durable store.
 * @implements {Store}
 */
export class MemoryStore {
  id = randomId();
  durable = false;

  async load() {
    return [];
  }

  async append() {}
}
