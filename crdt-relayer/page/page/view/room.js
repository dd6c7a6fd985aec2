// A room as it lives: who holds what, what is written, and forms to write and to compare.

import { append } from "../dom.js";
import { board } from "./board.js";
import { compareForm } from "./digests.js";
import { feed } from "./feed.js";
import { roomFrame } from "./frame.js";
import { writeForm } from "./write.js";

/** @param {HTMLElement} main @returns {() => void} ends it */
export function room(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    const parts = [board(record, session), feed(record, session), compareForm(record, session)];
    const [who, lines, compare] = parts.map((part) => part.element);
    append(content, [who, writeForm(record, session), lines, compare]);
    return parts.map((part) => part.end);
  });
}
