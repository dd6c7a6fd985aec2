// Files of ops, one envelope on each line. Source: docs/PROTOCOL.md, "Exported files".

import { ahead } from "./ahead.js";
import { defaultVerifier } from "./ed25519.js";
import { LINE_BYTES_MAX } from "./limits.js";
import { Log } from "./log.js";
import { decodeOp, verifyOp } from "./op.js";
import { Rejection, RULES } from "./rejection.js";
import { join, utf8 } from "./bytes.js";

/** A file of ops is not what it must be. */
export class ExportError extends Error {
  /**
   * @param {number} line from 1; 0 for the file as a whole
   * @param {string} code of the rule an op breaks, or `empty`, `line`, `twice`, `dependency`
   * @param {string} message
   */
  constructor(line, code, message) {
    super(line === 0 ? message : `line ${line}: ${message}`);
    this.name = "ExportError";
    this.line = line;
    this.code = code;
  }
}

async function* chunksOf(file) {
  if (typeof file === "string") yield utf8(file);
  else if (file instanceof Uint8Array) yield file;
  else yield* file;
}

/** Lines with their numbers; memory holds one line and one chunk, whatever the file is. */
async function* linesOf(file) {
  let begun = [];
  let length = 0;
  let number = 1;
  const tooLong = () => new ExportError(number, "line", `longer than ${LINE_BYTES_MAX} bytes`);
  for await (const chunk of chunksOf(file)) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      if (length + end - start + 1 > LINE_BYTES_MAX) throw tooLong();
      begun.push(chunk.subarray(start, end));
      yield { number, bytes: whole(begun) };
      [begun, length, start] = [[], 0, end + 1];
      number += 1;
    }
    if (start < chunk.length) begun.push(chunk.slice(start));
    length += chunk.length - start;
    if (length > LINE_BYTES_MAX) throw tooLong();
  }
  // A reader does not insist on the last line feed.
  if (length > 0) yield { number, bytes: whole(begun) };
}

function whole(pieces) {
  return pieces.length === 1 ? pieces[0] : join(pieces);
}

async function readOp({ number, bytes }, verifier) {
  if (bytes.length === 0) throw new ExportError(number, "empty", "an empty line");
  try {
    return { number, op: await verifyOp(decodeOp(bytes), verifier) };
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    throw new ExportError(number, error.code, error.message);
  }
}

function take({ number, op }, logs) {
  const { room } = op.head;
  const log = logs.get(room) ?? new Log(room);
  logs.set(room, log);
  if (log.op(op.id)) throw new ExportError(number, "twice", `op ${op.id} is there twice`);
  const { verdict, code } = log.insert(op);
  if (verdict === "parked") {
    throw new ExportError(number, "dependency", `a dependency of ${op.id} is not before it`);
  }
  if (verdict === "rejected") throw new ExportError(number, code, `${RULES[code]}: ${op.id}`);
}

/**
 * Reads an exported file and checks every hash, signature, link and rule of it.
 * @param {string | Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>} file a stream of
 *   pieces is read with the memory of its ops, not of its bytes
 * @param {object} [options]
 * @param {import("./ed25519.js").Verifier} [options.verifier]
 * @param {(ops: number) => void} [options.onProgress]
 * @returns {Promise<{ ops: number, verifiedBy: import("./ed25519.js").Backend, rooms: Map<string, Log> }>}
 *   a log for each room id
 * @throws {ExportError} for the first line that does not hold
 */
export async function verifyExport(file, { verifier, onProgress = () => {} } = {}) {
  const checker = verifier ?? (await defaultVerifier());
  const rooms = new Map();
  let ops = 0;
  for await (const line of ahead(linesOf(file), (one) => readOp(one, checker))) {
    take(line, rooms);
    ops += 1;
    onProgress(ops);
  }
  if (ops === 0) throw new ExportError(0, "empty", "an empty file");
  return { ops, verifiedBy: checker.verifiedBy, rooms };
}

/**
 * All ops of a log as a file, line by line.
 * @param {Log} log
 * @returns {Iterable<string>} lines with their line feed
 */
export function* exportLines(log) {
  for (const op of log.ops()) yield `${op.envelope()}\n`;
}
