// What this browser found out about one room: what it checked and took, what it refused and by which
// rule, and what it was told of and never given.

import { canonical } from "../crdt/json.js";
import { MESSAGE_DEPTH_MAX } from "../crdt/limits.js";

/** Refused ops that are kept to be shown; more are counted. */
const REFUSED_KEPT = 256;
/** Sets that this browser held are remembered, to know which heads a member announces. */
const SETS_KEPT = 256;

/**
 * A line of the feed: a transaction of an op that was admitted, or an op that was refused.
 * @typedef {{ op: import("../crdt/op.js").Op, index: number } | { refused: Refused }} Row
 */
/** @typedef {{ number: number, id?: string, code: string, text: string | null }} Refused */

/** One room. */
export class RoomRecord {
  /** set digest -> how many heads it has */
  #headsOf = new Map();
  /** The same lie told again is one lie. */
  #refusals = new Set();
  /** "author prev" -> the first op there that came */
  #places = new Map();
  #forks = new Set();
  /** Ids of ops that share their place in a chain with another: their author is proved to lie. @type {Set<string>} */
  forked = new Set();

  constructor() {
    /** @type {import("../crdt/room.js").Room} */
    this.room = null;
    /** In the order of arrival. @type {Row[]} */
    this.rows = [];
    /** @type {Refused[]} */
    this.refused = [];
    this.refusedCount = 0;
    /** Ids that the relayer named and does not send. @type {Set<string>} */
    this.withheld = new Set();
    /** The set that the relayer announced last as its own and that is held here. @type {string | null} */
    this.agreedOn = null;
    this.ended = false;
  }

  /** Places at which a chain forks. @returns {number} */
  get forks() {
    return this.#forks.size;
  }

  #place({ id, head: { author, prev } }) {
    const place = `${author} ${prev}`;
    const first = this.#places.get(place);
    if (first === undefined) this.#places.set(place, id);
    else {
      this.#forks.add(place);
      this.forked.add(first).add(id);
    }
  }

  /** @param {import("../crdt/room.js").Room} room @param {() => void} changed */
  async follow(room, changed) {
    this.room = room;
    changed();
    for await (const op of room.ops()) {
      this.withheld.delete(op.id);
      this.#place(op);
      if (op.entries.length === 0) this.rows.push({ op, index: -1 });
      for (const index of op.entries.keys()) this.rows.push({ op, index });
      changed();
    }
    this.ended = true;
    changed();
  }

  /** @param {import("../crdt/client.js").ClientEvent} event */
  event(event) {
    if (event.type === "refused") this.#refuse(event);
    else if (event.type === "synced") this.agreedOn = event.set;
    else if (event.type === "withheld") for (const id of event.ids) this.withheld.add(id);
  }

  #refuse({ id, code, envelope }) {
    const text = textOf(envelope);
    const lie = `${code} ${text ?? id}`;
    if (this.#refusals.has(lie)) return;
    this.refusedCount += 1;
    if (this.refused.length >= REFUSED_KEPT) return;
    this.#refusals.add(lie);
    const refused = { number: this.refused.length + 1, id, code, text };
    this.refused.push(refused);
    this.rows.push({ refused });
  }

  /**
   * How many heads a set has, if this browser held that set.
   * @param {string | null} set
   * @returns {number | null}
   */
  headsOf(set) {
    const { log } = this.room;
    if (!this.#headsOf.has(log.set)) {
      this.#headsOf.set(log.set, log.heads.length);
      if (this.#headsOf.size > SETS_KEPT) this.#headsOf.delete(this.#headsOf.keys().next().value);
    }
    return this.#headsOf.get(set) ?? null;
  }
}

function textOf(envelope) {
  try {
    return envelope === undefined ? null : canonical(envelope, MESSAGE_DEPTH_MAX);
  } catch {
    return null;
  }
}
