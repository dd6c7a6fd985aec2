// The list of what this browser checked of an op.

import { el } from "../dom.js";
import { status } from "./status.js";

/** @param {import("../checks.js").Check[]} checks */
export function checkList(checks) {
  return el("dl", { class: "checks" }, checks.map(({ name, verdict, words, code }) => el("div", { class: `check ${verdict}`, "data-check": name, "data-verdict": verdict },
    el("dt", {}, name),
    el("dd", {}, status(verdict, code ? el("strong", {}, `rule ${code}: `) : null, words)))));
}
