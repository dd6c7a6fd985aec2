// What a browser loads.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const PAGE = new URL("../", import.meta.url);
/** For Node alone: loaded on demand, or by who asks for it. */
const OF_NODE = new Set(["crdt/node-websocket.js", "crdt/file-store.js"]);

function imports(path) {
  const text = readFileSync(new URL(path, PAGE), "utf8");
  return [...text.matchAll(/^(?:import|export) [^;=()]*"([^"]+)";$/gm)].map(([, from]) => from);
}

test("nothing that a browser loads needs Node, a package or another server", () => {
  const loaded = new Set(["crdt.js"]);
  for (const path of loaded) {
    for (const from of imports(path)) {
      assert.match(from, /^\.\.?\//, `${path} imports ${from}`);
      loaded.add(new URL(from, new URL(path, "file:///")).pathname.slice(1));
    }
  }
  for (const path of OF_NODE) assert.ok(!loaded.has(path), path);
  assert.ok(loaded.size > 20, "the whole module was looked at");
  const there = readdirSync(new URL("crdt/", PAGE)).map((name) => `crdt/${name}`);
  assert.deepEqual(there.filter((path) => !loaded.has(path) && !OF_NODE.has(path)), []);
});

test("no file is longer than 400 lines", () => {
  for (const name of readdirSync(new URL("crdt/", PAGE))) {
    const lines = readFileSync(new URL(`crdt/${name}`, PAGE), "utf8").split("\n").length - 1;
    assert.ok(lines <= 400, `${name} has ${lines} lines`);
  }
});
