// Files dropped here are verified here. Nothing is uploaded.

import { append, el, replace } from "../dom.js";
import { card } from "./evidence.js";
import { safe } from "./safe.js";
import { run } from "./verify.js";

/** Evidence is shown side by side besides. */
const EVIDENCE_MAX = 65_536;

/** @param {HTMLElement} main @returns {() => void} ends it */
export function files(main) {
  const results = el("div", { class: "content", "aria-live": "polite" });
  const stops = new Set();
  const take = (list) => {
    for (const file of list) results.prepend(one(file, stops));
  };
  const input = el("input", { type: "file", multiple: true, class: "unseen", id: "file", change: () => take(input.files) });
  const zone = el("label", { class: "drop", for: "file" }, el("strong", {}, "Drop files here"), " or choose them",
    el("span", { class: "note" }, "ops, as crdt-node export writes them, or evidence; they stay on this machine"));
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };
  for (const [name, on] of [["dragenter", true], ["dragover", true], ["dragleave", false]]) zone.addEventListener(name, over(on));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    take(event.dataTransfer.files);
  });
  replace(main, el("header", { class: "title" }, el("h1", {}, "Check a file")), el("p", { class: "lead" }, "An exported log or a piece of evidence, from whomever you have it. It is read and checked in this browser, and nothing of it is sent anywhere."), input, zone, results);
  return () => stops.forEach((stop) => stop());
}

function one(file, stops) {
  const place = el("div", { class: "outcome", role: "status" });
  const section = el("section", { class: "card", "data-file": file.name }, el("h2", {}, safe(file.name, 100)), place);
  stops.add(run(file, null, place));
  showEvidence(file, section);
  return section;
}

async function showEvidence(file, section) {
  if (file.size > EVIDENCE_MAX) return;
  const text = await file.text();
  if (text.startsWith('{"evidence"')) append(section, [await card(text, null)]);
}
