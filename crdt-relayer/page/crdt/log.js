// The log of one room: which ops belong to it, in what order, and who forked a chain. A verdict
// depends on the op and its causal past only. Source: docs/PROTOCOL.md, "Validity", "Equivocation".

import { ahead } from "./ahead.js";
import { REJECTED_MAX } from "./limits.js";
import { forkId } from "./hash.js";
import { decodeOp, hasItsForm, Op, verifyOp } from "./op.js";
import { digestOfLog, digestOfSet, Order } from "./order.js";
import { Parked } from "./parked.js";
import { Rejection } from "./rejection.js";

/**
 * What became of an op. `code` says which rule a rejected one breaks.
 * @typedef {{ verdict: "stored" | "parked" | "rejected", code?: import("./rejection.js").Code }} Verdict
 */

/**
 * A point at which an author's chain forks, named by the two smallest ids there.
 * @typedef {{ id: string, author: string, seq: number, prev: string | null,
 *   ops: [string, string] }} Equivocation
 */

/**
 * One transaction at its place.
 * @typedef {{ op: Op, index: number, value: import("./json.js").Json }} Entry
 */

const STORED = Object.freeze({ verdict: "stored" });
const PARKED = Object.freeze({ verdict: "parked" });
const rejectedFor = (code) => ({ verdict: "rejected", code });

/** The log of one room. */
export class Log {
  /** id -> op in the order in which they were admitted */
  #ops = new Map();
  #admitted = [];
  #parked = new Parked();
  #heads = new Set();
  #order = new Order();
  /** id -> code, the oldest forgotten first */
  #rejected = new Map();
  /** "author prev" -> the smallest ids there, one or two */
  #places = new Map();
  #forks = new Set();
  #digest;

  /** @param {string} room room id, hex of 64 digits */
  constructor(room) {
    /** @type {string} */
    this.room = room;
  }

  /** How many ops were admitted. @returns {number} */
  get size() {
    return this.#admitted.length;
  }

  /** Admitted ops, dependencies first, in the order in which they came. @returns {readonly Op[]} */
  get admitted() {
    return this.#admitted;
  }

  /** An admitted op. @param {string} id @returns {Op | undefined} */
  op(id) {
    return this.#ops.get(id);
  }

  /** Whether an op was admitted or is parked. @param {string} id @returns {boolean} */
  holds(id) {
    return this.#ops.has(id) || this.#parked.has(id);
  }

