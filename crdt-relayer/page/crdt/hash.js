// Hashes and what is signed, each with its tag, so that bytes made for one purpose are never valid
// for another. Source: docs/PROTOCOL.md, "Hashes and signatures".

import { fromHex, toHex, utf8, concat } from "./bytes.js";
import { Sha256, sha256 } from "./sha256.js";

const tag = (name) => utf8(`bft-crdt/v1/${name}\0`);
const TAGS = {
  room: tag("room"),
  data: tag("data"),
  op: tag("op"),
  set: tag("set"),
  log: tag("log"),
  fork: tag("fork"),
};
const SIG = tag("sig");
const AUTH = tag("auth");
const NO_PREV = "00".repeat(32);

const ROOM_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const hashed = (of, ...pieces) => toHex(sha256(TAGS[of], ...pieces));

/**
 * The id of the room of this name.
 * @param {string} name 1 to 64 of `a-z 0-9 . _ -`, the first a letter or a digit
 * @returns {string} hex of 64 digits
 * @throws {TypeError} if the name is not allowed
 */
export function roomId(name) {
  if (typeof name !== "string" || !ROOM_NAME.test(name)) {
    throw new TypeError("a room's name has 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit");
  }
  return hashed("room", utf8(name));
}

const BY_ID = /^id:[0-9a-f]{64}$/;

/** Whether a room is named by its id, `id:` and 64 digits: no name has a colon. @param {unknown} room @returns {boolean} */
export const isById = (room) => typeof room === "string" && BY_ID.test(room);

/**
 * The id of a room.
 * @param {string} room its name, or `id:` and its id
 * @returns {string} hex of 64 digits
 * @throws {TypeError} if it is neither
 */
export const idOfRoom = (room) => (isById(room) ? room.slice(3) : roomId(room));

/** @param {Uint8Array} text canonical text of `data` @returns {string} `dh` */
export const dataHash = (text) => hashed("data", text);

/** @param {Uint8Array} text canonical text of a head @returns {string} op id */
export const opId = (text) => hashed("op", text);

/** @param {string[]} heads ids, ascending @returns {string} set digest */
export const setDigest = (heads) => hashed("set", ...heads.map(fromHex));

/**
 * The id of an equivocation.
 * @param {{ room: string, grant: string, author: string, prev: string | null }} head
 * @returns {string}
 */
export function forkId({ room, grant, author, prev }) {
  return hashed("fork", ...[room, grant, author, prev ?? NO_PREV].map(fromHex));
}

/** @returns {Sha256} a log digest in the making: for each entry op id and index follow */
export const logHasher = () => new Sha256().update(TAGS.log);

/** @param {string} id op id @returns {Uint8Array} the 48 bytes that its author signs */
export const signedBytes = (id) => concat(SIG, fromHex(id));

/**
 * What a proof of key signs. All are hex of 64 digits.
 * @param {{ nonce: string, store: string }} verifier
 * @param {{ nonce: string, store: string }} prover
 * @returns {Uint8Array}
 */
export function authBytes(verifier, prover) {
  const parts = [verifier.nonce, prover.nonce, verifier.store, prover.store];
  return concat(AUTH, ...parts.map(fromHex));
}
