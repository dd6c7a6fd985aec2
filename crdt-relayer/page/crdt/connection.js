// One connection to a relayer or node: greeting, credit, acknowledgements, strikes, and which room a
// message is for. The peer may send anything. Source: docs/PROTOCOL.md, "A session".

import { utf8Length } from "./bytes.js";
import { Channel } from "./channel.js";
import { authBytes } from "./hash.js";
import * as limits from "./limits.js";
import { decodeMessage, forPeople, MessageError } from "./message.js";
import { randomId } from "./store.js";

const OUTSTANDING_MAX = 16_384;
const AGENT_CHARS_MAX = 64;
const CODE_CHARS_MAX = 32;
const SENTENCE_CHARS_MAX = 256;
const TICK_MS = 100;

/** A connection that is open. */
export class Connection {
  #socket;
  #client;
  #nonce = randomId();
  #peer = null;
  #channels = new Map();
  /** Rooms the peer asked for that are not joined: room id -> message. */
  #askedFor = new Map();
  #inbox = [];
  #inboxBytes = 0;
  #draining = false;
  #outstanding = [];
  #credit = 0;
  #taken = 0;
  #strikes = 0;
  #complaints = 0;
  #heardAt;
  #pingedAt;
  #startedAt;
  #ticking;
  #ended = false;

