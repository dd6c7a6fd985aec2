// Transactions as they come, newest first, and the ops that were refused. Only the rows that are seen
// are in the document.

import { canonical } from "../../crdt/json.js";
import { RULES } from "../../crdt/rejection.js";
import { el, replace } from "../dom.js";
import { roomLink } from "../route.js";
import { beginning, counted } from "../text.js";
import { visibleRows } from "../window.js";
import { author } from "./digest.js";
import { safe } from "./safe.js";
import { status } from "./status.js";
import { time } from "./time.js";

/** Pixels; the style sheet says the same. */
const ROW = 56;
const LETTERS = 160;

/**
 * @param {import("../record.js").RoomRecord} record
 * @param {import("../session.js").Session} session
 * @returns {{ element: HTMLElement, end: () => void }}
 */
export function feed(record, session) {
  const before = el("tr", { "aria-hidden": "true", class: "gap" }, el("td", { colspan: 4 }));
  const after = el("tr", { "aria-hidden": "true", class: "gap" }, el("td", { colspan: 4 }));
  const rows = el("tbody");
  const columns = ["Checked", "Author", "Transaction", "Time it claims"];
  const grid = el("table", { class: "feed" }, el("caption", { class: "unseen" }, "Transactions, newest first"),
    el("thead", { class: "unseen" }, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)))), rows);
  const scroller = el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Transactions, newest first" }, grid);
  const count = el("p", { class: "note" });
  let [total, drawn] = [0, ""];
  const draw = () => {
    const seen = visibleRows({ total, row: ROW, top: scroller.scrollTop, height: scroller.clientHeight });
    const state = `${total} ${seen.first} ${seen.end} ${record.forked.size}`;
    if (state === drawn) return;
    drawn = state;
    const shown = [];
    for (let at = seen.first; at < seen.end; at += 1) shown.push(line(record, total - 1 - at, session.author));
    before.firstChild.style.setProperty("height", `${seen.before}px`);
    after.firstChild.style.setProperty("height", `${seen.after}px`);
    replace(rows, before, shown, after);
  };
  const update = () => {
    const grown = record.rows.length - total;
    total = record.rows.length;
    grid.setAttribute("aria-rowcount", String(total));
    // What is being read stays where it is.
    if (scroller.scrollTop > 0 && grown > 0) scroller.scrollTop += grown * ROW;
    scroller.hidden = total === 0;
    replace(count, total === 0 ? "Nothing was written here yet." : counted(total, "line"));
    draw();
  };
  scroller.addEventListener("scroll", draw, { passive: true });
  const resized = new ResizeObserver(draw);
  resized.observe(scroller);
  const unlisten = session.listen(update);
  update();
  const element = el("section", { class: "card", "aria-label": "Feed" }, el("header", { class: "split" }, el("h2", {}, "Transactions"), count), scroller);
  return {
    element,
    end: () => {
      unlisten();
      resized.disconnect();
    },
  };
}

function line(record, at, own) {
  const entry = record.rows[at];
  return entry.refused ? refusedLine(record, at, entry.refused) : admittedLine(record, at, entry, own);
}

function admittedLine(record, at, { op, index }, own) {
  const isFork = record.forked.has(op.id);
  const text = index < 0 ? `(${op.head.kind}) ${canonical(op.data)}` : shown(op.entries[index]);
  return el("tr", { class: isFork ? "line forked" : "line", "data-op": op.id, "aria-rowindex": at + 1 },
    el("td", { class: "mark" }, isFork ? status("bad", "equivocation") : status("good", "checked")),
    el("td", { class: "who" }, author(op.head.author, own)),
    el("td", { class: "what" }, el("a", { href: roomLink(record.room.name, "op", op.id) }, safe(text, LETTERS))),
    el("td", { class: "when" }, time(op.head.ts)));
}

function refusedLine(record, at, refused) {
  const { code, id, number, text } = refused;
  const what = text === null ? `op ${id ?? "without an id"}` : beginning(text, LETTERS).text;
  return el("tr", { class: "line refused", "data-refused": code, "aria-rowindex": at + 1 },
    el("td", { class: "mark" }, status("bad", "refused: ", el("strong", {}, code))),
    el("td", { class: "who" }, el("span", { class: "rule" }, RULES[code] ?? code)),
    el("td", { class: "what" }, el("a", { href: roomLink(record.room.name, "refused", String(number)) }, safe(what, LETTERS))),
    el("td", { class: "when" }, "not in the log"));
}

/** A transaction in a line: a text as it is, anything else as JSON. */
function shown(value) {
  return typeof value === "string" ? value : canonical(value);
}
