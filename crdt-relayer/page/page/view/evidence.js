// Who signed two ops at one place of its chain: both side by side, checked here.

import { canonical, parse } from "../../crdt/json.js";
import { EvidenceError, verifyEvidence, writeEvidence } from "../../crdt/evidence.js";
import { compare } from "../compare.js";
import { append, el, replace } from "../dom.js";
import { download } from "../download.js";
import * as relay from "../relay.js";
import { roomLink } from "../route.js";
import { counted, short } from "../text.js";
import { author } from "./digest.js";
import { roomFrame } from "./frame.js";
import { safe } from "./safe.js";
import { status } from "./status.js";
import { body, row, table } from "./table.js";

/** Side by side at most; the others are counted. */
const SHOWN = 50;

/** @param {HTMLElement} main @returns {() => void} ends it */
export function evidence(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    const intro = el("p", { class: "lead" }, "An honest author signs one op after another. Two different ops after the same one, both with a good signature, prove to anybody that the author lies: no relayer can make them up.");
    const own = el("div");
    const told = el("div");
    append(content, [intro, own, told]);
    let [drawn, items] = ["", []];
    const draw = async () => {
      const { log } = record.room;
      const state = `${record.forks} ${record.forked.size} ${items.length}`;
      if (state === drawn) return;
      drawn = state;
      const found = await Promise.all([ownCards(log, route.room), toldCards(log, items, route.room)]);
      // Meanwhile there may be more.
      if (state === drawn) [own, told].forEach((place, at) => replace(place, found[at]));
    };
    draw();
    relay.evidence(record.room.id).then((answer) => {
      items = answer.evidence;
      draw();
    }, (error) => {
      if (error.code !== "room") append(content, [el("p", {}, status("warn", "The relayer does not tell its evidence: ", safe(error.message, 200)))]);
    });
    return [session.listen(draw)];
  });
}

async function ownCards(log, room) {
  const found = log.equivocations;
  const cards = await Promise.all(found.slice(0, SHOWN).map(async (fork) => {
    const [a, b] = fork.ops.map((id) => log.op(id));
    return card(writeEvidence(a, b), room, [a.data, b.data]);
  }));
  const words = found.length === 0
    ? status("good", "in what this browser holds no author signed two ops at one place")
    : status("bad", counted(found.length, "equivocation"), " in what this browser holds");
  const more = found.length > SHOWN ? el("p", { class: "note" }, `and ${(found.length - SHOWN).toLocaleString("en")} more`) : null;
  return [el("p", {}, words), ...cards, more];
}

/** What the relayer has besides. */
async function toldCards(log, items, room) {
  const known = new Set(log.equivocations.map(({ id }) => id));
  const others = items.filter(({ id }) => !known.has(id));
  const cards = await Promise.all(others.slice(0, SHOWN).map(({ file }) => card(file, room)));
  return cards.length === 0 ? [] : [el("h2", {}, "The relayer has more"), ...cards];
}

/**
 * One piece of evidence, checked from its bytes.
 * @param {string} file
 * @param {string | null} room for links, if the ops are in a room that is open
 * @param {unknown[]} [data] of both, if known
 */
export async function card(file, room, data) {
  let proved;
  try {
    proved = await verifyEvidence(file);
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error;
    return el("section", { class: "card refused" }, el("h3", {}, status("bad", "This proves nothing: ", safe(error.message, 300))), el("pre", { class: "bytes" }, safe(file, 4_000)));
  }
  const [a, b] = parse(file, 8).evidence;
  const op = (id) => (room === null ? el("code", {}, short(id)) : el("a", { href: roomLink(room, "op", id) }, el("code", {}, short(id))));
  const rows = body();
  const members = [["id", canonical(a.id), canonical(b.id), true], ...compare(a.head, b.head).map(({ name, a, b, differs }) => [name, a, b, differs]), ["sig", canonical(a.sig), canonical(b.sig), a.sig !== b.sig]];
  if (data) members.push(["data", ...data.map((one) => canonical(one)), canonical(data[0]) !== canonical(data[1])]);
  append(rows, members.map(([name, left, right, differs]) => row([
    ["Member", el("code", {}, name)],
    ["First", value(left, differs)],
    ["Second", value(right, differs)],
    ["", differs ? status("bad", "differs") : el("span", { class: "note" }, "same")],
  ], { class: differs ? "differs" : null })));
  return el("section", { class: "card", "data-evidence": proved.id },
    el("h3", {}, author(proved.author), ` signed two ops as number ${proved.seq.toLocaleString("en")} of its chain`),
    el("p", {}, status("good", "both hashes and both signatures were checked in this browser:"), " ", op(proved.ops[0]), " and ", op(proved.ops[1])),
    table("Both ops side by side", ["Member", "First", "Second", ""], rows),
    el("button", { type: "button", click: () => download(`evidence-${proved.id.slice(0, 12)}.json`, file) }, "Download the evidence"),
    el("p", { class: "note" }, "Anybody can check it: ", el("code", {}, `crdt-node verify evidence-${proved.id.slice(0, 12)}.json`)));
}

function value(text, differs) {
  const content = safe(text, 400);
  return differs ? el("mark", {}, content) : content;
}
