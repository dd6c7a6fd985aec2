// What this browser checks of one op, one check after another, each with its verdict in words.

import { defaultVerifier } from "../crdt/ed25519.js";
import { decodeOp, verifyOp } from "../crdt/op.js";
import { Rejection, RULES } from "../crdt/rejection.js";

/** @typedef {"good" | "bad" | "open"} Verdict `open`: it was not decided, and the words say why */
/** @typedef {{ name: string, verdict: Verdict, words: string, code?: string }} Check */

/** The checks in their order, and the codes of the rules that each stands for. */
const CHECKS = [
  { name: "Form", codes: ["json", "field", "size", "version", "head"], good: "one op, canonical, nothing missing and nothing added" },
  { name: "Data", codes: ["data"], good: "the data has the length and hash that the head names" },
  { name: "Hash", codes: ["id"], good: "the id is the SHA-256 of the head" },
  { name: "Strict key", codes: ["key"], good: "the author is a key under which a signature can only be good in one way" },
  { name: "Signature", codes: ["sig"], good: "the author signed this id" },
];

/**
 * The checks that need the op alone.
 * @param {string} text its envelope
 * @param {import("../crdt/ed25519.js").Verifier} [verifier]
 * @returns {Promise<{ checks: Check[], op?: import("../crdt/op.js").Op, code?: string }>}
 */
export async function checkAlone(text, verifier) {
  const checker = verifier ?? (await defaultVerifier());
  try {
    const op = await verifyOp(decodeOp(text), checker);
    const by = checker.verifiedBy === "webcrypto" ? "WebCrypto" : "the bundled arithmetic";
    return { op, checks: CHECKS.map(({ name, good }) => ({ name, verdict: "good", words: name === "Signature" ? `${good} (checked by ${by})` : good })) };
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    const { code, message } = error;
    const failed = CHECKS.findIndex(({ codes }) => codes.includes(code));
    return { code, checks: CHECKS.map(({ name, good }, at) => verdictAt({ name, good }, at - failed, { code, message })) };
  }
}

function verdictAt({ name, good }, distance, { code, message }) {
  if (distance < 0) return { name, verdict: "good", words: good };
  if (distance === 0) return { name, verdict: "bad", words: message, code };
  return { name, verdict: "open", words: "not checked: an earlier check failed" };
}

/**
 * The check that needs the log: parents, chain and depth.
 * @param {{ id: string, dependencies: string[] } | undefined} op `undefined` if it failed alone
 * @param {import("../crdt/log.js").Log} log
 * @returns {Check}
 */
export function checkParents(op, log) {
  const name = "Parents";
  if (!op) return { name, verdict: "open", words: "not checked: an earlier check failed" };
  const count = op.dependencies.length;
  if (log.op(op.id)) {
    const held = count === 0 ? "it names none: it is the first of its author" : `${count === 1 ? "the one it names is" : `all ${count} are`} here and passed the same checks`;
    return { name, verdict: "good", words: `${held}; place in the chain and depth fit` };
  }
  const [, code] = log.rejected.find(([id]) => id === op.id) ?? [];
  if (code) return { name, verdict: "bad", words: RULES[code], code };
  const lacking = op.dependencies.filter((id) => !log.op(id)).length;
  if (lacking === 0) return { name, verdict: "open", words: "not in the log of this browser yet" };
  return { name, verdict: "open", words: `${lacking} of ${count} did not come to this browser` };
}
