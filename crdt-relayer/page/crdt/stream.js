// What one connection is sent of one room: the ops by position, those asked for by id, the heads.
// Source: docs/PROTOCOL.md, "The stream", "Fetching" and "Heads".

import {
  ASKED_OPS_MAX, GET_IDS_MAX, HEADS_MAX, MESSAGE_OPS_MAX, PAGE_WEIGHT, PUT_OFF_MS, PUT_OFF_MS_MAX,
} from "./limits.js";
import { encodeOps } from "./message.js";

/** How many ids of `missing` go into one message. */
const MISSING_IN_MESSAGE = 1_024;

/** The outgoing side of a room on a connection. */
export class Stream {
  #room;
  #connection;
  /** Everything up to here was sent, or left out; `null` while nobody subscribed. */
  #position = null;
  #everything = false;
  #asked = [];
  #missing = [];
  #subs = 0;
  #resent = false;
  #headsFrom = 0;
  /** When to go on after the peer took no more; `null` if it takes what it is sent. */
  #heldUntil = null;
  #pause = PUT_OFF_MS;

  /** @param {import("./room.js").Room} room @param {import("./connection.js").Connection} connection */
  constructor(room, connection) {
    this.#room = room;
    this.#connection = connection;
  }

  /** Whether the peer subscribed and was sent everything. @returns {boolean} */
  get atEnd() {
    return this.#position === this.#room.log.size;
  }

  /**
   * The peer subscribes. A second time means that the first stream left something out.
   * @param {number | null} cursor
   * @returns {boolean} `false` if that is once too often
   */
  subscribed(cursor) {
    const { size } = this.#room.log;
    this.#subs += 1;
    this.#everything ||= this.#subs > 1;
    // This side cannot compare sets: not to know is to have nothing.
    this.#position = cursor === null || cursor > size ? 0 : cursor;
    if (this.#position > 0) this.#room.relayedUpTo(this.#position);
    this.#pump(true);
    return this.#subs <= 3 || size === 0;
  }

  /**
   * The peer did not take all of a message: the stream goes back to it, and on after a pause that
   * grows while nothing is taken.
   * @param {string[]} ids of the message
   */
  putOff(ids) {
    if (this.#position === null) return;
    for (const id of ids) this.#position = Math.min(this.#position, Math.max(this.#room.position(id) - 1, 0));
    if (this.#heldUntil !== null) return;
    this.#heldUntil = this.#connection.now() + this.#pause;
    this.#pause = Math.min(2 * this.#pause, PUT_OFF_MS_MAX);
  }

  /** The peer took a whole message. */
  taken() {
    if (this.#heldUntil === null) this.#pause = PUT_OFF_MS;
  }

  /** Goes on if the pause is over. @param {boolean} answered whether every message was answered */
  tick(answered) {
    if (this.#heldUntil === null || !answered || this.#connection.now() < this.#heldUntil) return;
    this.#heldUntil = null;
    this.#pump(true);
  }

  /** The peer wants nothing more. */
  ended() {
    this.#position = null;
  }

  /** Everything is sent again, nothing left out: once for a connection. */
  resend() {
    if (this.#resent || this.#position === null) return;
    this.#resent = true;
    this.#everything = true;
    this.#position = 0;
    this.#pump(true);
  }

  /**
   * The peer asks for ops by id.
   * @param {string[]} ids
   * @returns {boolean} `false` if too many wait
   */
  asked(ids) {
    if (this.#asked.length + this.#missing.length + ids.length > ASKED_OPS_MAX) return false;
    for (const id of ids) {
      const op = this.#room.log.op(id);
      if (op) this.#asked.push(op);
      else this.#missing.push(id);
    }
    this.#asked.sort((a, b) => this.#room.position(a.id) - this.#room.position(b.id));
    this.#pump(false);
    return true;
  }

  /** Ops were admitted, or credit came. */
  advance() {
    this.#pump(false);
  }

  #pump(headsWanted) {
    while (this.#asked.length + this.#missing.length > 0) if (!this.#answer()) return;
    if (this.#position === null || this.#heldUntil !== null) return;
    const before = this.#position;
    while (!this.atEnd) if (!this.#page()) return;
    // A stretch that was left out as a whole has no message: the heads tell the cursor.
    if (headsWanted) this.heads();
    else if (before !== this.#position) this.#connection.changed();
  }

  #answer() {
    if (!this.#connection.mayServe) return false;
    const page = takePage(this.#asked, 0, () => true);
    const missing = this.#missing.slice(0, Math.min(MISSING_IN_MESSAGE, GET_IDS_MAX));
    if (!this.#send(page.ops, missing.length > 0 ? { missing } : {})) return false;
    this.#asked = this.#asked.slice(page.next);
    this.#missing = this.#missing.slice(missing.length);
    return true;
  }

  #page() {
    if (!this.#connection.mayServe) return false;
    const { log } = this.#room;
    const keep = (at) => this.#everything || this.#room.source(at) !== this.#connection.peerStore;
    const page = takePage(log.admitted, this.#position, keep);
    if (page.ops.length > 0 && !this.#send(page.ops, { cursor: page.next })) return false;
    this.#position = page.next;
    return true;
  }

  #send(ops, rest) {
    const text = encodeOps(this.#room.id, ops.map((op) => op.envelope()), rest);
    return this.#connection.sendOps(this.#room, ops, text, rest.cursor);
  }

  /** Announces the heads, if the peer subscribed and was sent everything. */
  heads() {
    const { log, id } = this.#room;
    // While it waits the peer hears what there is all the same.
    if (!this.atEnd && this.#heldUntil === null) return;
    const all = log.heads;
    if (this.#headsFrom >= all.length) this.#headsFrom = 0;
    const heads = all.slice(this.#headsFrom, this.#headsFrom + HEADS_MAX);
    this.#headsFrom += HEADS_MAX;
    const { set, size } = log;
    this.#connection.send({ type: "heads", room: id, set, count: size, heads, cursor: size });
  }
}

/** Ops from an index on, up to what goes into a message. */
function takePage(ops, from, keep) {
  const page = [];
  let [next, weight] = [from, 0];
  while (next < ops.length && page.length < MESSAGE_OPS_MAX && weight < PAGE_WEIGHT) {
    if (keep(next)) {
      page.push(ops[next]);
      weight += ops[next].weight;
    }
    next += 1;
  }
  return { ops: page, next };
}
