// What every view of a room has: its name, its parts, and what this browser holds of it.

import { el, replace } from "../dom.js";
import { roomLink, roomTitle } from "../route.js";
import { counted } from "../text.js";
import { digest } from "./digest.js";
import { safe } from "./safe.js";
import { status } from "./status.js";

const TABS = [["room", "Live"], ["graph", "Graph"], ["evidence", "Evidence"], ["verify", "Verify all"]];

/**
 * @param {HTMLElement} main
 * @param {{ room: string, view: string }} route
 * @param {import("../session.js").Session} session
 * @param {(content: HTMLElement, record: import("../record.js").RoomRecord) => (() => void)[]} fill called once
 *   when the room is open; gives what ends it
 * @returns {() => void} ends it
 */
export function roomFrame(main, { room, view }, session, fill) {
  const state = el("div", { class: "room-state" });
  const content = el("div", { class: "content" }, el("p", { class: "note" }, "Opening the room …"));
  const tabs = TABS.map(([tab, words]) => el("a", { href: tab === "room" ? roomLink(room) : roomLink(room, tab), "aria-current": tab === view ? "page" : null }, words));
  replace(main,
    el("header", { class: "title" }, el("p", { class: "crumb" }, el("a", { href: "#/" }, "Rooms"), " / "), el("h1", {}, roomTitle(room))),
    state, el("nav", { class: "tabs", "aria-label": "Parts of the room" }, tabs), content);
  let ending = [];
  let ended = false;
  session.open(room).then((record) => {
    if (ended) return;
    replace(content);
    const show = () => replace(state, summary(record, session));
    show();
    ending = [session.listen(show), ...fill(content, record)];
  }, (error) => replace(content, status("bad", "The room cannot be opened: ", safe(error.message, 300))));
  return () => {
    ended = true;
    for (const end of ending) end();
  };
}

/** What this browser found, in one line or two. */
function summary(record, session) {
  const { log } = record.room;
  const parts = [el("span", { class: "figure" }, counted(log.size, "op"), " checked here"), digest(log.set)];
  const same = record.agreedOn === log.set;
  if (session.state !== "connected") parts.push(status("warn", session.state === "failed" ? "stopped: " : "not connected: ", safe(session.why || "connecting", 100)));
  else if (same) parts.push(status("good", "the relayer announces the same set"));
  else parts.push(status("open", "the relayer has not announced this set"));
  if (record.refusedCount > 0) parts.push(status("bad", counted(record.refusedCount, "op was", "ops were"), " refused here"));
  if (log.parked.length > 0) parts.push(status("warn", counted(log.parked.length, "op waits", "ops wait"), " for ops that did not come"));
  if (record.withheld.size > 0) parts.push(status("bad", "the relayer named ", counted(record.withheld.size, "op"), " and does not send ", record.withheld.size === 1 ? "it" : "them"));
  const { forks } = record;
  if (forks > 0) parts.push(status("bad", el("a", { href: roomLink(record.room.name, "evidence") }, counted(forks, "equivocation"))));
  return parts;
}
