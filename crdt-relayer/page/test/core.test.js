// The same verdicts as the core: files with one thing changed, judged here and by `crdt-node verify`.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { verifyExport } from "../crdt.js";
import { folder, verdictOfNode } from "../harness/processes.js";
import { random } from "../harness/random.js";
import { vectors } from "../harness/vectors.js";

/** What crdt-node says of a line, and the code that it stands for. */
const SENTENCES = [
  [/it is there twice/, "twice"],
  [/a dependency does not come before it/, "dependency"],
  [/not UTF-8|not JSON at|nested deeper than \d|number that is no integer|surrogate|duplicate key/, "json"],
  [/field `\w+` contradicts/, "head"],
  [/field `\w+` is missing/, "field"],
  [/is larger or nested deeper/, "size"],
  [/unknown protocol version/, "version"],
  [/does not match its hash and length/, "data"],
  [/the id is not the hash/, "id"],
  [/no acceptable public key|not an acceptable Ed25519/, "key"],
  [/signature is not by/, "sig"],
  [/an entry op holds/, "entry"],
  [/belongs to another room/, "room"],
  [/the grant does not/, "grant"],
  [/does not continue its author's chain/, "chain"],
  [/the depth is not/, "depth"],
];

function codeOf({ ok, problems }) {
  if (ok) return "ok";
  const found = SENTENCES.find(([pattern]) => pattern.test(problems[0]));
  assert.ok(found, `a sentence that is not known here: ${problems[0]}`);
  return found[1];
}

async function codeHere(file) {
  try {
    await verifyExport(file);
    return "ok";
  } catch (error) {
    assert.equal(error.name, "ExportError", String(error));
    // crdt-node calls an empty line no JSON.
    return error.code === "empty" ? "json" : error.code;
  }
}

const LETTERS = "0123456789abcdef{}[]\":,.-+eE\\ u\nnulltrue\u00e9\u0000";

/** One change of a file: a letter replaced, put in or taken out, or lines swapped. */
function change(text, below) {
  const at = below(text.length);
  const letter = LETTERS[below(LETTERS.length)];
  const lines = text.split(/(?<=\n)/);
  return [
    () => text.slice(0, at) + letter + text.slice(at + 1),
    () => text.slice(0, at) + letter + text.slice(at),
    () => text.slice(0, at) + text.slice(at + 1),
    () => [lines[below(lines.length)], ...lines].join(""),
    () => text.replace(/[0-9a-f]{64}/, (id) => id.slice(0, 63) + (id[63] === "0" ? "1" : "0")),
    () => text.replace(/"sig":"(.)/, (_, digit) => `"sig":"${digit === "0" ? "1" : "0"}`),
  ][below(6)]();
}

test("a damaged file breaks the same rule here and in crdt-node", { timeout: 170_000 }, async (t) => {
  const { arrivals } = vectors("graphs").cases.find(({ name }) => name === "both branches are merged");
  const good = arrivals.map(({ op }) => `${op}\n`).join("");
  const path = join(folder(t), "file.ops");
  const codes = new Map();
  for (let seed = 0; seed < 200; seed += 1) {
    const file = seed === 0 ? good : change(good, random(seed));
    writeFileSync(path, file);
    const [here, there] = await Promise.all([codeHere(file), verdictOfNode(path).then(codeOf)]);
    assert.equal(here, there, `seed ${seed}`);
    codes.set(here, (codes.get(here) ?? 0) + 1);
  }
  for (const code of ["ok", "json", "field", "id", "data", "sig", "twice"]) assert.ok(codes.has(code), `${code} was met`);
});

test("every single op of the vectors is judged the same by crdt-node", { timeout: 170_000 }, async (t) => {
  const path = join(folder(t), "file.ops");
  // An op that lacks a dependency is parked in a log and an error of a file; another room is no error of one.
  const cases = vectors("ops").cases.filter(({ steps }) => steps.length === 1 && !steps[0].op.includes("\n"));
  let count = 0;
  for (const { name, steps: [{ op }] } of cases) {
    if (op.length > 131_000) continue;
    writeFileSync(path, `${op}\n`);
    assert.equal(await codeHere(`${op}\n`), codeOf(await verdictOfNode(path)), name);
    count += 1;
  }
  assert.ok(count > 100, `${count} cases`);
});
