// One room on one connection: what its messages do. Source: docs/PROTOCOL.md, "Synchronisation".

import { isById } from "./hash.js";
import { Fetch } from "./fetch.js";
import { HEADS_MAX, HEADS_MS, HEADS_QUIET_MS } from "./limits.js";
import { Stream } from "./stream.js";

/** Missing dependencies that are asked for again when heads are announced. */
const MISSING_ASKED_MAX = 256;

/** The exchange of a room with the peer of a connection. */
export class Channel {
  #room;
  #connection;
  #stream;
  #fetch;
  #subscribed = false;
  #unknownBefore = new Set();
  #askedAll = false;
  #saidAt = 0;
  #changedAt = null;

  /** @param {import("./room.js").Room} room @param {import("./connection.js").Connection} connection */
  constructor(room, connection) {
    this.#room = room;
    this.#connection = connection;
    this.#stream = new Stream(room, connection);
    const ask = (ids) => connection.send({ type: "get", room: room.id, ids });
    this.#fetch = new Fetch(ask, () => connection.now());
  }

  /** @returns {import("./room.js").Room} */
  get room() {
    return this.#room;
  }

  /** Asks for the room, unless that was done. */
  subscribe() {
    if (!this.#subscribed) this.#sub(this.#room.cursor(this.#connection.peerStore));
  }

  #sub(cursor) {
    this.#subscribed = true;
    const { id, name } = this.#room;
    this.#connection.send({ type: "sub", room: id, name: isById(name) ? null : name, cursor });
  }

  /** @returns {boolean} `false` if the peer subscribed once too often */
  sub({ cursor }) {
    this.subscribe();
    return this.#stream.subscribed(cursor);
  }

  unsub() {
    this.#stream.ended();
    this.#subscribed = false;
  }

  get({ ids }) {
    return this.#stream.asked(ids);
  }

  /** The peer compared for this side: both have the other's ops up to there. */
  settled({ cursor, pulled }) {
    if (this.#subscribed) this.#room.pulled(this.#connection.peerStore, cursor);
    this.#room.relayedUpTo(pulled);
  }

  /**
   * Takes ops.
   * @returns {Promise<{ except: object[], refused: { id?: string, code: string, envelope: unknown }[] }>} once what is
   *   good is stored
   */
  async ops({ ops, cursor, missing = [] }) {
    const results = await this.#room.receive(ops, this.#connection.peerStore);
    const [except, refused, missed] = [[], [], []];
    for (const [index, { id, verdict }] of results.entries()) {
      if (id !== undefined) this.#fetch.done(id);
      if (verdict.verdict === "stored") continue;
      except.push({ index, ...verdict });
      if (verdict.verdict === "rejected") refused.push({ id, code: verdict.code, envelope: ops[index] });
      else missed.push(...this.#room.log.missingOf(id));
    }
    const parked = except.length > refused.length;
    if (this.#subscribed && Number.isSafeInteger(cursor) && !parked) {
      this.#room.pulled(this.#connection.peerStore, cursor);
    }
    this.#withheld(missing.filter((id) => this.#fetch.done(id)));
    this.#fetch.want(missed);
    return { except, refused };
  }

  #withheld(ids) {
    const lacking = ids.filter((id) => !this.#room.log.holds(id));
    if (lacking.length > 0) this.#connection.event({ type: "withheld", room: this.#room.name, ids: lacking });
  }

  heads({ set, heads, cursor }) {
    if (!this.#subscribed) return;
    const { log } = this.#room;
    if (set === log.set) {
      this.#room.pulled(this.#connection.peerStore, cursor);
      this.#unknownBefore.clear();
      this.#room.same();
      this.#connection.event({ type: "synced", room: this.#room.name, set });
      return;
    }
    const unknown = heads.filter((id) => !log.holds(id));
    this.#fetch.want(unknown);
    if (this.#fetch.idle) this.#fetch.want(first(MISSING_ASKED_MAX, log.missing()));
    if (unknown.length === 0 && heads.every((id) => log.op(id))) {
      // A full list may go on in the next announcement.
      if (heads.length < HEADS_MAX) this.#room.toldAll();
      // The peer lacks something, says so, and waits for nothing from here.
      if (this.#stream.atEnd && !this.#connection.awaitsAck(this)) this.#stream.resend();
    } else if (unknown.some((id) => this.#unknownBefore.has(id)) && !this.#askedAll) {
      this.#askedAll = true;
      this.#sub(0);
    }
    this.#unknownBefore = new Set(unknown);
  }

  /** Ops were admitted, or credit came. */
  advance() {
    this.#stream.advance();
  }

  /** The set changed: heads are announced when it is quiet. */
  changed() {
    this.#changedAt = this.#connection.now();
  }

  /** The peer put off what was in a message, or took all of it. @param {string[]} ids @param {boolean} later */
  acked(ids, later) {
    if (later) this.#stream.putOff(ids);
    else this.#stream.taken();
  }

  /** Called a few times a second. */
  tick() {
    const now = this.#connection.now();
    this.#withheld(this.#fetch.tick());
    this.#stream.tick(!this.#connection.awaitsAck(this));
    const quiet = this.#changedAt !== null && now - this.#changedAt >= HEADS_QUIET_MS;
    if (!quiet && now - this.#saidAt < HEADS_MS) return;
    this.#saidAt = now;
    this.#changedAt = null;
    this.#stream.heads();
  }
}

function first(most, ids) {
  const taken = [];
  for (const id of ids) {
    if (taken.length === most) break;
    taken.push(id);
  }
  return taken;
}
