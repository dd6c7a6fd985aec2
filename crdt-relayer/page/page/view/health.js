// The strip on top: does the relayer live, does it take ops, and how this browser checks.

import { el, replace } from "../dom.js";
import * as relay from "../relay.js";
import { safe } from "./safe.js";
import { status } from "./status.js";

const EVERY_MS = 5_000;

/** @param {HTMLElement} place @param {import("../session.js").Session} session */
export function healthStrip(place, session) {
  const said = el("span", { role: "status" }, "…");
  const connection = el("span", { role: "status" });
  const arithmetic = el("span");
  replace(place, said, connection, arithmetic);
  const showConnection = () => replace(connection, connectionWords(session));
  showConnection();
  session.listen(showConnection);
  session.verifiedBy.then((by) => replace(arithmetic, arithmeticWords(by)));
  return relay.repeat(async () => {
    const { lives, ready, why } = await relay.health();
    if (lives && ready) replace(said, status("good", "relayer ready"));
    else replace(said, status("bad", lives ? "relayer takes no ops: " : "relayer is away: ", safe(why, 120)));
  }, EVERY_MS);
}

function connectionWords({ state, why }) {
  if (state === "connected") return status("good", "connected");
  if (state === "idle") return "";
  if (state === "connecting") return status("open", "connecting");
  return status("bad", state === "failed" ? "stopped: " : "connection lost: ", safe(why, 80));
}

function arithmeticWords(by) {
  if (by === "webcrypto") return status("good", "signatures: WebCrypto");
  const why = globalThis.isSecureContext ? "WebCrypto has no strict Ed25519 here" : "this page was not loaded securely";
  return status("warn", `signatures: bundled arithmetic, as ${why}; the verdicts are the same, slower`);
}
