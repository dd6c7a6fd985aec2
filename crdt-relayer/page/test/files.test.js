// Exported files and evidence files.

import assert from "node:assert/strict";
import { test } from "node:test";

import { exportLines, Log, roomId, SecretKey, signOp, verifyEvidence, verifyExport, writeEvidence } from "../crdt.js";
import { vectors } from "../harness/vectors.js";

const ROOM = roomId("main");
const draft = { room: ROOM, seq: 0, prev: null, depth: 1, ts: 1 };

/** Ops of a case, dependencies first. */
async function file(name) {
  const log = new Log(ROOM);
  for (const { op } of vectors("graphs").cases.find((one) => one.name === name).arrivals) await log.receive(op);
  return { log, lines: [...exportLines(log)] };
}

test("an exported file gives the log it was made of", async () => {
  const { log, lines } = await file("both branches are merged");
  const { ops, rooms, verifiedBy } = await verifyExport(lines.join(""));
  assert.equal(ops, log.size);
  assert.equal(verifiedBy, "webcrypto");
  assert.equal(rooms.get(ROOM).set, log.set);
  assert.equal(rooms.get(ROOM).log, log.log);
  assert.equal(rooms.get(ROOM).equivocations.length, 1);
});

test("a file in pieces of any size is read like one piece", async () => {
  const { log, lines } = await file("a chain of three");
  const bytes = new TextEncoder().encode(lines.join(""));
  for (const size of [1, 7, 611, 612, 613, 10_000]) {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    assert.equal((await verifyExport(pieces)).rooms.get(ROOM).set, log.set);
  }
});

test("the line feed of the last line may be missing", async () => {
  const { lines } = await file("a chain of three");
  assert.equal((await verifyExport(lines.join("").slice(0, -1))).ops, 3);
});

test("what is wrong with a file is named with its line", async () => {
  const { lines } = await file("a chain of three");
  const [a, b, c] = lines;
  const damaged = b.replace(/"sig":"(.)/, (_, digit) => `"sig":"${digit === "0" ? "1" : "0"}`);
  const long = `${" ".repeat(131_072)}\n`;
  const cases = [
    ["", 0, "empty"],
    ["\n", 1, "empty"],
    [a + "\n" + b, 2, "empty"],
    [a + a, 2, "twice"],
    [a + c + b, 2, "dependency"],
    [a + damaged + c, 2, "sig"],
    [a + "{}\n", 2, "field"],
    [a + "nonsense\n", 2, "json"],
    [a + long, 2, "line"],
    [a + " ".repeat(131_073), 2, "line"],
    [a + " ".repeat(131_072), 2, "json"],
    [a + b.slice(0, -2), 2, "json"],
    [`\ufeff${a}`, 1, "json"],
  ];
  for (const [text, line, code] of cases) await assert.rejects(verifyExport(text), { name: "ExportError", line, code });
});

test("ops of several rooms are a log each", async () => {
  const key = await SecretKey.generate();
  const ops = await Promise.all(["main", "other"].map((name) => signOp({ ...draft, room: roomId(name), data: [1] }, key)));
  const { rooms } = await verifyExport(ops.map((op) => `${op.envelope()}\n`).join(""));
  assert.deepEqual([...rooms.keys()], [ROOM, roomId("other")]);
});

async function fork() {
  const key = await SecretKey.generate();
  const [a, b] = [await signOp({ ...draft, data: [1] }, key), await signOp({ ...draft, data: [2] }, key)];
  return { key, a, b, text: writeEvidence(a, b) };
}

test("evidence proves the fork that the log itself shows", async () => {
  const { key, a, b, text } = await fork();
  const log = new Log(ROOM);
  log.insert(b);
  log.insert(a);
  const [{ id, ops }] = log.equivocations;
  const proved = await verifyEvidence(text);
  assert.deepEqual([proved.id, proved.ops, proved.author, proved.seq], [id, ops, key.author, 0]);
  assert.equal(writeEvidence(b, a), text);
  assert.equal((await verifyEvidence(text.trimEnd())).id, id);
});

test("one changed character of an evidence file is enough to fail", async () => {
  const { text } = await fork();
  for (let at = 0; at < text.length; at += 1) {
    for (const letter of [text[at] === "0" ? "1" : "0", " "]) {
      await assert.rejects(verifyEvidence(text.slice(0, at) + letter + text.slice(at + 1)), { name: "EvidenceError" }, `at ${at}`);
    }
  }
});

test("evidence that proves nothing is refused with the reason", async () => {
  const { key, a, text } = await fork();
  const other = await signOp({ ...draft, data: [3] }, await SecretKey.generate());
  const next = await signOp({ ...draft, seq: 1, prev: a.id, depth: 2, data: [3] }, key);
  assert.throws(() => writeEvidence(a, a), { code: "consistent" });
  assert.throws(() => writeEvidence(a, other), { code: "consistent" });
  assert.throws(() => writeEvidence(a, next), { code: "consistent" });
  const { evidence } = JSON.parse(text);
  const swapped = `{"evidence":[${[...evidence].reverse().map((one) => JSON.stringify(one)).join(",")}]}`;
  const cases = [
    [swapped, "consistent"],
    [`${text}\n`, "spelling"],
    [` ${text}`, "spelling"],
    ["", "json"],
    ["{}", "head"],
    ['{"evidence":[]}', "head"],
    ["[".repeat(100_000), "json"],
  ];
  for (const [file, code] of cases) await assert.rejects(verifyEvidence(file), { code }, file.slice(0, 40));
});
