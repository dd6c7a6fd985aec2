// Starts the page and shows what its address names.

import { el, replace } from "./dom.js";
import { parseRoute } from "./route.js";
import { Session } from "./session.js";
import { evidence } from "./view/evidence.js";
import { files } from "./view/files.js";
import { footer } from "./view/footer.js";
import { graph } from "./view/graph.js";
import { healthStrip } from "./view/health.js";
import { op, refusedOp } from "./view/op.js";
import { overview } from "./view/overview.js";
import { room } from "./view/room.js";
import { verifyAll } from "./view/verify.js";

const VIEWS = { overview, files, room, graph, evidence, op, refused: refusedOp, verify: verifyAll };

const session = new Session();
const main = document.getElementById("main");
let end = () => {};

function unknown(place) {
  replace(place, el("h1", {}, "There is nothing here"), el("p", {}, el("a", { href: "#/" }, "All rooms")));
  return () => {};
}

function show() {
  end();
  const route = parseRoute(location.hash);
  end = (VIEWS[route.view] ?? unknown)(main, route, session);
  for (const link of document.querySelectorAll("header nav a")) {
    const current = link.hash === (route.view === "files" ? "#/files" : "#/");
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = [main.querySelector("h1")?.textContent, "relayer"].filter(Boolean).join(" · ");
}

addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address is the page's own.
  event.preventDefault();
  main.focus();
});
healthStrip(document.getElementById("health"), session);
footer(document.getElementById("footer"));
show();
document.documentElement.dataset.started = "";
