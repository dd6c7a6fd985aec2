// A room that a client takes part in: its log, what was written here, and who is told of changes.

import { ahead } from "./ahead.js";
import { Author } from "./author.js";
import { Log } from "./log.js";
import { decodeOpValue, verifyOp } from "./op.js";
import { Rejection } from "./rejection.js";

/** @typedef {import("./op.js").Op} Op */
/** @typedef {import("./json.js").Json} Json */
/** @typedef {import("./log.js").Entry} Entry */

/** Own ops, and those read from the store, came from no peer. */
const NOBODY = null;

/** A room. Made by `Client.join`. */
export class Room {
  #store;
  #verifier;
  #author;
  #changed;
  #failed;
  /** Where each op came from, by position from 0; and each op's position, from 1. */
  #sources = [];
  #positions = new Map();
  /** peer's store id -> how far it was pulled */
  #cursors = new Map();
  #writes = Promise.resolve();
  #wake = () => {};
  #change = Promise.resolve();
  #closed = false;
  #inSync = false;
  #syncWaiters = [];

  /**
   * @param {string} name
   * @param {string} id
   * @param {{ key?: import("./key.js").SecretKey, store: import("./store.js").Store, learnt: boolean,
   *   verifier: import("./ed25519.js").Verifier, changed: (room: Room) => void,
   *   failed: (error: Error) => void }} options
   */
  constructor(name, id, { key, store, verifier, learnt, changed, failed }) {
    /** Its name, or `id:` and its id where that is not known. @type {string} */
    this.name = name;
    /** Room id, hex of 64 digits. @type {string} */
    this.id = id;
    /** The log: verified, in order, with digests and equivocations. @type {Log} */
    this.log = new Log(id);
    this.#store = store;
    this.#verifier = verifier;
    this.#changed = changed;
    this.#failed = failed;
    const persist = (op) => this.#ownOp(op);
    this.#author = new Author(this, { key, verifier, learnt, persist });
    this.#arm();
  }

