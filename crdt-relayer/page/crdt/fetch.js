// Ops asked for by id, of one room on one connection. Source: docs/PROTOCOL.md, "Fetching".

import { FETCH_MS, GET_IDS_MAX, WANTED_MAX } from "./limits.js";

/** What is asked for and has not come. */
export class Fetch {
  /** id -> { tries, at } */
  #wanted = new Map();
  #ask;
  #now;

  /** @param {(ids: string[]) => void} ask @param {() => number} now ms */
  constructor(ask, now) {
    this.#ask = ask;
    this.#now = now;
  }

  /** @returns {boolean} whether nothing is asked for */
  get idle() {
    return this.#wanted.size === 0;
  }

  /**
   * Ids named by the peer and not held: asks for those that were not asked for yet.
   * @param {Iterable<string>} ids
   */
  want(ids) {
    const fresh = [];
    for (const id of ids) {
      if (this.#wanted.size >= WANTED_MAX) break;
      if (this.#wanted.has(id)) continue;
      this.#wanted.set(id, { tries: 1, at: this.#now() + FETCH_MS[0] });
      fresh.push(id);
    }
    this.#send(fresh);
  }

  /** An op came, or is no longer wanted. @param {string} id @returns {boolean} whether it was asked for */
  done(id) {
    return this.#wanted.delete(id);
  }

  /**
   * Asks again for what is late; after nine requests an id is given up.
   * @returns {string[]} those given up
   */
  tick() {
    const now = this.#now();
    const [late, lost] = [[], []];
    for (const [id, asked] of this.#wanted) {
      if (asked.at > now) continue;
      if (asked.tries > FETCH_MS.length) {
        lost.push(id);
        this.#wanted.delete(id);
        continue;
      }
      asked.at = now + (FETCH_MS[asked.tries] ?? FETCH_MS.at(-1));
      asked.tries += 1;
      late.push(id);
    }
    this.#send(late);
    return lost;
  }

  #send(ids) {
    for (let at = 0; at < ids.length; at += GET_IDS_MAX) this.#ask(ids.slice(at, at + GET_IDS_MAX));
  }
}
