// What the part of the address after `#` names. It never reaches the relayer.

import { isById } from "../crdt/hash.js";
import { short } from "./text.js";

const ROOM = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const ID = /^[0-9a-f]{64}$/;
const TABS = new Set(["graph", "evidence", "verify"]);

/**
 * @param {string} hash
 * @returns {{ view: "overview" | "files" | "unknown" }
 *   | { view: "room" | "graph" | "evidence" | "verify", room: string }
 *   | { view: "op", room: string, op: string } | { view: "refused", room: string, number: number }}
 */
export function parseRoute(hash) {
  const [first = "", room = "", part, op, ...rest] = hash.replace(/^#?\/?/, "").split("/");
  if (first === "" && room === "") return { view: "overview" };
  if (first === "files" && room === "") return { view: "files" };
  if (first !== "room" || !(ROOM.test(room) || isById(room)) || rest.length > 0) return { view: "unknown" };
  if (part === undefined) return { view: "room", room };
  if (part === "op" && ID.test(op ?? "")) return { view: "op", room, op };
  if (part === "refused" && /^[1-9][0-9]{0,8}$/.test(op ?? "")) return { view: "refused", room, number: Number(op) };
  if (TABS.has(part) && op === undefined) return { view: part, room };
  return { view: "unknown" };
}

/** @param {string} room @param {...string} parts @returns {string} for `href` */
export function roomLink(room, ...parts) {
  return ["#/room", room, ...parts].join("/");
}

/** What a room is called in a heading. @param {string} room its name, or `id:` and its id @returns {string} */
export const roomTitle = (room) => (isById(room) ? `unnamed ${short(room.slice(3))}` : room);
