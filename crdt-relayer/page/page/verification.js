// Checks a file from its first byte: an exported log or a piece of evidence. Its report says the same
// as `crdt-node verify --json`, with the same numbers.

import { ahead } from "../crdt/ahead.js";
import { utf8 } from "../crdt/bytes.js";
import { defaultVerifier } from "../crdt/ed25519.js";
import { EvidenceError, verifyEvidence } from "../crdt/evidence.js";
import { EVIDENCE_BYTES_MAX, LINE_BYTES_MAX } from "../crdt/limits.js";
import { Log } from "../crdt/log.js";
import { decodeOp, verifyOp } from "../crdt/op.js";
import { Rejection, RULES } from "../crdt/rejection.js";
import { linesOf } from "./lines.js";

/** Problems that are listed; more are counted. */
const PROBLEMS_LISTED = 20;
const EVIDENCE = utf8('{"evidence"');

/**
 * @typedef {object} Report
 * @property {"crdt-node/verify/1"} schema
 * @property {boolean} ok
 * @property {0 | 5 | 6} code exit code of crdt-node: 5 something does not hold, 6 an equivocation
 * @property {number} ops
 * @property {number} hashes
 * @property {number} signatures
 * @property {number} links
 * @property {number} equivocations
 * @property {string[]} problems the first 20
 * @property {object | null} proved what evidence proves
 */

/**
 * @param {Blob} file
 * @param {(ops: number) => void} [onProgress]
 * @returns {Promise<{ report: Report, rooms: { room: string, ops: number, set: string, log: string }[],
 *   verifiedBy: import("../crdt/ed25519.js").Backend, more: number }>} `more`: problems not listed
 */
export async function verifyFile(file, onProgress = () => {}) {
  const start = new Uint8Array(await file.slice(0, EVIDENCE.length).arrayBuffer());
  const isEvidence = start.length === EVIDENCE.length && start.every((byte, at) => byte === EVIDENCE[at]);
  const verifier = await defaultVerifier();
  const pass = isEvidence ? await evidencePass(file, verifier) : await opsPass(file, verifier, onProgress);
  return { ...pass.finished(), verifiedBy: verifier.verifiedBy };
}

/** What one pass over a file found. */
class Pass {
  counts = { ops: 0, hashes: 0, signatures: 0, links: 0 };
  logs = new Map();
  proved = null;
  #problems = [];
  #count = 0;

  problem(text) {
    this.#count += 1;
    if (this.#problems.length < PROBLEMS_LISTED) this.#problems.push(text);
  }

  log(room) {
    const log = this.logs.get(room) ?? new Log(room);
    this.logs.set(room, log);
    return log;
  }

  finished() {
    let equivocations = 0;
    const rooms = [];
    for (const [room, log] of this.logs) {
      equivocations += log.equivocations.length;
      rooms.push({ room, ops: log.size, set: log.set, log: log.log });
    }
    const ok = this.#count === 0;
    const code = ok ? (equivocations > 0 ? 6 : 0) : 5;
    const { counts, proved } = this;
    const schema = "crdt-node/verify/1";
    const report = { schema, ok, code, ...counts, equivocations, problems: this.#problems, proved };
    return { report, rooms, more: this.#count - this.#problems.length };
  }
}

async function* piecesOf(file) {
  // Not every browser iterates over a stream.
  const reader = file.stream().getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) yield value;
}

async function opsPass(file, verifier, onProgress) {
  const pass = new Pass();
  for await (const line of ahead(linesOf(piecesOf(file)), (bytes) => checkLine(bytes, verifier))) {
    pass.counts.ops += 1;
    take(line, pass);
    onProgress(pass.counts.ops);
  }
  if (pass.counts.ops === 0) pass.problem("the file is empty");
  return pass;
}

/** A line by itself. `hashed`: its hashes are right, whatever its signature is. */
async function checkLine(bytes, verifier) {
  if (bytes === null) return { problem: `a line has at most ${LINE_BYTES_MAX} bytes` };
  let hashed;
  try {
    hashed = decodeOp(bytes);
    return { hashed, op: await verifyOp(hashed, verifier) };
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    return { hashed, problem: error.message };
  }
}

function take({ hashed, op, problem }, pass) {
  if (!hashed) return pass.problem(`line ${pass.counts.ops}: ${problem}`);
  const { id } = hashed;
  pass.counts.hashes += 2;
  const log = pass.log(hashed.head.room);
  if (log.op(id)) return pass.problem(`op ${id}: it is there twice`);
  if (!op) return pass.problem(`op ${id}: ${problem}`);
  const { verdict, code } = log.insert(op);
  if (verdict === "parked") return pass.problem(`op ${id}: a dependency does not come before it`);
  if (verdict === "rejected") return pass.problem(`op ${id}: ${RULES[code]}`);
  pass.counts.signatures += 1;
  pass.counts.links += op.dependencies.length;
}

async function evidencePass(file, verifier) {
  const pass = new Pass();
  const text = new Uint8Array(await file.slice(0, EVIDENCE_BYTES_MAX).arrayBuffer());
  try {
    const { id, room, author, seq, ops } = await verifyEvidence(text, verifier);
    pass.counts.hashes = pass.counts.signatures = 2;
    pass.proved = { id, room, author, seq, a: ops[0], b: ops[1] };
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error;
    pass.problem(`this is no evidence: ${error.message}`);
  }
  return pass;
}
