// The strict check of a signature, the same in every implementation: two nodes that disagree about
// one signature hold different logs for ever. Source: docs/PROTOCOL.md, "Hashes and signatures".
//
// WebCrypto does the arithmetic where it can. Its standard leaves implementations room (S above L,
// points of small order, the equation with cofactor), so the guards stand here around it, and it is
// used only after it has given the right answer to every case of probe.js.

import { concat, equal, fromHex, toHex } from "./bytes.js";
import { combine, decodePoint, encodePoint, isReduced, isSmallOrder, L, littleEndian } from "./curve.js";
import { KEYS_KEPT_MAX } from "./limits.js";
import { PROBES } from "./probe.js";
import { sha512 } from "./sha512.js";

/** @typedef {"webcrypto" | "bundled"} Backend what did the arithmetic */
/** @typedef {"valid" | "key" | "sig"} Verdict `key`: no signature by this author is ever valid */

const ALGORITHM = "Ed25519";

/** Step 1 of the rule. @returns the point, or `null` if the key is not acceptable */
function acceptableKey(bytes) {
  if (bytes.length !== 32 || !isReduced(bytes)) return null;
  const point = decodePoint(bytes);
  return point === null || isSmallOrder(point) ? null : point;
}

/** What of steps 2 and 3 needs no curve arithmetic: S is reduced, R is an encoding of step 4. */
function acceptableForm(sig) {
  return sig.length === 64 && littleEndian(sig.subarray(32)) < L && isReduced(sig.subarray(0, 32));
}

/** The points of small order in canonical encoding. */
const SMALL_ORDER = new Set(
  [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    // Not canonical: x is 0, yet the sign bit is set.
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  ],
);

const bundled = {
  name: /** @type {Backend} */ ("bundled"),
  key: async () => null,
  verify: async (_key, point, author, message, sig) => {
    const r = sig.subarray(0, 32);
    const k = littleEndian(sha512(concat(r, author, message))) % L;
    return equal(encodePoint(combine(littleEndian(sig.subarray(32)), k, point)), r);
  },
};

const webcrypto = (subtle) => ({
  name: /** @type {Backend} */ ("webcrypto"),
  key: (author) => subtle.importKey("raw", author, ALGORITHM, false, ["verify"]),
  verify: (key, _point, _author, message, sig) => subtle.verify(ALGORITHM, key, sig, message),
});

/** Checks signatures, one at a time. Keys that were seen are kept, at most 1,024. */
export class Verifier {
  #backend;
  /** author -> promise of its acceptable key or `null`; the one first seen longest ago goes first */
  #keys = new Map();

  constructor(backend) {
    this.#backend = backend;
  }

  /** What does the arithmetic. @returns {Backend} */
  get verifiedBy() {
    return this.#backend.name;
  }

  #key(author) {
    let key = this.#keys.get(author);
    if (key === undefined) {
      key = this.#readKey(fromHex(author));
      if (this.#keys.size >= KEYS_KEPT_MAX) this.#keys.delete(this.#keys.keys().next().value);
      this.#keys.set(author, key);
    }
    return key;
  }

  async #readKey(bytes) {
    const point = acceptableKey(bytes);
    return point && { bytes, point, handle: await this.#backend.key(bytes) };
  }

  /**
   * Whether a key can have valid signatures at all.
   * @param {string} author hex of 64 digits
   * @returns {boolean}
   */
  static acceptsKey(author) {
    return acceptableKey(fromHex(author)) !== null;
  }

  /**
   * Checks one signature.
   * @param {string} author hex of 64 digits
   * @param {Uint8Array} message what was signed, with its tag
   * @param {string} sig hex of 128 digits
   * @returns {Promise<Verdict>}
   */
  async verify(author, message, sig) {
    const key = await this.#key(author);
    if (key === null) return "key";
    const bytes = fromHex(sig);
    if (!acceptableForm(bytes) || SMALL_ORDER.has(toHex(bytes.subarray(0, 32)))) return "sig";
    const good = await this.#backend.verify(key.handle, key.point, key.bytes, message, bytes);
    return good ? "valid" : "sig";
  }
}

/** Whether the arithmetic gives the verdicts of this protocol, for cases on which libraries differ. */
async function agrees(verifier) {
  try {
    for (const { author, message, sig, verdict } of PROBES) {
      if ((await verifier.verify(author, fromHex(message), sig)) !== verdict) return false;
    }
    return true;
  } catch {
    // An algorithm that is not there.
    return false;
  }
}

async function choose(subtle) {
  if (subtle) {
    const verifier = new Verifier(webcrypto(subtle));
    if (await agrees(verifier)) return verifier;
  }
  return new Verifier(bundled);
}

/**
 * A verifier of its own.
 * @param {object} [options]
 * @param {Backend} [options.backend] what must do the arithmetic; else WebCrypto if it can
 * @param {SubtleCrypto} [options.subtle] in place of `crypto.subtle`
 * @returns {Promise<Verifier>}
 * @throws {Error} if WebCrypto was asked for and is not there or does not follow the strict rule
 */
export async function createVerifier({ backend, subtle = globalThis.crypto?.subtle } = {}) {
  const verifier = await choose(backend === "bundled" ? undefined : subtle);
  if (backend === "webcrypto" && verifier.verifiedBy !== backend) {
    throw new Error("crypto.subtle is missing here, or its Ed25519 does not follow the strict rule");
  }
  return verifier;
}

let shared;

/**
 * The verifier that everything here uses unless it is given another.
 * @returns {Promise<Verifier>}
 */
export function defaultVerifier() {
  shared ??= createVerifier();
  return shared;
}
