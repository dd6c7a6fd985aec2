// Canonical JSON: a strict parser and one text for each value.
// Source: docs/PROTOCOL.md, "Canonical JSON".
//
// JSON.parse cannot be used: it takes 1.0 and 1e3, keeps the last of two equal keys, and lets half
// a surrogate pair through. Objects come without a prototype, so no key has a meaning of its own.

import { DATA_DEPTH_MAX, INTEGER_MAX } from "./limits.js";

/**
 * A value of the profile. Objects that were parsed have no prototype.
 * @typedef {null | boolean | number | string | Json[] | { [key: string]: Json }} Json
 */

/** A text or a value is not JSON of the profile. */
export class JsonError extends Error {
  /**
   * @param {"utf8" | "syntax" | "depth" | "number" | "surrogate" | "duplicate-key" | "type"} code
   *   what is wrong; `type` is said of values to write only
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "JsonError";
    this.code = code;
  }
}

const LONE_SURROGATE = /[\ud800-\udfff]/u;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const NUMBER = /-?[0-9]+(?:[.eE][0-9.eE+-]*)?/y;
const INTEGER = /^(?:0|-?[1-9][0-9]*)$/;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const WORDS = { t: ["true", true], f: ["false", false], n: ["null", null] };

class Parser {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(code, message = "not JSON") {
    throw new JsonError(code, `${message} at character ${this.at}`);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at = pattern.lastIndex;
    return found[0];
  }

  take(letter) {
    const found = this.text[this.at] === letter;
    if (found) this.at += 1;
    return found;
  }

  /** Recursion is as deep as `depth` says, whatever the text holds. */
  value(depth) {
    this.match(SPACE);
    const first = this.text[this.at];
    let value;
    if (first === '"') value = this.string();
    else if (first === "{" || first === "[") {
      if (depth === 0) this.fail("depth", "nested too deep");
      this.at += 1;
      value = first === "{" ? this.object(depth - 1) : this.array(depth - 1);
    } else if (first === "-" || (first >= "0" && first <= "9")) value = this.number();
    else value = this.word(first);
    this.match(SPACE);
    return value;
  }

  word(first) {
    const known = first === undefined ? undefined : Object.hasOwn(WORDS, first) && WORDS[first];
    if (!known || !this.text.startsWith(known[0], this.at)) this.fail("syntax");
    this.at += known[0].length;
    return known[1];
  }

  number() {
    const start = this.at;
    const digits = this.match(NUMBER);
    if (digits === null) this.fail("syntax");
    const value = Number(digits);
    if (!INTEGER.test(digits) || value > INTEGER_MAX || value < -INTEGER_MAX) {
      this.at = start;
      this.fail("number", "no integer within ±9007199254740991, write it as a string");
    }
    return value;
  }

  string() {
    this.at += 1;
    let text = this.match(PLAIN);
    while (!this.take('"')) {
      if (!this.take("\\")) this.fail("syntax");
      text += this.escape() + this.match(PLAIN);
    }
    return text;
  }

  escape() {
    const letter = this.text[this.at];
    this.at += 1;
    if (letter !== "u") {
      if (letter === undefined || !Object.hasOwn(ESCAPES, letter)) this.fail("syntax");
      return ESCAPES[letter];
    }
    const unit = this.unit();
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    if (unit > 0xdbff || !this.take("\\") || !this.take("u")) this.fail("surrogate");
    const low = this.unit();
    if (low < 0xdc00 || low > 0xdfff) this.fail("surrogate");
    return String.fromCharCode(unit, low);
  }

  unit() {
    const digits = this.text.slice(this.at, this.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail("syntax");
    this.at += 4;
    return Number.parseInt(digits, 16);
  }

  array(depth) {
    const values = [];
    this.match(SPACE);
    if (this.take("]")) return values;
    do values.push(this.value(depth));
    while (this.take(","));
    if (!this.take("]")) this.fail("syntax");
    return values;
  }

  object(depth) {
    const members = Object.create(null);
    this.match(SPACE);
    if (this.take("}")) return members;
    do {
      this.match(SPACE);
      if (this.text[this.at] !== '"') this.fail("syntax");
      const key = this.string();
      if (key in members) this.fail("duplicate-key", "the same key twice");
      this.match(SPACE);
      if (!this.take(":")) this.fail("syntax");
      members[key] = this.value(depth);
    } while (this.take(","));
    if (!this.take("}")) this.fail("syntax");
    return members;
  }
}

function decode(bytes) {
  try {
    // With ignoreBOM a byte order mark stays in the text, where it is refused.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonError("utf8", "not UTF-8");
  }
}

/**
 * Parses one value that fills the input.
 * @param {string | Uint8Array} input
 * @param {number} [depthMax] how deep arrays and objects may nest: 0 for a scalar
 * @returns {Json}
 * @throws {JsonError} for whatever is not JSON of the profile
 */
export function parse(input, depthMax = DATA_DEPTH_MAX) {
  const text = typeof input === "string" ? input : decode(input);
  if (LONE_SURROGATE.test(text)) throw new JsonError("surrogate", "half of a surrogate pair");
  const parser = new Parser(text);
  const value = parser.value(depthMax);
  if (parser.at < text.length) parser.fail("syntax");
  return value;
}

function writeString(text) {
  if (LONE_SURROGATE.test(text)) throw new JsonError("surrogate", "half of a surrogate pair");
  // RFC 8785 spells strings as JSON.stringify does.
  return JSON.stringify(text);
}

function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/**
 * The canonical text of a value.
 * @param {Json} value arrays and plain objects only: a Date, a Map or `undefined` is refused
 * @param {number} [depthMax] how deep arrays and objects may nest
 * @returns {string}
 * @throws {JsonError} for a value outside the profile: a fraction, `-0`, a bigint, a cycle, ...
 */
export function canonical(value, depthMax = DATA_DEPTH_MAX) {
  if (value === null || value === true || value === false) return String(value);
  if (typeof value === "string") return writeString(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      throw new JsonError("number", "no integer within ±9007199254740991, write it as a string");
    }
    return String(value);
  }
  if (typeof value !== "object") throw new JsonError("type", `no JSON value: ${typeof value}`);
  if (depthMax === 0) throw new JsonError("depth", "nested too deep");
  if (Array.isArray(value)) {
    // Not map(): it would leave the holes of a sparse array out.
    return `[${Array.from(value, (element) => canonical(element, depthMax - 1)).join(",")}]`;
  }
  if (!isPlain(value)) throw new JsonError("type", "no plain object");
  // The default order of strings is that of their UTF-16 code units, as RFC 8785 wants it.
  const members = Object.keys(value).sort();
  return `{${members
    .map((key) => `${writeString(key)}:${canonical(value[key], depthMax - 1)}`)
    .join(",")}}`;
}