  /** Ids of the parked ops. @returns {string[]} */
  get parked() {
    return [...this.#parked.ids()];
  }

  /** Ids that parked ops wait for. @returns {Iterable<string>} */
  missing() {
    return this.#parked.missing();
  }

  /** Ids that one parked op waits for. @param {string} id @returns {string[]} */
  missingOf(id) {
    return this.#parked.missingOf(id).filter((dependency) => !this.#parked.has(dependency));
  }

  /** Ids of rejected ops that are remembered, with the rule each breaks. @returns {[string, string][]} */
  get rejected() {
    return [...this.#rejected];
  }

  /** Ids of the heads, ascending. @returns {string[]} */
  get heads() {
    return [...this.#heads].sort();
  }

  /** Ids of the heads in the order in which they became heads. @returns {Iterable<string>} */
  headsByArrival() {
    return this.#heads.values();
  }

  /** The set digest: equal ones mean equal sets. @returns {string} */
  get set() {
    this.#digest ??= digestOfSet(this.#heads);
    return this.#digest;
  }

  /** The log digest, a pass over all entries. @returns {string} */
  get log() {
    return digestOfLog(this.ops());
  }

  /** The ops in log order. @returns {readonly Op[]} */
  ops() {
    return this.#order.ops();
  }

  /** The entries in log order. @returns {Iterable<Entry>} */
  *entries() {
    for (const op of this.ops()) {
      for (const [index, value] of op.entries.entries()) yield { op, index, value };
    }
  }

  /** Every fork, by its id. @returns {Equivocation[]} */
  get equivocations() {
    const forks = [...this.#forks].map((place) => {
      const ops = this.#places.get(place);
      const { room, grant, author, seq, prev } = this.#ops.get(ops[0]).head;
      return { id: forkId({ room, grant, author, prev }), author, seq, prev, ops: [...ops] };
    });
    return forks.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /**
   * What is known of an id before its signature is looked at: step 11.
   * @param {string} id
   * @returns {Verdict | undefined}
   */
  known(id) {
    if (this.#ops.has(id)) return STORED;
    if (this.#parked.has(id)) return PARKED;
    return this.#rejected.has(id) ? rejectedFor("ancestor") : undefined;
  }

  /**
   * Takes a verified op: steps 11 and 14 to 20. What waited for it is taken or rejected with it.
   * @param {Op} op
   * @param {unknown} [note] kept with the op while it is parked, given to `onAdmit`
   * @param {(op: Op, note: unknown) => void} [onAdmit] called for each op that is admitted, in order
   * @returns {Verdict}
   */
  insert(op, note, onAdmit = () => {}) {
    if (!(op instanceof Op)) throw new TypeError("a log takes verified ops only");
    const known = this.known(op.id);
    if (known) return known;
    const verdict = this.#judge(op);
    if (verdict.verdict === "parked") {
      this.#parked.add(op, op.dependencies.filter((id) => !this.#ops.has(id)), note);
    } else this.#settle({ op, note, verdict }, onAdmit);
    return verdict;
  }

  /** Carries a verdict to all that waited for it, without recursion. */
  #settle(first, onAdmit) {
    const queue = [first];
    for (let next = queue.pop(); next; next = queue.pop()) {
      const { op, note, verdict } = next;
      if (verdict.verdict === "stored") {
        this.#admit(op);
        onAdmit(op, note);
        for (const ready of this.#parked.admitted(op.id)) {
          queue.push({ ...ready, verdict: this.#judge(ready.op) });
        }
      } else {
        this.#reject(op.id, verdict.code);
        for (const lost of this.#parked.rejected(op.id)) {
          queue.push({ ...lost, verdict: rejectedFor("ancestor") });
        }
      }
    }
  }

  #judge(op) {
    const { room, grant, prev, author, seq, ts, depth } = op.head;
    const all = op.dependencies;
    if (!hasItsForm(op)) return rejectedFor("entry");
    if (all.some((id) => this.#rejected.has(id))) return rejectedFor("ancestor");
    if (room !== this.room) return rejectedFor("room");
    if (grant !== this.room) return rejectedFor("grant");
    if (!all.every((id) => this.#ops.has(id))) return PARKED;
    if (prev !== null) {
      const before = this.#ops.get(prev).head;
      if (before.author !== author || before.seq + 1 !== seq || before.ts > ts) return rejectedFor("chain");
    }
    const deepest = all.reduce((most, id) => Math.max(most, this.#ops.get(id).head.depth), 0);
    return depth === deepest + 1 ? STORED : rejectedFor("depth");
  }

  #reject(id, code) {
    if (this.#rejected.size >= REJECTED_MAX) this.#rejected.delete(this.#rejected.keys().next().value);
    this.#rejected.set(id, code);
  }

  #admit(op) {
    this.#ops.set(op.id, op);
    this.#admitted.push(op);
    this.#order.add(op);
    for (const id of op.dependencies) this.#heads.delete(id);
    this.#heads.add(op.id);
    this.#digest = undefined;
    const place = `${op.head.author} ${op.head.prev}`;
    const ids = [...(this.#places.get(place) ?? []), op.id].sort().slice(0, 2);
    this.#places.set(place, ids);
    if (ids.length === 2) this.#forks.add(place);
  }

  /**
   * Decodes, verifies and inserts an op, as if it came from a peer.
   * @param {string | Uint8Array} input an envelope in any spelling
   * @param {import("./ed25519.js").Verifier} [verifier]
   * @returns {Promise<Verdict>} what breaks a rule is `rejected`
   */
  async receive(input, verifier) {
    try {
      const unverified = decodeOp(input);
      return this.known(unverified.id) ?? this.insert(await verifyOp(unverified, verifier));
    } catch (error) {
      if (error instanceof Rejection) return rejectedFor(error.code);
      throw error;
    }
  }

  /**
   * Checks everything again from the bytes: each hash, signature, link and rule, and that the same
   * ops give the same digests.
   * @param {(done: number, all: number) => void} [onProgress]
   * @param {import("./ed25519.js").Verifier} [verifier]
   * @returns {Promise<{ ops: number, entries: number, set: string, log: string }>}
   * @throws {Rejection} for the first op that does not hold
   */
  async verifyAll(onProgress = () => {}, verifier) {
    const again = new Log(this.room);
    const [ops, before] = [[...this.ops()], { set: this.set, log: this.log }];
    for await (const op of ahead(ops, (one) => verifyOp(one.envelope(), verifier))) {
      const { verdict, code } = again.insert(op);
      if (verdict !== "stored") throw new Rejection(code ?? "ancestor", op.id);
      onProgress(again.size, ops.length);
    }
    if (again.set !== before.set || again.log !== before.log) throw new Error("the digests differ");
    let entries = 0;
    for (const op of ops) entries += op.entries.length;
    return { ops: ops.length, entries, set: again.set, log: again.log };
  }
}
