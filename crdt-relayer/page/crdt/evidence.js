// Evidence files: two heads that one author signed after one and the same op, checked without the
// room and without the data. Source: docs/PROTOCOL.md, "Equivocation".

import { equal, isHex, utf8 } from "./bytes.js";
import { defaultVerifier } from "./ed25519.js";
import { forkId, opId, signedBytes } from "./hash.js";
import { checkHead, decodeHead, exact } from "./head.js";
import { canonical, JsonError, parse } from "./json.js";
import { EVIDENCE_BYTES_MAX, MESSAGE_DEPTH_MAX } from "./limits.js";
import { Rejection } from "./rejection.js";

/** A file is no evidence. */
export class EvidenceError extends Error {
  /** @param {"json" | "spelling" | "head" | "consistent"} code @param {string} message */
  constructor(code, message, options) {
    super(message, options);
    this.name = "EvidenceError";
    this.code = code;
  }
}

async function verifyHead(value, verifier) {
  const { head: raw, id, sig } = exact(value, ["head", "id", "sig"], "evidence");
  if (!isHex(id, 64)) throw new Rejection("field", "id");
  const head = decodeHead(raw);
  if (!isHex(sig, 128)) throw new Rejection("field", "sig");
  if (opId(checkHead(head)) !== id) throw new Rejection("id");
  const verdict = await verifier.verify(head.author, signedBytes(id), sig);
  if (verdict !== "valid") throw new Rejection(verdict);
  return { id, head, sig };
}

const PLACE = ["room", "grant", "author", "seq", "prev"];

async function verifyBoth(value, verifier) {
  try {
    const { evidence } = exact(value, ["evidence"], "evidence");
    if (!Array.isArray(evidence) || evidence.length !== 2) throw new Rejection("field", "evidence");
    return [await verifyHead(evidence[0], verifier), await verifyHead(evidence[1], verifier)];
  } catch (cause) {
    if (!(cause instanceof Rejection)) throw cause;
    throw new EvidenceError("head", `a head is refused: ${cause.message}`, { cause });
  }
}

function parseFile(text) {
  try {
    if (text.length > EVIDENCE_BYTES_MAX) throw new JsonError("syntax", "longer than any evidence");
    return parse(text, MESSAGE_DEPTH_MAX);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new EvidenceError("json", `no canonical JSON: ${cause.message}`, { cause });
  }
}

/**
 * Reads an evidence file and checks everything it says. One changed byte is enough to fail.
 * @param {Uint8Array | string} file
 * @param {import("./ed25519.js").Verifier} [verifier]
 * @returns {Promise<{ id: string, room: string, author: string, seq: number, prev: string | null,
 *   ops: [string, string], verifiedBy: import("./ed25519.js").Backend }>} what it proves
 * @throws {EvidenceError}
 */
export async function verifyEvidence(file, verifier) {
  const checker = verifier ?? (await defaultVerifier());
  const bytes = typeof file === "string" ? utf8(file) : file;
  const text = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
  const value = parseFile(text);
  const [a, b] = await verifyBoth(value, checker);
  if (!PLACE.every((name) => a.head[name] === b.head[name]) || a.id >= b.id) {
    throw new EvidenceError("consistent", "the two heads do not contradict each other");
  }
  if (!equal(utf8(canonical(value, MESSAGE_DEPTH_MAX)), text)) {
    throw new EvidenceError("spelling", "it is not spelled in the canonical way");
  }
  const { room, author, seq, prev } = a.head;
  return { id: forkId(a.head), room, author, seq, prev, ops: [a.id, b.id], verifiedBy: checker.verifiedBy };
}

/**
 * The evidence that two ops give.
 * @param {import("./op.js").Op} a
 * @param {import("./op.js").Op} b
 * @returns {string} the file, with its line feed
 * @throws {EvidenceError} `consistent` if an honest author may have signed both
 */
export function writeEvidence(a, b) {
  const [first, second] = a.id < b.id ? [a, b] : [b, a];
  if (first.id === second.id || !PLACE.every((name) => a.head[name] === b.head[name])) {
    throw new EvidenceError("consistent", "the two heads do not contradict each other");
  }
  const evidence = [first, second].map(({ head, id, sig }) => ({ head, id, sig }));
  return `${canonical({ evidence }, MESSAGE_DEPTH_MAX)}\n`;
}
