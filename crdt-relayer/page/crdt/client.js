// A client: keeps a connection to one relayer or node and takes part in rooms through it. It checks
// every op by every rule before it shows, stores or builds on it.

import { Connection } from "./connection.js";
import { defaultVerifier } from "./ed25519.js";
import { idOfRoom } from "./hash.js";
import * as limits from "./limits.js";
import { Room } from "./room.js";
import { MemoryStore } from "./store.js";

/** Reasons after which dialling again gains nothing. */
const FINAL = new Set(["version", "own-store"]);

/**
 * What happens, for `onEvent`:
 * * `connected`: the peer's `agent` (for people, harmless to print) and `store`
 * * `disconnected`: close `code`, `reason`, and `retry_ms` until the next attempt, or `null`
 * * `synced`: the peer announced the same `set` of `room`
 * * `refused`: the peer sent an op that breaks the rule `code`; its `id` if that could be read, and what
 *   it sent, parsed, as `envelope`
 * * `withheld`: the peer named `ids` of `room` and does not send them
 * * `strike`: an error held against the peer; `peer-error`: one it holds against this side
 * * `failed`: the store failed with `error`, or there is no WebSocket; the client is closed
 * @typedef {{ type: string, [detail: string]: unknown }} ClientEvent
 */

/**
 * @typedef {object} ClientOptions
 * @property {import("./key.js").SecretKey} [key] signs what is appended; without it a client reads
 * @property {import("./store.js").Store} [store] where ops are kept; in memory unless given
 * @property {any} [WebSocket] class in place of the platform's
 * @property {string} [agent] this program's name and version, at most 64 characters
 * @property {import("./ed25519.js").Verifier} [verifier]
 * @property {boolean} [trustStore] sign at once although the store may be older than what the key has
 *   signed. If it is, everybody can prove that the key's owner signed two different ops
 * @property {(event: ClientEvent) => void} [onEvent]
 */

async function platformWebSocket() {
  // In Node always the one here: what Node brings cannot ping and hides why connecting failed.
  if (globalThis.process?.versions?.node) return (await import("./node-websocket.js")).NodeWebSocket;
  return globalThis.WebSocket;
}

/** A connection to one relayer, made again whenever it ends, and the rooms joined through it. */
export class Client {
  #url;
  #options;
  #rooms = new Map();
  #joining = new Map();
  #connection = null;
  #socket = null;
  #pause = limits.RETRY_MS_MIN;
  #timer = null;
  #closed = false;

  /**
   * Starts to connect.
   * @param {string} url `ws://` or `wss://`, usually with the path `/websocket`
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { store: new MemoryStore(), agent: "crdt.js/1", onEvent: () => {}, ...options };
    this.#dial();
  }

  /** Hex of 64 digits; who this client writes as. @returns {string | undefined} */
  get author() {
    return this.#options.key?.author;
  }

  /** @returns {boolean} whether the peer has greeted */
  get connected() {
    return this.#connection?.peerStore !== undefined;
  }

  #event(event) {
    // A handler that throws must not stop the machine that called it.
    queueMicrotask(() => this.#options.onEvent(event));
  }

  /** Goes no further than the store has come. */
  #fail(error) {
    if (this.#closed) return;
    this.#event({ type: "failed", error });
    this.close();
  }

  /**
   * Takes part in a room. Also works while there is no connection.
   * @param {string} name the room's, or `id:` and the room's id where its name is not known
   * @returns {Promise<Room>} once what the store holds was read and checked
   * @throws {TypeError} if the name is not allowed
   * @throws {Error} for a 65th room, or if the store cannot be read or holds a bad op
   */
  async join(name) {
    const id = idOfRoom(name);
    if (this.#closed) throw new Error("the client is closed");
    if (!this.#joining.has(id) && this.#joining.size >= limits.ROOMS_MAX) {
      throw new Error(`at most ${limits.ROOMS_MAX} rooms on one connection`);
    }
    if (!this.#joining.has(id)) this.#joining.set(id, this.#open(name, id));
    try {
      return await this.#joining.get(id);
    } catch (error) {
      this.#joining.delete(id);
      throw error;
    }
  }

  async #open(name, id) {
    const { key, store, trustStore = false } = this.#options;
    const verifier = this.#options.verifier ?? (await defaultVerifier());
    const changed = (room) => this.#connection?.changedRoom(room);
    const failed = (error) => this.#fail(error);
    const room = new Room(name, id, { key, store, verifier, learnt: trustStore, changed, failed });
    await room.load();
    if (this.#closed) throw new Error("the client is closed");
    this.#rooms.set(id, room);
    this.#connection?.join(room);
    return room;
  }

  async #dial() {
    let WebSocket;
    try {
      WebSocket = this.#options.WebSocket ?? (await platformWebSocket());
      if (this.#closed) return;
      this.#socket = new WebSocket(this.#url);
    } catch (error) {
      this.#fail(error);
      return;
    }
    const socket = this.#socket;
    let problem = "";
    let openedAt = Infinity;
    const tooLong = setTimeout(() => socket.close(), limits.CONNECT_MS);
    socket.onopen = () => {
      clearTimeout(tooLong);
      openedAt = Date.now();
      this.#connection = new Connection(socket, this.#seenByConnection());
    };
    socket.onerror = ({ message }) => {
      problem = message ?? "";
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(tooLong);
      this.#connection?.end();
      this.#connection = null;
      if (Date.now() - openedAt >= limits.STEADY_MS) this.#pause = limits.RETRY_MS_MIN;
      this.#again(code, reason || problem);
    };
  }

  #seenByConnection() {
    const { key, store, agent } = this.#options;
    return {
      key,
      store,
      agent,
      rooms: this.#rooms,
      event: (event) => this.#event(event),
      fail: (error) => this.#fail(error),
      now: () => Date.now(),
    };
  }

  #again(code, reason) {
    const final = this.#closed || (code === 1008 && FINAL.has(reason));
    const retry = final ? null : Math.ceil(this.#pause * (1 - Math.random() / 2));
    this.#event({ type: "disconnected", code, reason, retry_ms: retry });
    if (retry === null) return;
    this.#pause = Math.min(2 * this.#pause, limits.RETRY_MS_MAX);
    this.#timer = setTimeout(() => this.#dial(), retry);
  }

  /** Ends the connection and every room's iterators. What waits to be relayed is rejected. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const room of this.#rooms.values()) room.close();
    if (this.#connection) this.#connection.close(1000, "bye");
    else this.#socket?.close();
  }
}
