// A digest from elsewhere, compared with what this browser holds: the way to notice that something is
// kept back.

import { isHex } from "../../crdt/bytes.js";
import { el, replace } from "../dom.js";
import { roomTitle } from "../route.js";
import { digest } from "./digest.js";
import { status } from "./status.js";

/**
 * @param {import("../record.js").RoomRecord} record
 * @param {import("../session.js").Session} session
 * @returns {{ element: HTMLElement, end: () => void }}
 */
export function compareForm(record, session) {
  const own = el("p", { class: "own-set" });
  let shown = "";
  const show = () => {
    const { set } = record.room.log;
    if (set !== shown) replace(own, "Set here ", digest(set, { full: true }));
    shown = set;
  };
  show();
  const said = el("p", { role: "status" });
  const name = roomTitle(record.room.name);
  const input = el("input", { name: "digest", required: true, maxlength: 80, autocomplete: "off", spellcheck: "false", placeholder: "64 digits" });
  const submit = (event) => {
    event.preventDefault();
    replace(said, verdict(record, input.value.trim().toLowerCase()));
  };
  const element = el("section", { class: "card compare" }, el("h2", {}, "Compare with elsewhere"), own,
    el("form", { class: "row-form", submit }, el("label", { class: "grow" }, "Set or log digest of ", el("strong", {}, name), ", from another relayer or from ", el("code", {}, "crdt-node status"), " ", input), el("button", { type: "submit" }, "Compare")), said);
  return { element, end: session.listen(show) };
}

function verdict(record, given) {
  if (!isHex(given, 64)) return status("warn", "a digest has 64 digits of 0-9 and a-f");
  const { log } = record.room;
  if (given === log.set) return status("good", "the same set of ops");
  const whole = log.log;
  if (given === whole) return status("good", "the same log");
  if (record.headsOf(given) !== null) return status("warn", "a set that this browser held earlier: who gave it to you lacks ops, or had not got them yet");
  return [status("bad", "not what this browser holds: one of the two lacks ops."), " The log here is ", digest(whole, { full: true })];
}
