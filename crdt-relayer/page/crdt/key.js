// Keys: read, made, and used to sign. Signing is WebCrypto's alone: BigInt arithmetic takes a time
// that depends on the secret, so without `crypto.subtle` there is no signing at all.

import { concat, fromBase64, fromHex, isHex, toHex } from "./bytes.js";
import { defaultVerifier, Verifier } from "./ed25519.js";

const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");
const SPKI_PREFIX = fromHex("302a300506032b6570032100");
const ALGORITHM = "Ed25519";

/** A key cannot be read or used. */
export class KeyError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = "KeyError";
  }
}

/** The 32 bytes at the end of a PEM block of one label and one fixed DER prefix. */
function fromPem(text, label, prefix) {
  const block = new RegExp(`^-----BEGIN ${label}-----\\s([A-Za-z0-9+/=\\s]+)-----END ${label}-----\\s*$`);
  const found = block.exec(text.trimStart());
  if (found === null) {
    const encrypted = text.includes("BEGIN ENCRYPTED PRIVATE KEY");
    throw new KeyError(encrypted ? "the key is encrypted: decrypt it first" : `no PEM ${label}`);
  }
  let der;
  try {
    der = fromBase64(found[1].replace(/\s/g, ""));
  } catch (cause) {
    throw new KeyError("the PEM text is not base64", { cause });
  }
  const fits = der.length === prefix.length + 32 && prefix.every((byte, at) => der[at] === byte);
  if (!fits) throw new KeyError("no Ed25519 key in DER as RFC 8410 writes it");
  return der.subarray(prefix.length);
}

/** An author's public key, acceptable by the strict rule. */
export class PublicKey {
  /** @param {string} author hex of 64 digits @throws {KeyError} if no signature by it can be valid */
  constructor(author) {
    if (!isHex(author, 64)) throw new KeyError("a public key has 64 lower-case hex digits");
    if (!Verifier.acceptsKey(author)) throw new KeyError("no signature by this key is ever valid");
    /** @type {string} hex of 64 digits */
    this.author = author;
    Object.freeze(this);
  }

  /**
   * Reads `key.pub` as crdt-node and OpenSSL write it.
   * @param {string} text
   * @returns {PublicKey}
   * @throws {KeyError}
   */
  static fromPem(text) {
    return new PublicKey(toHex(fromPem(text, "PUBLIC KEY", SPKI_PREFIX)));
  }

  /**
   * Checks a signature by the strict rule.
   * @param {Uint8Array} message what was signed, with its tag
   * @param {string} sig hex of 128 digits
   * @param {Verifier} [verifier]
   * @returns {Promise<boolean>}
   */
  async verify(message, sig, verifier) {
    if (!isHex(sig, 128)) return false;
    return (await (verifier ?? (await defaultVerifier())).verify(this.author, message, sig)) === "valid";
  }
}

/** A secret key. It cannot be read back from here. */
export class SecretKey {
  #handle;

  constructor(handle, author) {
    this.#handle = handle;
    /** @type {string} the public key, hex of 64 digits */
    this.author = author;
    Object.freeze(this);
  }

  /**
   * Reads `key.pem` as crdt-node writes it without a passphrase: PKCS#8 version 1.
   * @param {string} text
   * @returns {Promise<SecretKey>}
   * @throws {KeyError}
   */
  static async fromPem(text) {
    return SecretKey.fromSeed(fromPem(text, "PRIVATE KEY", PKCS8_PREFIX));
  }

  /**
   * The key with this seed.
   * @param {Uint8Array} seed 32 bytes that nobody can guess
   * @returns {Promise<SecretKey>}
   * @throws {KeyError}
   */
  static async fromSeed(seed) {
    if (!(seed instanceof Uint8Array) || seed.length !== 32) throw new KeyError("a seed has 32 bytes");
    const subtle = globalThis.crypto?.subtle;
    if (!subtle) throw new KeyError("signing needs crypto.subtle: load the page by https or from localhost");
    try {
      const der = concat(PKCS8_PREFIX, seed);
      // Extractable for a moment: only the private key's JWK tells the public one.
      const open = await subtle.importKey("pkcs8", der, ALGORITHM, true, ["sign"]);
      const { x } = await subtle.exportKey("jwk", open);
      const handle = await subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
      der.fill(0);
      const author = toHex(fromBase64(`${x.replace(/-/g, "+").replace(/_/g, "/")}=`));
      return new SecretKey(handle, author);
    } catch (cause) {
      throw new KeyError("crypto.subtle has no Ed25519 here", { cause });
    }
  }

  /**
   * A new key, which is lost with this object: for tests and passing visitors.
   * @returns {Promise<SecretKey>}
   */
  static async generate() {
    const seed = globalThis.crypto.getRandomValues(new Uint8Array(32));
    const key = await SecretKey.fromSeed(seed);
    seed.fill(0);
    return key;
  }

  /** @returns {PublicKey} */
  get publicKey() {
    return new PublicKey(this.author);
  }

  /**
   * Signs bytes. Give it only what has its own tag.
   * @param {Uint8Array} message
   * @returns {Promise<string>} hex of 128 digits
   */
  async sign(message) {
    const sig = await globalThis.crypto.subtle.sign(ALGORITHM, this.#handle, message);
    return toHex(new Uint8Array(sig));
  }
}
