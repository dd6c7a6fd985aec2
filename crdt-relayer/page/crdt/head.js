// The head of an op: its members, their spelling, and the rules that need nothing but the head.
// Source: docs/PROTOCOL.md, "Op" and "Validity", steps 3 to 8.

import { isHex, utf8 } from "./bytes.js";
import { canonical } from "./json.js";
import { HEAD_BYTES_MAX, PREDS_MAX, REFS_MAX } from "./limits.js";
import { Rejection } from "./rejection.js";

/**
 * @typedef {object} Head
 * @property {string} author Ed25519 public key, hex of 64 digits
 * @property {number} depth 1 + the largest depth of the dependencies
 * @property {string} dh hash of the data
 * @property {number} dl bytes of the canonical text of the data
 * @property {string} grant what lets the author write; in an open room the room id
 * @property {string} kind 1 to 32 of `a-z 0-9 . _ -`
 * @property {string[]} preds other heads the author knew, ascending, at most 16
 * @property {string | null} prev the author's op just before
 * @property {string[]} refs other ops that the data refers to, ascending, at most 128
 * @property {string} room room id
 * @property {number} seq place in the author's chain, from 0
 * @property {number} ts ms since 1970-01-01 UTC, as the author claims
 * @property {1} v
 */

const KIND = /^[a-z0-9._-]{1,32}$/;

const isId = (value) => isHex(value, 64);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

/** Types and spellings, in the order in which they are checked. */
const MEMBERS = [
  ["room", isId],
  ["author", isId],
  ["grant", isId],
  ["seq", isCount],
  ["prev", (value) => value === null || isId(value)],
  ["preds", (value) => isIds(value, PREDS_MAX)],
  ["refs", (value) => isIds(value, REFS_MAX)],
  ["depth", (value) => isCount(value) && value >= 1],
  ["ts", isCount],
  ["kind", (value) => typeof value === "string" && KIND.test(value)],
  ["dh", isId],
  ["dl", isCount],
];

function isIds(value, most) {
  if (!Array.isArray(value)) return false;
  if (value.length > most) throw new Rejection("size", "preds or refs");
  return value.every(isId);
}

/**
 * The members of an object that has exactly these.
 * @param {unknown} value
 * @param {string[]} names
 * @param {string} what for people
 * @returns {Record<string, import("./json.js").Json>}
 * @throws {Rejection} `field`
 */
export function exact(value, names, what) {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject || Object.keys(value).length !== names.length) throw new Rejection("field", what);
  for (const name of names) if (!Object.hasOwn(value, name)) throw new Rejection("field", name);
  return /** @type {Record<string, import("./json.js").Json>} */ (value);
}

/** Whether ids ascend strictly; their hex texts sort as their bytes do. */
const ascends = (ids) => ids.every((id, at) => at === 0 || ids[at - 1] < id);

/**
 * Every op that a head depends on: `prev`, `preds` and `refs`.
 * @param {Head} head
 * @returns {string[]}
 */
export function dependencies({ prev, preds, refs }) {
  return prev === null ? [...preds, ...refs] : [prev, ...preds, ...refs];
}

/**
 * Steps 3 to 5: version, members, types.
 * @param {unknown} value
 * @returns {Head}
 * @throws {Rejection} `version`, `field`, `size`
 */
export function decodeHead(value) {
  const version = typeof value === "object" ? value?.v : undefined;
  if (Number.isSafeInteger(version) && version !== 1) throw new Rejection("version");
  const head = exact(value, ["v", ...MEMBERS.map(([name]) => name)], "head");
  if (head.v !== 1) throw new Rejection("field", "v");
  for (const [name, fits] of MEMBERS) if (!fits(head[name])) throw new Rejection("field", name);
  return /** @type {Head} */ (/** @type {unknown} */ (head));
}

/**
 * Steps 7 and 8: what the members say of one another, and their size.
 * @param {Head} head
 * @returns {Uint8Array} the canonical text, whose hash is the op's id
 * @throws {Rejection} `head`, `size`
 */
export function checkHead(head) {
  if ((head.prev === null) !== (head.seq === 0)) throw new Rejection("head", "prev and seq");
  if (!ascends(head.preds) || !ascends(head.refs)) throw new Rejection("head", "order");
  const all = dependencies(head);
  if (new Set(all).size !== all.length) throw new Rejection("head", "an id twice");
  const text = utf8(canonical(head));
  if (text.length > HEAD_BYTES_MAX) throw new Rejection("size", "head");
  return text;
}
