// SHA-512 (FIPS 180-4), which Ed25519 needs. Short messages only, so 64-bit words are BigInts: the
// curve's arithmetic takes twenty times as long.

import { rootFractions } from "./roots.js";

const MASK = (1n << 64n) - 1n;
const INITIAL = rootFractions(8, 2n);
const K = rootFractions(80, 3n);

const rotate = (x, by) => ((x >> by) | (x << (64n - by))) & MASK;

function compress(state, view, start) {
  const w = [];
  for (let i = 0; i < 16; i += 1) w.push(view.getBigUint64(start + 8 * i));
  for (let i = 16; i < 80; i += 1) {
    const x = w[i - 15];
    const y = w[i - 2];
    const s0 = rotate(x, 1n) ^ rotate(x, 8n) ^ (x >> 7n);
    const s1 = rotate(y, 19n) ^ rotate(y, 61n) ^ (y >> 6n);
    w.push((w[i - 16] + s0 + w[i - 7] + s1) & MASK);
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 80; i += 1) {
    const s1 = rotate(e, 14n) ^ rotate(e, 18n) ^ rotate(e, 41n);
    const t1 = h + s1 + ((e & f) ^ (~e & MASK & g)) + K[i] + w[i];
    const s0 = rotate(a, 28n) ^ rotate(a, 34n) ^ rotate(a, 39n);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e] = [g, f, e, (d + t1) & MASK];
    [d, c, b, a] = [c, b, a, (t1 + t2) & MASK];
  }
  return [a, b, c, d, e, f, g, h].map((word, index) => (word + state[index]) & MASK);
}

/**
 * SHA-512 of a short message.
 * @param {Uint8Array} message
 * @returns {Uint8Array} 64 bytes
 */
export function sha512(message) {
  const padded = new Uint8Array(Math.ceil((message.length + 17) / 128) * 128);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(message.length) * 8n);
  let state = INITIAL;
  for (let start = 0; start < padded.length; start += 128) state = compress(state, view, start);
  const out = new DataView(new ArrayBuffer(64));
  state.forEach((word, index) => out.setBigUint64(8 * index, word));
  return new Uint8Array(out.buffer);
}
