// One op: its bytes, its head, its parents, and what this browser found when it checked them now.

import { canonical } from "../../crdt/json.js";
import { checkAlone, checkParents } from "../checks.js";
import { append, el, replace } from "../dom.js";
import { PLAIN } from "../plain.js";
import * as relay from "../relay.js";
import { roomLink } from "../route.js";
import { short } from "../text.js";
import { bytes } from "./bytes.js";
import { checkList } from "./checks.js";
import { author, picture } from "./digest.js";
import { roomFrame } from "./frame.js";
import { safe } from "./safe.js";
import { status } from "./status.js";
import { body, row, table } from "./table.js";
import { time } from "./time.js";

/** @param {HTMLElement} main @returns {() => void} ends it */
export function op(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    let shown = "nothing";
    const draw = () => {
      const held = record.room.log.op(route.op) !== undefined;
      // The relayer is asked for an op only when it says that it has told all.
      const state = held ? "held" : record.agreedOn === null ? "waiting" : "asked";
      if (state === shown || shown === "held") return;
      shown = state;
      if (state === "waiting") replace(content, el("p", { class: "note" }, "Waiting for the op …"));
      else show(content, record, route.op, session.author);
    };
    draw();
    return [session.listen(draw)];
  });
}

/** An op that this browser refused. @param {HTMLElement} main @returns {() => void} ends it */
export function refusedOp(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    const refused = record.refused[route.number - 1];
    if (refused) showRefused(content, record, refused);
    else replace(content, el("p", {}, "No op with this number was refused here."));
    return [];
  });
}

async function show(content, record, id, own) {
  const { log } = record.room;
  let text = log.op(id)?.envelope();
  const held = text !== undefined;
  try {
    text ??= await relay.envelope(record.room.id, id);
  } catch (error) {
    if (!(error instanceof relay.RelayError)) throw error;
    replace(content, status("bad", "This op is not here, and the relayer does not give it: ", safe(error.message, 200)));
    return;
  }
  const { checks, op } = await checkAlone(text);
  const other = op && op.id !== id;
  const all = other ? [{ name: "Asked for", verdict: "bad", words: `the relayer gave another op: ${op.id}`, code: "id" }, ...checks] : checks;
  const found = [...all, checkParents(op, log)];
  const forked = op && record.forked.has(op.id);
  replace(content, [
    el("section", { class: "card" }, el("h2", {}, "Op ", el("code", { class: "long" }, id)),
      held ? null : el("p", {}, status("warn", "This op is not in the log of this browser: the relayer was asked for it now.")),
      forked ? el("p", {}, status("bad", "Its author signed another op at the same place of its chain. ", el("a", { href: roomLink(record.room.name, "evidence") }, "See the evidence"))) : null,
      el("p", { class: "lead" }, "Verified in this browser, now:"), checkList(found)),
    ...(op ? details(op, log, record.room.name, own) : []),
    el("section", { class: "card" }, el("h2", {}, "Canonical bytes"), bytes(`${id.slice(0, 16)}.op`, text, "Download this op")),
  ]);
}

async function showRefused(content, record, { code, id, text }) {
  const { log } = record.room;
  const checked = text === null ? null : await checkAlone(text);
  const list = checked && !checked.code ? [...checked.checks, checkParents(checked.op, log)] : checked?.checks;
  append(content, [
    el("section", { class: "card refused" }, el("h2", {}, status("bad", `Refused by rule ${code}`)),
      el("p", {}, "The relayer sent this op, and this browser did not take it. It is not in the log; what it says is not to be believed."),
      el("p", {}, el("strong", {}, PLAIN[code] ?? "")),
      id ? el("p", {}, "It calls itself ", el("code", { class: "long" }, id)) : null,
      list ? checkList(list) : null),
    text === null ? null : el("section", { class: "card" }, el("h2", {}, "What was sent"), bytes(`refused-${code}.op`, text)),
  ]);
}

function details(op, log, room, own) {
  const { head } = op;
  const members = body();
  append(members, Object.keys(head).sort().map((name) => row([["Member", el("code", {}, name)], ["Value", member(name, head[name], own)]])));
  append(members, [row([["Member", el("code", {}, "sig")], ["Value", el("code", { class: "long" }, op.sig)]])]);
  const values = op.head.kind === "entry" ? op.entries : [op.data];
  return [
    el("section", { class: "card" }, el("h2", {}, "What it says"), el("ol", { class: "entries", start: 0 }, values.map((value) => el("li", {}, safe(typeof value === "string" ? value : canonical(value), 4_000))))),
    el("section", { class: "card" }, el("h2", {}, "Parents"), parents(op, log, room)),
    el("section", { class: "card" }, el("h2", {}, "Head and signature"), table("What the author signed", ["Member", "Value"], members)),
  ];
}

function member(name, value, own) {
  if (name === "author") return [picture(value, true), " ", el("code", { class: "long" }, value), value === own ? el("span", { class: "you" }, "you") : null];
  if (name === "ts") return [el("code", {}, String(value)), " ", el("span", { class: "note" }, time(value), ", as the author claims")];
  return el("code", { class: "long" }, canonical(value));
}

function parents({ head }, log, room) {
  const named = [...(head.prev === null ? [] : [["prev", head.prev]]), ...head.preds.map((id) => ["pred", id]), ...head.refs.map((id) => ["ref", id])];
  if (named.length === 0) return el("p", {}, "None: it is the first of its author, who knew no other.");
  return el("ul", { class: "parents" }, named.map(([kind, id]) => el("li", {},
    el("code", { class: "kind" }, kind), " ", el("a", { href: roomLink(room, "op", id) }, el("code", {}, short(id))), " ",
    log.op(id) ? [author(log.op(id).head.author), " ", status("good", "checked here")] : status("warn", "not here"))));
}
