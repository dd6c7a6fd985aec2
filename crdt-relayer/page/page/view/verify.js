// Checking everything again from the bytes, and what came out.

import { exportLines } from "../../crdt/export.js";
import { el, replace, setText } from "../dom.js";
import { download } from "../download.js";
import { counted } from "../text.js";
import { verify } from "../verify.js";
import { digest } from "./digest.js";
import { roomFrame } from "./frame.js";
import { safe } from "./safe.js";
import { status } from "./status.js";
import { body, row, table } from "./table.js";

/** @param {HTMLElement} main @returns {() => void} ends it */
export function verifyAll(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    let stop = () => {};
    const place = el("div", { class: "outcome", role: "status" });
    const start = el("button", { type: "button", class: "primary" });
    let running = false;
    const label = () => {
      setText(start, `Verify ${counted(record.room.log.size, "op")} again`);
      start.disabled = running || record.room.log.size === 0;
    };
    label();
    const file = () => [...exportLines(record.room.log)];
    start.addEventListener("click", () => {
      running = true;
      label();
      stop = run(new Blob(file()), record.room.log.size, place, () => {
        running = false;
        label();
      });
    });
    replace(content, el("section", { class: "card" }, el("h2", {}, "Verify all"),
      el("p", { class: "lead" }, "Writes down every op that this browser holds, and checks the file from its first byte as a node would that has never seen it: each hash, signature, link and rule. Nothing is asked of the relayer."),
      el("p", { class: "actions" }, start, " ", el("button", { type: "button", click: () => download(`${route.room.replace(":", "-")}.ops`, file()) }, "Download the ops")),
      el("p", { class: "note" }, "The same numbers come from ", el("code", {}, `crdt-node verify ${route.room.replace(":", "-")}.ops --json`)), place));
    return [session.listen(label), () => stop()];
  });
}

/**
 * Verifies a file and shows how far it came and what came out.
 * @param {Blob} file
 * @param {number | null} all how many ops it has, if known
 * @param {HTMLElement} place
 * @param {() => void} [finished]
 * @returns {() => void} stops it
 */
export function run(file, all, place, finished = () => {}) {
  const bar = el("progress", all === null ? {} : { max: all, value: 0 });
  const words = el("span", { class: "figure" }, "Checking …");
  // A screen reader waits for the end.
  place.setAttribute("aria-busy", "true");
  replace(place, el("p", { class: "progress" }, bar, " ", words));
  const { result, stop } = verify(file, (ops) => {
    if (all !== null) bar.value = ops;
    words.textContent = all === null ? counted(ops, "op") : `${ops.toLocaleString("en")} of ${counted(all, "op")}`;
  });
  result.then((found) => replace(place, outcome(found)), (error) => replace(place, status("bad", "It could not be verified: ", safe(error.message, 300)))).finally(() => {
    place.removeAttribute("aria-busy");
    finished();
  });
  return stop;
}

function outcome({ report, rooms, verifiedBy, more, where }) {
  const { ok, ops, hashes, signatures, links, equivocations, problems, proved } = report;
  const figures = [["Ops", ops], ["Hashes", hashes], ["Signatures", signatures], ["Links", links], ["Equivocations", equivocations]];
  const rows = body();
  replace(rows, rooms.map(({ room, ops: held, set, log }) => row([["Room", digest(room)], ["Ops", held.toLocaleString("en")], ["Set digest", digest(set)], ["Log digest", digest(log)]])));
  return [
    el("p", { class: "verdict", "data-ok": String(ok) }, verdict(report)),
    el("dl", { class: "figures" }, figures.map(([name, count]) => el("div", {}, el("dt", {}, name), el("dd", {}, count.toLocaleString("en"))))),
    problems.length === 0 ? null : el("ul", { class: "problems" }, problems.map((problem) => el("li", {}, status("bad", safe(problem, 400)))), more > 0 ? el("li", {}, `and ${more.toLocaleString("en")} more`) : null),
    rooms.length === 0 ? null : table("What the file holds", ["Room", "Ops", "Set digest", "Log digest"], rows),
    proved ? el("p", {}, "Author ", digest(proved.author), ", number ", proved.seq.toLocaleString("en"), ": ", el("code", { class: "long" }, proved.a), " and ", el("code", { class: "long" }, proved.b)) : null,
    el("details", {}, el("summary", {}, "Report for programs"), el("pre", { class: "bytes report", tabindex: "0" }, safe(JSON.stringify(report)))),
    el("p", { class: "note" }, `Signatures were checked by ${verifiedBy === "webcrypto" ? "WebCrypto" : "the bundled arithmetic"}, ${where === "worker" ? "in a worker" : "in the page itself, as no worker could be started"}.`),
  ];
}

function verdict({ ok, proved, ops, equivocations }) {
  if (!ok) return status("bad", proved === null && ops === 0 ? "nothing holds" : "something does not hold");
  if (proved) return status("good", "it proves that its author signed two different ops at one place");
  if (equivocations > 0) return status("warn", "every op holds, and an author is proved to lie");
  return status("good", "everything holds");
}
