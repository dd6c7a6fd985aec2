// Bytes and their texts: hex, UTF-8, base64.

const ENCODER = new TextEncoder();
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * The bytes of a text in UTF-8.
 * @param {string} text
 * @returns {Uint8Array}
 */
export function utf8(text) {
  return ENCODER.encode(text);
}

/**
 * How many bytes a text of Unicode scalar values takes in UTF-8.
 * @param {string} text
 * @returns {number}
 */
export function utf8Length(text) {
  let length = text.length;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    // Each half of a surrogate pair counts 2 of the pair's 4 bytes.
    if (unit > 0x7f) length += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return length;
}

/**
 * Lower-case hexadecimal.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function toHex(bytes) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/**
 * Whether a value is lower-case hexadecimal of exactly `digits` digits.
 * @param {unknown} value
 * @param {number} digits
 * @returns {value is string}
 */
export function isHex(value, digits) {
  return typeof value === "string" && value.length === digits && /^[0-9a-f]*$/.test(value);
}

/**
 * The bytes of lower-case hexadecimal.
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {TypeError} if it is none
 */
export function fromHex(text) {
  if (typeof text !== "string" || text.length % 2 !== 0 || !isHex(text, text.length)) {
    throw new TypeError("not lower-case hexadecimal");
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at += 1) {
    bytes[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}

/**
 * Several pieces as one.
 * @param {...Uint8Array} pieces
 * @returns {Uint8Array}
 */
export function concat(...pieces) {
  return join(pieces);
}

/**
 * Pieces of which there may be any number as one, which is new.
 * @param {Uint8Array[]} pieces
 * @returns {Uint8Array}
 */
export function join(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/**
 * Whether two byte strings are equal. Not in constant time: only for what is public.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @returns {boolean}
 */
export function equal(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/**
 * The bytes of base64 with padding.
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {TypeError} if it is none
 */
export function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new TypeError("not base64");
  }
}
