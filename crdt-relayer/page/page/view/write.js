// Writing with a key that was made for this visit and ends with it.

import { JsonError, parse } from "../../crdt/json.js";
import { AppendError } from "../../crdt/author.js";
import { el, replace } from "../dom.js";
import { author } from "./digest.js";
import { safe } from "./safe.js";
import { status } from "./status.js";

/** What begins like JSON is JSON; anything else is a text. */
function valueOf(text) {
  return /^\s*[[{"]/.test(text) ? parse(text) : text;
}

/**
 * @param {import("../record.js").RoomRecord} record
 * @param {import("../session.js").Session} session
 */
export function writeForm(record, session) {
  const heading = el("h2", {}, "Write");
  if (!session.author) {
    return el("section", { class: "card write" }, heading, el("p", {}, status("warn", "This browser cannot sign: ", safe(session.noKey, 200))));
  }
  const said = el("p", { class: "note", role: "status" });
  const input = el("input", { name: "entry", required: true, maxlength: 16_000, autocomplete: "off", placeholder: "a sentence, or {\"type\":\"pay\",…}" });
  const submit = async (event) => {
    event.preventDefault();
    try {
      const value = valueOf(input.value);
      input.value = "";
      replace(said, "Signed; waiting for the relayer to say that it is stored …");
      await record.room.append(value);
      replace(said, status("good", "the relayer says that it is stored"));
    } catch (error) {
      if (!(error instanceof AppendError || error instanceof JsonError)) throw error;
      replace(said, status("bad", "not written: ", safe(error.message, 300)));
    }
  };
  return el("section", { class: "card write" }, el("header", { class: "split" }, heading, el("p", { class: "note" }, "as ", author(session.author))),
    el("form", { class: "row-form", submit }, el("label", { class: "grow" }, el("span", { class: "unseen" }, "Transaction "), input), el("button", { type: "submit" }, "Sign and send")),
    el("p", { class: "note" }, "The key was made for this visit. It is gone when the page is closed or loaded again."), said);
}
