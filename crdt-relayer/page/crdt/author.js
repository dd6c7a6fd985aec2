// The author's side of a room: batches what is to be written, signs it, stores it, and only then
// lets it out. Source: docs/PROTOCOL.md, "Writing".

import { utf8Length } from "./bytes.js";
import { canonical, parse } from "./json.js";
import * as limits from "./limits.js";
import { signOp } from "./op.js";

/** @typedef {import("./json.js").Json} Json */

/** A transaction was not written, or not relayed. */
export class AppendError extends Error {
  /** @param {string} code `key`, `size`, `refs`, `full`, `closed`, `store`, or the code a relayer gave */
  constructor(code, message, options) {
    super(message, options);
    this.name = "AppendError";
    this.code = code;
  }
}

/** Signs the ops of one key in one room. */
export class Author {
  #room;
  #key;
  #verifier;
  #persist;
  /** What waits to be signed. */
  #queue = [];
  /** op id -> those who wait for the relayer to store it */
  #unrelayed = new Map();
  #signing = false;
  #learnt;
  #closed = false;
  /** The own op with the largest seq, so the one that no own op follows. */
  #tip = null;

  /**
   * @param {import("./room.js").Room} room
   * @param {object} options
   * @param {import("./key.js").SecretKey | undefined} options.key
   * @param {import("./ed25519.js").Verifier} options.verifier
   * @param {boolean} options.learnt whether the whole own chain is in the store
   * @param {(op: import("./op.js").Op) => Promise<void>} options.persist stores and admits an own op
   */
  constructor(room, { key, verifier, learnt, persist }) {
    this.#room = room;
    this.#key = key;
    this.#verifier = verifier;
    this.#learnt = learnt;
    this.#persist = persist;
  }

  /** Ops that are stored here and that no relayer said to have. @returns {number} */
  get unrelayed() {
    return this.#unrelayed.size;
  }

  /** An op was admitted. @param {import("./op.js").Op} op */
  admitted(op) {
    if (op.head.author !== this.#key?.author) return;
    if (this.#tip === null || op.head.seq > this.#tip.head.seq) this.#tip = op;
  }

  /** The relayer told all it has: the own chain is known. */
  learnt() {
    this.#learnt = true;
    this.#sign();
  }

  /**
   * @param {Json} value
   * @param {string[]} refs
   * @returns {Promise<{ op: import("./op.js").Op, index: number }>} once a relayer has stored it
   */
  async append(value, refs) {
    if (!this.#key) throw new AppendError("key", "the client has no key to sign with");
    if (this.#closed) throw new AppendError("closed", "the client is closed");
    const text = canonical(value, limits.ENTRY_DEPTH_MAX);
    const bytes = utf8Length(text);
    if (bytes > limits.ENTRY_BYTES_MAX) {
      throw new AppendError("size", `a transaction has at most ${limits.ENTRY_BYTES_MAX} bytes`);
    }
    if (refs.length > limits.REFS_MAX || !refs.every((id) => this.#room.log.op(id))) {
      throw new AppendError("refs", `refs are at most ${limits.REFS_MAX} ids of ops in the log`);
    }
    if (this.#queue.length >= limits.WAITING_APPENDS_MAX) {
      throw new AppendError("full", "too many transactions wait to be signed");
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ text, bytes, refs, resolve, reject });
      // What is appended in the same turn goes into one op.
      queueMicrotask(() => this.#sign());
    });
  }

  /** A peer says that it has stored these. @param {Iterable<string>} ids */
  relayed(ids) {
    for (const id of ids) {
      for (const { resolve, result } of this.#unrelayed.get(id) ?? []) resolve(result);
      this.#unrelayed.delete(id);
    }
  }

  /** A peer refused an own op, which every honest one stores. */
  refused(id, code) {
    const error = new AppendError(code, `the relayer refused op ${id}: ${code}`);
    for (const { reject } of this.#unrelayed.get(id) ?? []) reject(error);
    this.#unrelayed.delete(id);
  }

  /** Ids of own ops that no relayer said to have. @returns {string[]} */
  waiting() {
    return [...this.#unrelayed.keys()];
  }

  /** Nothing more is signed, and whoever waits is told. */
  close() {
    this.#closed = true;
    const waiting = [...this.#unrelayed.values()].flat().concat(this.#queue);
    this.#unrelayed.clear();
    this.#queue = [];
    const error = new AppendError("closed", "the client was closed before a relayer stored it");
    for (const { reject } of waiting) reject(error);
  }

  async #sign() {
    if (this.#signing || !this.#learnt) return;
    this.#signing = true;
    while (this.#queue.length > 0 && !this.#closed) await this.#signBatch(this.#takeBatch());
    this.#signing = false;
  }

  /** As many of those in front as fit into one op and have the same refs. */
  #takeBatch() {
    const [first] = this.#queue;
    const refs = first.refs.join();
    let [count, bytes] = [0, 2];
    for (const waiting of this.#queue) {
      bytes += waiting.bytes + (count > 0 ? 1 : 0);
      if (count === limits.ENTRIES_MAX || bytes > limits.DATA_BYTES_MAX) break;
      if (waiting.refs.join() !== refs) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #signBatch(batch) {
    try {
      const data = batch.map(({ text }) => parse(text, limits.ENTRY_DEPTH_MAX));
      const op = await signOp({ ...this.#place(batch[0].refs), data }, this.#key, this.#verifier);
      if (this.#closed) throw new AppendError("closed", "the client was closed");
      const waiting = batch.map((one, index) => ({ ...one, result: { op, index } }));
      this.#unrelayed.set(op.id, waiting);
      await this.#persist(op);
    } catch (cause) {
      const unkept = () => new AppendError("store", `not recorded: ${cause.message}`, { cause });
      const error = cause instanceof AppendError ? cause : unkept();
      for (const { reject } of batch) reject(error);
      // Whether the op is on disk is not known, so nothing may be signed at its place again.
      if (error.code === "store") this.close();
    }
  }

  /** Where the next own op stands. */
  #place(wanted) {
    const { log } = this.#room;
    const tip = this.#tip;
    const prev = tip?.id ?? null;
    const refs = [...new Set(wanted)].filter((id) => id !== prev);
    const preds = [];
    const ofAuthor = new Map();
    for (const id of log.headsByArrival()) {
      if (preds.length === limits.PREDS_MAX) break;
      const { author } = log.op(id).head;
      const named = ofAuthor.get(author) ?? 0;
      if (id === prev || refs.includes(id) || named === limits.PREDS_OF_AUTHOR_MAX) continue;
      ofAuthor.set(author, named + 1);
      preds.push(id);
    }
    const dependencies = [...preds, ...refs, ...(tip ? [prev] : [])];
    const depth = 1 + dependencies.reduce((most, id) => Math.max(most, log.op(id).head.depth), 0);
    const ts = Math.max(Date.now(), tip?.head.ts ?? 0);
    return { room: log.room, seq: tip ? tip.head.seq + 1 : 0, prev, preds, refs, depth, ts };
  }
}
