// The curve of Ed25519 (RFC 8032) with BigInts: only what checking a signature needs. Everything it
// computes on is public, so nothing here runs in constant time; no secret key may be used with it.

const P = 2n ** 255n - 19n;
const LOW_255 = 2n ** 255n - 1n;

/** The order of the base point. */
export const L = 2n ** 252n + 27742317777372353535851937790883648493n;

const mod = (value) => {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
};

function power(base, exponent) {
  let result = 1n;
  for (let square = base; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

const invert = (value) => power(value, P - 2n);

const D = mod(-121665n * invert(121666n));
const D2 = (2n * D) % P;
const ROOT_OF_MINUS_1 = power(2n, (P - 1n) / 4n);

/**
 * A point in extended coordinates.
 * @typedef {{ x: bigint, y: bigint, z: bigint, t: bigint }} Point
 */

/** @type {Point} */
const NEUTRAL = { x: 0n, y: 1n, z: 1n, t: 0n };

/** @param {Uint8Array} bytes @returns {bigint} as a little-endian integer */
export function littleEndian(bytes) {
  let digits = "0x";
  for (let at = bytes.length - 1; at >= 0; at -= 1) digits += bytes[at].toString(16).padStart(2, "0");
  return BigInt(digits);
}

/** @param {Uint8Array} bytes @returns {boolean} whether y, the lower 255 bits, is below p */
export const isReduced = (bytes) => (littleEndian(bytes) & LOW_255) < P;

/**
 * Decodes a point; y need not be reduced, and x = 0 may come with either sign.
 * @param {Uint8Array} bytes 32
 * @returns {Point | null} `null` if it is none
 */
export function decodePoint(bytes) {
  const whole = littleEndian(bytes);
  const y = (whole & LOW_255) % P;
  const u = mod(y * y - 1n);
  const v = (D * y * y + 1n) % P;
  // RFC 8032, 5.1.3: a root of u/v without an inversion.
  const v3 = (((v * v) % P) * v) % P;
  const v7 = (((v3 * v3) % P) * v) % P;
  let x = (((u * v3) % P) * power((u * v7) % P, (P - 5n) / 8n)) % P;
  const check = (((v * x) % P) * x) % P;
  if (check !== u) {
    if (check !== mod(-u)) return null;
    x = (x * ROOT_OF_MINUS_1) % P;
  }
  if ((x & 1n) !== whole >> 255n) x = mod(-x);
  return { x, y, z: 1n, t: (x * y) % P };
}

/** @param {Point} point @returns {Uint8Array} its canonical encoding */
export function encodePoint({ x, y, z }) {
  const inverse = invert(z);
  let whole = ((y * inverse) % P) | ((((x * inverse) % P) & 1n) << 255n);
  const bytes = new Uint8Array(32);
  for (let at = 0; at < 32; at += 1, whole >>= 8n) bytes[at] = Number(whole & 0xffn);
  return bytes;
}

function add(p, q) {
  const a = (p.y - p.x) * (q.y - q.x) % P;
  const b = (p.y + p.x) * (q.y + q.x) % P;
  const c = ((p.t * D2) % P) * q.t % P;
  const d = (2n * p.z * q.z) % P;
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return { x: mod(e * f), y: mod(g * h), z: mod(f * g), t: mod(e * h) };
}

function double(p) {
  const a = (p.x * p.x) % P;
  const b = (p.y * p.y) % P;
  const c = (2n * p.z * p.z) % P;
  const h = a + b;
  const e = h - (p.x + p.y) ** 2n % P;
  const g = a - b;
  const f = c + g;
  return { x: mod(e * f), y: mod(g * h), z: mod(f * g), t: mod(e * h) };
}

/** @param {Point} p @returns {boolean} whether eight times it is the neutral element */
export function isSmallOrder(p) {
  const eight = double(double(double(p)));
  return eight.x === 0n && eight.y === eight.z;
}

/** 0 to 15 times a point. */
function multiples(point) {
  const table = [NEUTRAL];
  for (let times = 1; times < 16; times += 1) table.push(add(table[times - 1], point));
  return table;
}

const BASE_BYTES = Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 0x58 : 0x66));
const BASE = multiples(/** @type {Point} */ (decodePoint(BASE_BYTES)));

/**
 * \[s\]B − \[k\]A.
 * @param {bigint} s below 2^256
 * @param {bigint} k below 2^256
 * @param {Point} a
 * @returns {Point}
 */
export function combine(s, k, a) {
  const table = multiples({ ...a, x: mod(-a.x), t: mod(-a.t) });
  let sum = NEUTRAL;
  for (let shift = 252n; shift >= 0n; shift -= 4n) {
    sum = double(double(double(double(sum))));
    sum = add(sum, table[Number((k >> shift) & 15n)]);
    sum = add(sum, BASE[Number((s >> shift) & 15n)]);
  }
  return sum;
}