  #arm() {
    this.#change = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #tell() {
    this.#inSync = false;
    const wake = this.#wake;
    this.#arm();
    wake();
    this.#changed(this);
  }

  #admit(op, source) {
    this.#sources.push(source);
    this.#positions.set(op.id, this.log.size);
    this.#author.admitted(op);
  }

  /** Reads what the store holds; every op is checked again. */
  async load() {
    const envelopes = await this.#store.load(this.id);
    for await (const op of ahead(envelopes, (envelope) => verifyOp(envelope, this.#verifier))) {
      const { verdict, code } = this.log.insert(op, NOBODY, (one) => this.#admit(one, NOBODY));
      if (verdict !== "stored") throw new Rejection(code ?? "ancestor", `the store's op ${op.id}`);
    }
  }

  /** One write after another, so that the store has dependencies first. */
  #write(ops) {
    // After one that failed none is made: what is on disk must stay closed under dependencies.
    this.#writes = this.#writes.then(() => this.#store.append(this.id, ops));
    this.#writes.catch(this.#failed);
    return this.#writes;
  }

  async #ownOp(op) {
    await this.#write([op]);
    const { verdict, code } = this.log.insert(op, NOBODY, (one) => this.#admit(one, NOBODY));
    if (verdict !== "stored") throw new Rejection(code ?? "ancestor", op.id);
    this.#tell();
  }

  /**
   * Checks what a peer sent, element by element, and stores what is admitted.
   * @param {Json[]} envelopes parsed
   * @param {string} source the peer's store id
   * @returns {Promise<{ id?: string, verdict: import("./log.js").Verdict }[]>} once they are stored
   */
  async receive(envelopes, source) {
    // Signatures are checked side by side, the rest in order.
    const checked = await Promise.all(envelopes.map((envelope) => this.#check(envelope)));
    const admitted = [];
    const onAdmit = (op, from) => {
      this.#admit(op, from);
      admitted.push(op);
    };
    const results = checked.map(({ id, op, code }) => {
      if (op) return { id, verdict: this.log.insert(op, source, onAdmit) };
      const known = code === undefined && this.log.known(id);
      return { id, verdict: known || { verdict: "rejected", code } };
    });
    if (admitted.length > 0) {
      await this.#write(admitted);
      this.#tell();
    }
    return results;
  }

  async #check(envelope) {
    let id;
    try {
      const unverified = decodeOpValue(envelope);
      ({ id } = unverified);
      if (this.log.known(id)) return { id };
      return { id, op: await verifyOp(unverified, this.#verifier) };
    } catch (error) {
      if (error instanceof Rejection) return { id, code: error.code };
      throw error;
    }
  }

  /** Position of an admitted op, from 1. @param {string} id @returns {number} */
  position(id) {
    return this.#positions.get(id) ?? 0;
  }

  /** Store id of the peer that an op came from. @param {number} at position − 1 @returns {string | null} */
  source(at) {
    return this.#sources[at];
  }

  /** How far a peer's store was pulled. @param {string} store @returns {number} */
  cursor(store) {
    return this.#cursors.get(store) ?? 0;
  }

  /** @param {string} store @param {number} cursor */
  pulled(store, cursor) {
    this.#cursors.delete(store);
    this.#cursors.set(store, cursor);
    // Only the relayer of the moment matters; a liar must not make this grow.
    if (this.#cursors.size > 16) this.#cursors.delete(this.#cursors.keys().next().value);
  }

  /** A peer stored these. @param {Iterable<string>} ids */
  relayed(ids) {
    this.#author.relayed(ids);
  }

  /** A peer has everything up to a position of this store. @param {number} position */
  relayedUpTo(position) {
    const has = (id) => this.#positions.has(id) && this.position(id) <= position;
    this.relayed(this.#author.waiting().filter(has));
  }

  /** A peer refused an own op. @param {string} id @param {string} code */
  refused(id, code) {
    this.#author.refused(id, code);
  }

  /** A peer told everything it holds, and all of it is here. */
  toldAll() {
    this.#author.learnt();
  }

  /** A peer announced the same set digest. */
  same() {
    this.relayed(this.#author.waiting());
    this.#author.learnt();
    this.#inSync = true;
    for (const { resolve } of this.#syncWaiters.splice(0)) resolve();
  }

  /** The connection ended. */
  parted() {
    this.#inSync = false;
  }

  /** Nothing more happens here; iterators end. */
  close() {
    this.#closed = true;
    this.#author.close();
    for (const { reject } of this.#syncWaiters.splice(0)) reject(new Error("the client is closed"));
    this.#wake();
  }

  /**
   * Records a transaction: signs it, stores it, sends it.
   * @param {Json} value at most 65,534 bytes of canonical text, nested at most 31 deep
   * @param {object} [options]
   * @param {string[]} [options.refs] ids of other ops that it refers to, at most 128
   * @returns {Promise<{ op: Op, index: number }>} once the relayer says that it has stored it
   * @throws {import("./json.js").JsonError} if it is no JSON of the profile
   * @throws {import("./author.js").AppendError}
   */
  append(value, { refs = [] } = {}) {
    return this.#author.append(value, refs);
  }

  /**
   * Ops as they are admitted, dependencies first: those that are there, then new ones, until the
   * client is closed. Order of arrival; the log's order is `room.log.ops()`.
   * @param {object} [options]
   * @param {number} [options.from] position to begin after
   * @returns {AsyncGenerator<Op, void, void>}
   */
  async *ops({ from = 0 } = {}) {
    for (let at = from; ; ) {
      while (at < this.log.size) yield this.log.admitted[at++];
      if (this.#closed) return;
      await this.#change;
    }
  }

  /**
   * Transactions as they are admitted, like `ops`.
   * @param {object} [options]
   * @param {number} [options.from] position of an op to begin after
   * @returns {AsyncGenerator<Entry, void, void>}
   */
  async *entries(options) {
    for await (const op of this.ops(options)) {
      for (const [index, value] of op.entries.entries()) yield { op, index, value };
    }
  }

  /** Resolves when the relayer announces the set that is held here. @returns {Promise<void>} */
  synced() {
    if (this.#closed) return Promise.reject(new Error("the client is closed"));
    if (this.#inSync) return Promise.resolve();
    return new Promise((resolve, reject) => this.#syncWaiters.push({ resolve, reject }));
  }

  /**
   * The digests, as `crdt-node status` prints them, and counts. A pass over the log.
   * @returns {{ set: string, log: string, ops: number, parked: number, heads: string[], unrelayed: number }}
   */
  digests() {
    const { set, log, size, parked, heads } = this.log;
    return { set, log, ops: size, parked: parked.length, heads, unrelayed: this.#author.unrelayed };
  }
}