  /**
   * @param {any} socket an open websocket
   * @param {{ key?: import("./key.js").SecretKey, store: import("./store.js").Store, agent: string,
   *   rooms: Map<string, import("./room.js").Room>, event: (event: object) => void,
   *   fail: (error: Error) => void, now: () => number }} client
   */
  constructor(socket, client) {
    this.#socket = socket;
    this.#client = client;
    this.#startedAt = this.#heardAt = this.#pingedAt = client.now();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onalive = () => {
      this.#heardAt = client.now();
    };
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    const { store, agent } = client;
    const window = limits.WINDOW_BYTES_MAX;
    this.send({ type: "hello", v: 1, agent, store: store.id, window, nonce: this.#nonce });
  }

  /** The peer's store id, once it greeted. @returns {string} */
  get peerStore() {
    return this.#peer?.store;
  }

  /** ms since 1970 @returns {number} */
  now() {
    return this.#client.now();
  }

  /** @param {object} event */
  event(event) {
    this.#client.event(event);
  }

  /** Sends a message that is not counted. @param {object} message */
  send(message) {
    if (this.#ended) return;
    this.#socket.send(JSON.stringify(message));
    if (this.#socket.bufferedAmount > limits.OUTBOX_BYTES_MAX) this.close(1008, "slow");
  }

  /** Ends it. @param {number} code @param {string} reason */
  close(code, reason) {
    this.end();
    try {
      this.#socket.close(code, reason);
    } catch {
      // A web page may not send this code: the reason tells.
      this.#socket.close(1000, reason);
    }
  }

  /** It is over: timers stop, what waits in the inbox is dropped. */
  end() {
    this.#ended = true;
    clearInterval(this.#ticking);
    this.#inbox = [];
    for (const room of this.#client.rooms.values()) room.parted();
  }

  /** A room was joined, or the peer greeted. @param {import("./room.js").Room} room */
  join(room) {
    if (this.#peer === null || this.#ended || this.#channels.has(room.id)) return;
    const channel = new Channel(room, this);
    this.#channels.set(room.id, channel);
    channel.subscribe();
    const asked = this.#askedFor.get(room.id);
    this.#askedFor.delete(room.id);
    if (asked) channel.sub(asked);
  }

  /** A room's set changed. @param {import("./room.js").Room} room */
  changedRoom(room) {
    const channel = this.#channels.get(room.id);
    channel?.changed();
    channel?.advance();
  }

  /** Heads are to be announced: something was sent or admitted. */
  changed() {
    for (const channel of this.#channels.values()) channel.changed();
  }

  /** Whether an `ops` message of a room waits for its `ack`. @param {Channel} channel @returns {boolean} */
  awaitsAck(channel) {
    return this.#outstanding.some((one) => one.room === channel.room.id);
  }

  /** Whether a page of ops may be made: with this much credit it is never too long. @returns {boolean} */
  get mayServe() {
    return !this.#ended && this.#credit >= limits.GRANT_BYTES && this.#outstanding.length < OUTSTANDING_MAX;
  }

  /**
   * Sends ops if there is credit.
   * @returns {boolean} whether they were sent
   */
  sendOps(room, ops, text, cursor) {
    const bytes = utf8Length(text);
    if (!this.mayServe || bytes > this.#credit) return false;
    this.#credit -= bytes;
    this.#outstanding.push({ room: room.id, ids: ops.map((op) => op.id), cursor });
    this.#socket.send(text);
    return true;
  }

  #receive(data) {
    if (this.#ended) return;
    this.#heardAt = this.now();
    const bytes = typeof data === "string" ? utf8Length(data) : 0;
    if (bytes > limits.MESSAGE_BYTES_MAX) {
      this.close(1009, "size");
      return;
    }
    this.#inbox.push({ data, bytes });
    // Each message costs more than its text.
    this.#inboxBytes += bytes + 64;
    // A web page cannot stop reading: who sends far beyond its credit is cut off.
    if (this.#inboxBytes > limits.INBOX_BYTES_MAX) this.close(1008, "strikes");
    else if (!this.#draining) this.#drain();
  }

  async #drain() {
    this.#draining = true;
    try {
      for (let next = this.#inbox.shift(); next && !this.#ended; next = this.#inbox.shift()) {
        this.#inboxBytes -= next.bytes + 64;
        await this.#handle(next);
      }
    } catch (error) {
      // Nothing that follows may be acknowledged.
      this.#client.fail(error);
    }
    this.#draining = false;
  }

  async #handle({ data, bytes }) {
    if (typeof data !== "string") {
      this.#strike("binary", "text messages only");
      return;
    }
    try {
      const message = decodeMessage(data);
      if (message.type === "hello") await this.#hello(message);
      else if (this.#peer === null) this.#refuse("hello", "say hello first");
      else if (message.type === "ops") await this.#ops(message, bytes);
      else this.#dispatch(message);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      if (error.code === "version") this.#refuse("version", error.message);
      else if (this.#peer === null) this.#refuse("hello", "say hello first");
      else if (error.code === "unknown") this.#complain("unknown", error.message);
      else this.#strike(error.code, error.message);
    }
  }

  #dispatch(message) {
    const channel = this.#channels.get(message.room);
    switch (message.type) {
      case "ack": this.#ack(message); break;
      case "credit":
        this.#credit = Math.min(this.#credit + message.bytes, limits.WINDOW_BYTES_MAX);
        for (const each of this.#channels.values()) each.advance();
        break;
      case "err": this.#complaint(message); break;
      case "sub":
        if (!channel) this.#notJoined(message);
        else if (!channel.sub(message)) this.#strike("sub", "subscribed too often");
        break;
      case "get":
        if (!channel) this.#complain("room", "not joined");
        else if (!channel.get(message)) this.#complain("busy", "too many ops asked for");
        break;
      case "heads": channel?.heads(message); break;
      case "unsub": channel?.unsub(); break;
      case "settled": channel?.settled(message); break;
      // This side compares nothing and cannot answer; `busy` is held against nobody.
      case "reconcile": this.#complain("busy", "sets are not compared here"); break;
      // `auth` was not asked for, and of two connections to one peer a client has none.
      default: break;
    }
  }

  async #hello({ agent, store, window, nonce, auth }) {
    if (this.#peer !== null) {
      this.#strike("hello", "said before");
      return;
    }
    if (store === this.#client.store.id) {
      this.close(1008, "own-store");
      return;
    }
    this.#peer = { agent: forPeople(agent, AGENT_CHARS_MAX), store };
    this.#credit = Math.min(window, limits.WINDOW_BYTES_MAX);
    const { key, rooms } = this.#client;
    if (auth && nonce && key) {
      const challenge = authBytes({ nonce, store }, { nonce: this.#nonce, store: this.#client.store.id });
      this.send({ type: "auth", author: key.author, sig: await key.sign(challenge) });
    }
    this.event({ type: "connected", ...this.#peer });
    for (const room of rooms.values()) this.join(room);
  }

  #notJoined(message) {
    const known = this.#askedFor.size + this.#channels.size;
    if (known < limits.ROOMS_MAX) this.#askedFor.set(message.room, message);
    this.#complain("room", "not joined");
  }

  async #ops(message, bytes) {
    const { room, ops } = message;
    const channel = this.#channels.get(room);
    if (channel) {
      const { except, refused } = await channel.ops(message);
      this.send({ type: "ack", room, stored: ops.length - except.length, except });
      for (const one of refused) this.event({ type: "refused", room: channel.room.name, ...one });
      if (refused.length > 0) this.#strike(refused[0].code, "an op breaks a rule");
    } else {
      const except = ops.map((_, index) => ({ index, verdict: "rejected", code: "room" }));
      this.send({ type: "ack", room, stored: 0, except });
      this.#complain("room", "not joined");
    }
    this.#taken += bytes;
    if (this.#taken >= limits.GRANT_BYTES) {
      this.send({ type: "credit", bytes: this.#taken });
      this.#taken = 0;
    }
  }

  #ack({ room: id, except }) {
    const oldest = this.#outstanding.shift();
    if (oldest === undefined || oldest.room !== id) {
      this.#strike("ack", "not for the oldest ops message");
      return;
    }
    const room = this.#client.rooms.get(id);
    const stored = new Set(oldest.ids);
    for (const entry of except) {
      if (!Number.isSafeInteger(entry?.index) || entry.index >= oldest.ids.length) continue;
      const refused = oldest.ids[entry.index];
      stored.delete(refused);
      if (entry.verdict === "rejected") room?.refused(refused, forPeople(String(entry.code), CODE_CHARS_MAX));
    }
    room?.relayed(stored);
    this.#channels.get(id)?.acked(oldest.ids, except.some((entry) => entry?.verdict === "later"));
  }

  #complaint({ code, message }) {
    this.event({
      type: "peer-error",
      code: forPeople(code, CODE_CHARS_MAX),
      message: forPeople(message, SENTENCE_CHARS_MAX),
    });
    if (code !== "busy") this.#complaints += 1;
    if (this.#complaints > limits.STRIKES_MAX) this.close(1008, "strikes");
  }

  #complain(code, message) {
    this.send({ type: "err", code, message });
  }

  #strike(code, message) {
    this.#complain(code, message);
    this.#strikes += 1;
    this.event({ type: "strike", code, strikes: this.#strikes });
    if (this.#strikes >= limits.STRIKES_MAX) this.close(1008, "strikes");
  }

  #refuse(reason, message) {
    this.#complain(reason, message);
    this.close(1008, reason);
  }

  #tick() {
    const now = this.now();
    if (this.#peer === null && now - this.#startedAt > limits.FIRST_MESSAGE_MS) this.close(1001, "silence");
    // Web pages see no pings; heads come every 30 s of every room.
    const expected = this.#socket.ping !== undefined || this.#channels.size > 0;
    if (expected && now - this.#heardAt > limits.SILENCE_MS) this.close(1001, "silence");
    if (this.#ended) return;
    if (now - this.#pingedAt > limits.PING_MS) {
      this.#pingedAt = now;
      this.#socket.ping?.();
    }
    for (const channel of this.#channels.values()) channel.tick();
  }
}
