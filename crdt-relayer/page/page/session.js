// This browser as a member: one connection of its own, and what it found out about each room by
// checking every op that came.

import { Client } from "../crdt/client.js";
import { defaultVerifier } from "../crdt/ed25519.js";
import { idOfRoom } from "../crdt/hash.js";
import { KeyError, SecretKey } from "../crdt/key.js";
import { MemoryStore } from "../crdt/store.js";
import { RoomRecord } from "./record.js";

/** Where ops come from: the relayer that served this page. */
function address() {
  const url = new URL("websocket", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}

/** Why a connection ended, where the code alone says little. */
const REASONS = {
  auth: "the relayer lets in only keys that it knows",
  strikes: "too much that was sent breaks a rule",
  silence: "the relayer fell silent",
  slow: "one side took less than the other sent",
  disk: "the relayer’s disk is full",
  version: "the relayer speaks another version of the protocol",
};

/** A peer may give any reason. */
function reasonOf({ reason, code }) {
  return Object.hasOwn(REASONS, reason) ? REASONS[reason] : reason || `code ${code}`;
}

/** The connection and the rooms that were opened. */
export class Session {
  #client = null;
  #records = new Map();
  #opening = new Map();
  #listeners = new Set();
  #scheduled = false;
  #store = new MemoryStore();

  constructor() {
    /** @type {"idle" | "connecting" | "connected" | "lost" | "failed"} */
    this.state = "idle";
    /** Why it is not connected. */
    this.why = "";
    /** Key of this visit, hex; `null` if this browser cannot sign. @type {string | null} */
    this.author = null;
    /** Why it cannot sign. */
    this.noKey = "";
    /** @type {Promise<import("../crdt/ed25519.js").Backend>} */
    this.verifiedBy = defaultVerifier().then((verifier) => verifier.verifiedBy);
  }

  /** By which the relayer knows this browser. @returns {string} */
  get store() {
    return this.#store.id;
  }

  /** Calls back after a change, at most once a frame. @returns {() => void} ends it */
  listen(callback) {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  #changed() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      for (const callback of [...this.#listeners]) callback();
    }, 16);
  }

  async #connect() {
    this.state = "connecting";
    let key;
    try {
      key = await SecretKey.generate();
      this.author = key.author;
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      this.noKey = error.message;
    }
    return new Client(address(), { key, store: this.#store, agent: "page/1", onEvent: (event) => this.#event(event) });
  }

  #event(event) {
    if (event.type === "connected") [this.state, this.why] = ["connected", ""];
    else if (event.type === "disconnected" && this.state !== "failed") {
      [this.state, this.why] = ["lost", reasonOf(event)];
    } else if (event.type === "failed") [this.state, this.why] = ["failed", event.error.message];
    if (event.room !== undefined) this.#records.get(idOfRoom(event.room))?.event(event);
    this.#changed();
  }

  /**
   * Opens a room, once.
   * @param {string} name the room's, or `id:` and its id
   * @returns {Promise<RoomRecord>}
   */
  open(name) {
    const id = idOfRoom(name);
    if (!this.#opening.has(id)) {
      const opening = this.#open(name);
      this.#opening.set(id, opening);
      // Whoever asks again gets another try.
      opening.catch(() => this.#opening.delete(id));
    }
    return this.#opening.get(id);
  }

  async #open(name) {
    this.#client ??= this.#connect();
    const client = await this.#client;
    const record = new RoomRecord();
    this.#records.set(idOfRoom(name), record);
    const room = await client.join(name);
    record.follow(room, () => this.#changed());
    return record;
  }
}
