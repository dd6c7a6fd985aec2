// The convergence board: who holds what. A row for this browser, the relayer, and each member.

import { lagOf, standingOf } from "../agreement.js";
import { el, replace } from "../dom.js";
import * as relay from "../relay.js";
import { short } from "../text.js";
import { author, digest } from "./digest.js";
import { safe } from "./safe.js";
import { status } from "./status.js";
import { body, row, table } from "./table.js";

const EVERY_MS = 1_000;
const ROWS_MAX = 200;
/** Between two drawings, while ops come. */
const REST_MS = 200;
const SIGN = { agree: "good", lagging: "warn", diverging: "bad" };
const COLUMNS = ["Who", "Key", "Last heard", "Set", "Heads", "Lag"];

/**
 * @param {import("../record.js").RoomRecord} record
 * @param {import("../session.js").Session} session
 * @returns {{ element: HTMLElement, end: () => void }}
 */
export function board(record, session) {
  const rows = body();
  const note = el("p", { class: "note" });
  let said = null;
  const show = () => {
    const { log } = record.room;
    const members = said?.members ?? [];
    const all = [here(record, session), said && itself(said, log), ...members.slice(0, ROWS_MAX).map((member) => memberRow(member, record, session))];
    replace(rows, all.filter(Boolean));
    if (members.length > ROWS_MAX) replace(note, `and ${members.length - ROWS_MAX} more`);
  };
  const turn = async () => {
    try {
      said = await relay.room(record.room.id);
      replace(note);
    } catch (error) {
      if (!(error instanceof relay.RelayError)) throw error;
      said = null;
      if (error.code === "room") replace(note, "The relayer keeps nothing of this room yet: it begins with its first op.");
      else replace(note, status("bad", "The relayer does not tell who is here: ", safe(error.message, 200)));
    }
    show();
  };
  show();
  let timer = null;
  const soon = () => {
    timer ??= setTimeout(() => {
      timer = null;
      show();
    }, REST_MS);
  };
  const ends = [relay.repeat(turn, EVERY_MS), session.listen(soon), () => clearTimeout(timer)];
  const element = el("section", { class: "card", "aria-label": "Convergence board" }, el("h2", {}, "Who holds what"),
    table("Equal pictures are equal sets. Keys in this table are those the relayer says were proved to it.", COLUMNS, rows), note);
  return { element, end: () => ends.forEach((end) => end()) };
}

function here(record, session) {
  const { log } = record.room;
  return row([
    ["Who", el("strong", {}, "This browser")],
    ["Key", session.author ? author(session.author, session.author) : "none"],
    ["Last heard", "now"],
    ["Set", digest(log.set)],
    ["Heads", log.heads.length.toLocaleString("en")],
    ["Lag", status("good", "checked op by op")],
  ], { "data-member": "browser" });
}

function itself(said, log) {
  const same = said.set === log.set;
  const more = said.ops - log.size;
  const differs = more > 0 ? `says it has ${more.toLocaleString("en")} more` : "another set";
  return row([
    ["Who", el("strong", {}, "This relayer")],
    ["Key", "needs none"],
    ["Last heard", "now"],
    ["Set", digest(said.set)],
    ["Heads", said.heads.length.toLocaleString("en")],
    ["Lag", same ? status("good", "same as here") : status("warn", differs)],
  ], { "data-member": "relayer" });
}

function memberRow(member, record, session) {
  const standing = standingOf(member);
  const own = member.author !== null && member.author === session.author;
  const heads = member.set === null ? null : record.headsOf(member.set);
  const lag = standing === "agree" ? "none" : `${member.state}: ${lagOf(member)}`;
  return row([
    ["Who", safe(member.agent || "unnamed", 64), " ", whose(member, session)],
    ["Key", member.author ? author(member.author, own ? session.author : null) : el("span", { class: "note" }, "not proved")],
    ["Last heard", heard(member.heard)],
    ["Set", member.set ? digest(member.set) : "announced none"],
    ["Heads", heads === null ? el("span", { class: "note" }, "not known here") : heads.toLocaleString("en")],
    ["Lag", status(SIGN[standing] ?? "open", lag)],
  ], { "data-member": member.store ?? "" });
}

function whose({ store }, session) {
  if (store === session.store) return el("span", { class: "you" }, "this browser, as told");
  return el("span", { class: "note" }, store === null ? "" : short(String(store)));
}

function heard(time) {
  if (!time) return el("span", { class: "note" }, "nothing yet");
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1_000));
  if (!Number.isFinite(seconds)) return "";
  const words = seconds < 2 ? "now" : seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
  return el("time", { datetime: time, title: time }, words);
}
