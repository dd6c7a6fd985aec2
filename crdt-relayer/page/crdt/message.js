// Messages of a session, read strictly: a peer may send anything. Members that are not known are
// ignored. Source: docs/PROTOCOL.md, "Messages".

import { isHex, utf8Length } from "./bytes.js";
import { parse } from "./json.js";
import * as limits from "./limits.js";

/** A message that is none. `code` is what `err` answers. */
export class MessageError extends Error {
  /** @param {"json" | "field" | "unknown" | "version" | "size"} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "MessageError";
    this.code = code;
  }
}

const isId = (value) => isHex(value, 64);
const isSig = (value) => isHex(value, 128);
const isText = (value) => typeof value === "string";
const isFlag = (value) => typeof value === "boolean";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isIds = (most) => (value) => Array.isArray(value) && value.length <= most && value.every(isId);
const optional = (fits) => (value) => value === undefined || fits(value);
const nullable = (fits) => (value) => value === null || fits(value);

/** What each type of message must hold. */
const TYPES = {
  hello: {
    agent: isText,
    store: isId,
    window: (value) => isCount(value) && value >= limits.WINDOW_BYTES_MIN,
    nonce: optional(isId),
    auth: optional(isFlag),
  },
  auth: { author: isId, sig: isSig },
  twin: { nonce: isId },
  sub: { room: isId, name: optional(nullable(isText)), cursor: nullable(isCount) },
  unsub: { room: isId },
  ops: {
    room: isId,
    cursor: optional(nullable(isCount)),
    missing: optional(isIds(limits.GET_IDS_MAX)),
    ops: (value) => Array.isArray(value) && value.length <= limits.MESSAGE_OPS_MAX,
  },
  ack: { room: isId, stored: isCount, except: Array.isArray },
  heads: { room: isId, set: isId, count: isCount, heads: isIds(limits.HEADS_MAX), cursor: isCount },
  get: { room: isId, ids: isIds(limits.GET_IDS_MAX) },
  reconcile: { room: isId, answer: isFlag, number: isCount, frame: isText },
  settled: { room: isId, cursor: isCount, pulled: isCount },
  credit: { bytes: isCount },
  err: { code: isText, message: isText },
};

function parseFrame(text) {
  if (utf8Length(text) > limits.MESSAGE_BYTES_MAX) throw new MessageError("size", "longer than 1 MiB");
  try {
    return parse(text, limits.MESSAGE_DEPTH_MAX);
  } catch (error) {
    throw new MessageError("json", error.message);
  }
}

/**
 * Reads one message.
 * @param {string} text
 * @returns {any} an object whose `type` is known and whose members have their types
 * @throws {MessageError}
 */
export function decodeMessage(text) {
  const message = parseFrame(text);
  const type = typeof message === "object" && message !== null ? message.type : undefined;
  if (!isText(type)) throw new MessageError("field", "type");
  if (!Object.hasOwn(TYPES, type)) throw new MessageError("unknown", "unknown message type");
  if (type === "hello" && message.v !== 1) throw new MessageError("version", "version 1 is spoken here");
  for (const [name, fits] of Object.entries(TYPES[type])) {
    if (!fits(message[name])) throw new MessageError("field", name);
  }
  return message;
}

/**
 * A message with ops, of envelopes that are already written.
 * @param {string} room
 * @param {string[]} envelopes
 * @param {{ cursor?: number, missing?: string[] }} rest
 * @returns {string}
 */
export function encodeOps(room, envelopes, rest) {
  const start = JSON.stringify({ type: "ops", room, ...rest }).slice(0, -1);
  return `${start},"ops":[${envelopes.join(",")}]}`;
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * What a peer says for people, cut and without what could play with a screen.
 * @param {string} text
 * @param {number} chars
 * @returns {string}
 */
export function forPeople(text, chars) {
  return [...text.slice(0, 2 * chars)].slice(0, chars).join("").replace(CONTROL, "\ufffd");
}
