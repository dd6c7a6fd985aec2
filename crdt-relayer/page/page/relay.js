// What the relayer says over HTTP. All of it is its word: what can be checked is checked elsewhere.

import { SHAPES } from "./answers.js";

/** A question that takes longer is over. */
const ANSWER_MS = 10_000;

/** The relayer did not answer, or answered that it does not. */
export class RelayError extends Error {
  /** @param {string} code of `application/problem+json`, or `unreachable` */
  constructor(code, message) {
    super(message);
    this.name = "RelayError";
    this.code = code;
  }
}

async function ask(path, accept) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: accept }, signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store" });
  } catch (error) {
    throw new RelayError("unreachable", error.name === "TimeoutError" ? "no answer within 10 seconds" : "it cannot be reached");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new RelayError(String(problem.code ?? response.status), String(problem.detail ?? `it answered ${response.status}`));
}

async function askJson(path, shape) {
  const response = await ask(path, "application/json");
  const answer = await response.json().catch(() => undefined);
  if (!SHAPES[shape](answer)) throw new RelayError("json", "its answer is not what it has to be");
  return answer;
}

/** Name, version and protocol. */
export const version = () => askJson("version", "version");

/** The first rooms. @param {number} limit at most 1,000 */
export const rooms = (limit) => askJson(`v1/rooms?limit=${limit}`, "rooms");

/** One room, and who is connected to it. @param {string} room */
export const room = (room) => askJson(`v1/rooms/${encodeURIComponent(room)}`, "room");

/** Evidence of a room. @param {string} room */
export const evidence = (room) => askJson(`v1/rooms/${encodeURIComponent(room)}/evidence?limit=100`, "evidence");

/** The envelope of one op, as it stands there. @param {string} room @param {string} op */
export async function envelope(room, op) {
  return (await ask(`v1/rooms/${encodeURIComponent(room)}/ops/${op}`, "application/octet-stream")).text();
}

/** Whether it lives and takes ops. @returns {Promise<{ lives: boolean, ready: boolean, why: string }>} */
export async function health() {
  const says = (path) => ask(path, "*/*").then(() => null, (error) => error.message);
  const [lives, ready] = await Promise.all([says("healthz"), says("readyz")]);
  return { lives: lives === null, ready: ready === null, why: lives ?? ready ?? "" };
}

/**
 * Does something again and again while the page is seen.
 * @param {() => Promise<void>} work never rejects
 * @param {number} everyMs counted from its end
 * @returns {() => void} ends it
 */
export function repeat(work, everyMs) {
  let timer;
  let stopped = false;
  const turn = async () => {
    if (!document.hidden) await work();
    if (!stopped) timer = setTimeout(turn, everyMs);
  };
  turn();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
