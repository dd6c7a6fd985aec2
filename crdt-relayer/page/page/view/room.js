// A room as it lives: who holds what, what is written, and a form to write.

import { append } from "../dom.js";
import { board } from "./board.js";
import { feed } from "./feed.js";
import { roomFrame } from "./frame.js";
import { writeForm } from "./write.js";

/** @param {HTMLElement} main @returns {() => void} ends it */
export function room(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    const parts = [board(record, session), feed(record, session)];
    append(content, [parts[0].element, writeForm(record, session), parts[1].element]);
    return parts.map((part) => part.end);
  });
}
