// An op: decoded, checked by every rule that needs nothing but the op itself, written, signed.
// Source: docs/PROTOCOL.md, "Op" and "Validity", steps 1 to 14.

import { isHex, utf8 } from "./bytes.js";
import { defaultVerifier } from "./ed25519.js";
import { dataHash, opId, signedBytes } from "./hash.js";
import { checkHead, decodeHead, dependencies, exact } from "./head.js";
import { canonical, JsonError, parse } from "./json.js";
import * as limits from "./limits.js";
import { Rejection } from "./rejection.js";

/** @typedef {import("./json.js").Json} Json */
/** @typedef {import("./head.js").Head} Head */

/** Only this file makes ops. */
const MADE_HERE = Symbol("made by decodeOp or verifyOp");

function freeze(value) {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}

/** An op whose form and id are right; who signed it was not checked. */
export class UnverifiedOp {
  constructor(made, { id, head, data, sig, dataText }) {
    if (made !== MADE_HERE) throw new TypeError("ops are made by decodeOp");
    /** @type {string} op id, hex of 64 digits */
    this.id = id;
    /** @type {Head} */
    this.head = freeze(head);
    /** @type {Json} */
    this.data = freeze(data);
    /** @type {string} signature over the id, hex of 128 digits */
    this.sig = sig;
    /** @type {number} bytes of the canonical data */
    this.dataBytes = dataText.length;
    Object.freeze(this);
  }
}

/** An op that its author signed. Whether it belongs to a log is for the log to say. */
export class Op {
  constructor(made, unverified, verifiedBy) {
    if (made !== MADE_HERE) throw new TypeError("ops are made by verifyOp");
    /** @type {string} op id, hex of 64 digits */
    this.id = unverified.id;
    /** @type {Head} */
    this.head = unverified.head;
    /** @type {Json} */
    this.data = unverified.data;
    /** @type {string} signature over the id, hex of 128 digits */
    this.sig = unverified.sig;
    /** @type {number} bytes of the canonical data */
    this.dataBytes = unverified.dataBytes;
    /** @type {import("./ed25519.js").Backend} what checked the signature */
    this.verifiedBy = verifiedBy;
    Object.freeze(this);
  }

  /** Every op that must be in the log before this one. @returns {string[]} */
  get dependencies() {
    return dependencies(this.head);
  }

  /** The transactions; none if the kind is not `entry`. @returns {readonly Json[]} */
  get entries() {
    return this.head.kind === "entry" && Array.isArray(this.data) ? this.data : [];
  }

  /** What a message with this op weighs, about its bytes. @returns {number} */
  get weight() {
    const { preds, refs } = this.head;
    return this.dataBytes + limits.DEPENDENCY_WEIGHT * (preds.length + refs.length) + limits.OP_WEIGHT;
  }

  /** The envelope in canonical JSON, as it stands in exported files. @returns {string} */
  envelope() {
    const { data, head, id, sig } = this;
    return canonical({ data, head, id, sig }, limits.MESSAGE_DEPTH_MAX);
  }
}

function dataBytes(data) {
  try {
    const text = utf8(canonical(data, limits.DATA_DEPTH_MAX));
    if (text.length <= limits.DATA_BYTES_MAX) return text;
  } catch (error) {
    if (!(error instanceof JsonError) || error.code !== "depth") throw error;
  }
  throw new Rejection("size", "data");
}

/** An envelope that was parsed, checked by steps 1 to 10. */
function decodeEnvelope(value) {
  const { id, head: rawHead, data, sig } = exact(value, ["data", "head", "id", "sig"], "envelope");
  const dataText = dataBytes(data);
  if (!isHex(id, 64)) throw new Rejection("field", "id");
  const head = decodeHead(rawHead);
  if (!isHex(sig, 128)) throw new Rejection("field", "sig");
  const headText = checkHead(head);
  if (head.dl !== dataText.length || head.dh !== dataHash(dataText)) throw new Rejection("data");
  if (opId(headText) !== id) throw new Rejection("id");
  return new UnverifiedOp(MADE_HERE, { id, head, data, sig, dataText });
}

function refusing(decode) {
  try {
    return decode();
  } catch (error) {
    if (error instanceof JsonError) throw new Rejection("json", error.message);
    throw error;
  }
}

/**
 * Decodes an envelope: every rule but the signature and those that need the log.
 * @param {string | Uint8Array} text in any spelling of the JSON profile
 * @returns {UnverifiedOp}
 * @throws {Rejection} with the code of the first rule that is broken
 */
export function decodeOp(text) {
  return refusing(() => decodeEnvelope(parse(text, limits.MESSAGE_DEPTH_MAX)));
}

/**
 * Decodes an envelope that stood in a message. A text is none: it is not parsed a second time.
 * @param {Json} value what `parse` gave; its members are taken over and frozen
 * @returns {UnverifiedOp}
 * @throws {Rejection} with the code of the first rule that is broken
 */
export function decodeOpValue(value) {
  return refusing(() => decodeEnvelope(value));
}

/**
 * Checks the author's key and signature.
 * @param {UnverifiedOp | string | Uint8Array} input what `decodeOp` gave or takes
 * @param {import("./ed25519.js").Verifier} [verifier]
 * @returns {Promise<Op>}
 * @throws {Rejection} `key`, `sig`, and whatever `decodeOp` throws
 */
export async function verifyOp(input, verifier) {
  const op = input instanceof UnverifiedOp ? input : decodeOp(input);
  const checker = verifier ?? (await defaultVerifier());
  const verdict = await checker.verify(op.head.author, signedBytes(op.id), op.sig);
  if (verdict !== "valid") throw new Rejection(verdict);
  return new Op(MADE_HERE, op, checker.verifiedBy);
}

/**
 * Whether the data of a kind is what this version knows it to be: step 14.
 * @param {Op} op
 * @returns {boolean}
 */
export function hasItsForm({ head, data }) {
  if (head.kind !== "entry") return true;
  return Array.isArray(data) && data.length >= 1 && data.length <= limits.ENTRIES_MAX;
}

/**
 * What an author is about to sign.
 * @typedef {object} Draft
 * @property {string} room room id
 * @property {Json} data for `entry` an array of 1 to 256 transactions
 * @property {number} seq
 * @property {string | null} prev
 * @property {string[]} [preds]
 * @property {string[]} [refs]
 * @property {number} depth
 * @property {number} ts ms
 * @property {string} [kind]
 */

/**
 * Signs an op. Whoever signs two with one `prev` proves to everybody that it lies: store the op
 * before it leaves this program.
 * @param {Draft} draft
 * @param {import("./key.js").SecretKey} key
 * @param {import("./ed25519.js").Verifier} [verifier]
 * @returns {Promise<Op>} checked like every other
 * @throws {Rejection} if the draft breaks a rule
 */
export async function signOp(draft, key, verifier) {
  const { room, data, seq, prev, preds = [], refs = [], depth, ts, kind = "entry" } = draft;
  const dataText = dataBytes(data);
  const head = {
    author: key.author, depth, dh: dataHash(dataText), dl: dataText.length, grant: room, kind,
    preds: [...preds].sort(), prev, refs: [...refs].sort(), room, seq, ts, v: 1,
  };
  const id = opId(checkHead(decodeHead(head)));
  const sig = await key.sign(signedBytes(id));
  // Through the text, so that what the caller does to its data later cannot change the op.
  const op = await verifyOp(canonical({ data, head, id, sig }, limits.MESSAGE_DEPTH_MAX), verifier);
  if (!hasItsForm(op)) throw new Rejection("entry");
  return op;
}
