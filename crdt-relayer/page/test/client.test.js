// The client against the real relayer and the real node.

import assert from "node:assert/strict";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Client, createVerifier, exportLines, SecretKey, verifyExport, verifyEvidence, writeEvidence, signOp, roomId } from "../crdt.js";
import { idOfRoom } from "../crdt/hash.js";
import { FileStore } from "../crdt/file-store.js";
import { folder, node, relayer } from "../harness/processes.js";

const DEADLINE = { timeout: 120_000 };

/** A client that is closed after the test, and what happened to it. */
function client(t, url, options = {}) {
  const events = [];
  const waiting = [];
  const one = new Client(url, {
    ...options,
    onEvent: (event) => {
      events.push(event);
      for (const { matches, resolve } of waiting) if (matches(event)) resolve(event);
    },
  });
  t.after(() => one.close());
  const seen = (matches) => new Promise((resolve) => {
    const before = events.find(matches);
    if (before) resolve(before);
    else waiting.push({ matches, resolve });
  });
  return { client: one, events, seen };
}

/** The first entries that fit. */
async function entries(room, count, matches = () => true) {
  const found = [];
  for await (const entry of room.entries()) {
    if (matches(entry)) found.push(entry);
    if (found.length === count) return found;
  }
  throw new Error("the room ended");
}

const plain = (value) => JSON.parse(JSON.stringify(value));

test("entries of a node and of a client appear on the other side, with the same digests", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const alice = await node(t, "alice");
  await alice.call("send", "--relay", url, '{"z":1,"é":"\\u0007"}', "pay bob 12.50 rent", "hello");

  const key = await SecretKey.fromPem(readFileSync(join((await node(t, "js")).home, "key.pem"), "utf8"));
  const { client: me, events } = client(t, url, { key });
  const room = await me.join("main");
  const read = await entries(room, 3);
  assert.deepEqual(plain(read.map(({ value }) => value)), [
    { z: 1, "é": "\u0007" },
    { type: "pay", to: "bob", amount: "12.50", memo: "rent" },
    { type: "note", text: "hello" },
  ]);
  assert.ok(read.every(({ op }) => op.head.author === alice.author && op.verifiedBy === "webcrypto"));

  const [first, second] = await Promise.all([room.append({ type: "note", text: "from js ✓" }), room.append([1])]);
  assert.equal(first.op, second.op);
  assert.deepEqual([first.index, second.index], [0, 1]);
  await room.append("a reference", { refs: [read[0].op.id] });

  await alice.call("sync", url);
  const status = await alice.status();
  const { set, log, ops, heads } = room.digests();
  assert.deepEqual({ set, log, ops, heads }, { set: status.set, log: status.log, ops: status.ops, heads: status.heads });
  const there = (await alice.log()).map(({ op, index, data, author, depth, seq, ts }) => ({ op, index, data, author, depth, seq, ts }));
  const here = [...room.log.entries()].map(({ op, index, value }) => {
    const { author, depth, seq, ts } = op.head;
    return { op: op.id, index, data: plain(value), author, depth, seq, ts };
  });
  assert.deepEqual(here, there);
  assert.deepEqual(events.filter(({ type }) => ["strike", "refused", "peer-error", "withheld"].includes(type)), []);
});

test("a room whose name is not known is joined by its id", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const room = `id:${roomId("nobody-says-its-name")}`;
  const key = await SecretKey.generate();
  const { client: me } = client(t, url, { key });
  await (await me.join(room)).append("first");
  const { client: other, events } = client(t, url);
  const joined = await other.join(room);
  assert.deepEqual(plain((await entries(joined, 1)).map(({ value }) => value)), ["first"]);
  await joined.synced();
  assert.ok(events.filter((event) => event.type === "synced").every((event) => event.room === room));
  assert.throws(() => idOfRoom("id:00"), TypeError);
});

test("an export of the node is verified here, and one of here by the node, byte for byte", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const alice = await node(t, "alice");
  await alice.call("send", "--relay", url, "one", "two");
  const { client: me } = client(t, url, { key: await SecretKey.generate() });
  const room = await me.join("main");
  await room.append({ three: 3 });
  await alice.call("sync", url);
  const file = join(folder(t), "main.ops");
  const theirs = await alice.call("export");
  const ours = [...exportLines(room.log)].join("");
  assert.equal(ours, theirs);
  writeFileSync(file, ours);
  assert.match(await alice.verify(file), /2 ops|3 entries/);
  const { ops, rooms } = await verifyExport(theirs);
  assert.equal(ops, 2);
  assert.equal(rooms.get(room.id).log, room.digests().log);
});

test("evidence written here convinces the node", DEADLINE, async (t) => {
  const key = await SecretKey.generate();
  const draft = { room: roomId("main"), seq: 0, prev: null, depth: 1, ts: 1 };
  const [a, b] = [await signOp({ ...draft, data: [1] }, key), await signOp({ ...draft, data: [2] }, key)];
  const file = join(folder(t), "evidence.json");
  writeFileSync(file, writeEvidence(a, b));
  const alice = await node(t, "alice");
  assert.match(await alice.verify(file), new RegExp(key.author.slice(0, 8)));
  assert.equal((await verifyEvidence(readFileSync(file))).author, key.author);
});

test("two clients see what the other writes, live and in many ops", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const [a, b] = await Promise.all([0, 1].map(async () => client(t, url, { key: await SecretKey.generate() }).client));
  const [inA, inB] = await Promise.all([a.join("ledger"), b.join("ledger")]);
  for (let round = 0; round < 20; round += 1) await Promise.all([inA.append({ a: round }), inB.append({ b: round })]);
  const [fromB, fromA] = await Promise.all([
    entries(inA, 20, ({ op }) => op.head.author === b.author),
    entries(inB, 20, ({ op }) => op.head.author === a.author),
  ]);
  assert.deepEqual(fromB.map(({ value }) => value.b), [...Array(20).keys()]);
  assert.deepEqual(fromA.map(({ value }) => value.a), [...Array(20).keys()]);
  assert.deepEqual(inA.digests(), inB.digests());
  assert.deepEqual(inA.log.equivocations, []);
});

test("more than a window of ops comes through and goes through", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const { client: writer, events } = client(t, url, { key: await SecretKey.generate() });
  const room = await writer.join("big");
  const text = "é".repeat(30_000);
  // 80 ops of 60,000 bytes: more than two windows of 2 MiB.
  await Promise.all(Array.from({ length: 80 }, (_, n) => room.append({ n, text })));
  const { client: reader, events: readerEvents } = client(t, url);
  const copy = await reader.join("big");
  await entries(copy, 80);
  assert.equal(copy.digests().log, room.digests().log);
  for (const { type } of [...events, ...readerEvents]) assert.ok(["connected", "synced"].includes(type), type);
});

test("a relayer that is killed and comes back has everything in the end", DEADLINE, async (t) => {
  const data = folder(t);
  const first = await relayer(t, { data });
  const { client: me, seen } = client(t, first.url, { key: await SecretKey.generate() });
  const room = await me.join("main");
  await room.append(1);
  await first.kill();
  await seen(({ type }) => type === "disconnected");
  const pending = [room.append(2), room.append(3)];
  await relayer(t, { data, port: first.port });
  await Promise.all(pending);
  const { client: other } = client(t, first.url);
  assert.deepEqual((await entries(await other.join("main"), 3)).map(({ value }) => value), [1, 2, 3]);
});

test("a relayer that lost its store, and got another's ops, is given what it lacks", DEADLINE, async (t) => {
  const first = await relayer(t);
  const { client: me, seen } = client(t, first.url, { key: await SecretKey.generate() });
  const room = await me.join("main");
  for (let n = 0; n < 5; n += 1) await room.append(n);
  await first.kill();
  await seen(({ type }) => type === "disconnected");
  const pending = room.append(5);
  await relayer(t, { port: first.port });
  const { client: other } = client(t, first.url, { key: await SecretKey.generate() });
  const copy = await other.join("main");
  await copy.append("other");
  await pending;
  await Promise.all([entries(copy, 7), entries(room, 7)]);
  assert.deepEqual(copy.digests().set, room.digests().set);
});

test("what was written offline and what the relayer holds come together", DEADLINE, async (t) => {
  const { url, port, kill } = await relayer(t);
  await kill();
  const store = await FileStore.open(folder(t));
  const { client: me, events } = client(t, url, { key: await SecretKey.generate(), store, trustStore: true });
  const room = await me.join("main");
  const mine = [];
  for (let n = 0; n < 300; n += 1) {
    // One op each: the next is appended when this one is in the log.
    const added = room.ops({ from: n }).next();
    mine.push(room.append({ mine: n }));
    await added;
  }
  // Others fill the relayer before this client finds it again.
  const data = folder(t);
  const elsewhere = await relayer(t, { data });
  const { client: other } = client(t, elsewhere.url, { key: await SecretKey.generate() });
  const copy = await other.join("main");
  for (let n = 0; n < 200; n += 1) await copy.append({ theirs: n });
  other.close();
  await elsewhere.kill();
  const again = await relayer(t, { data, port });
  await Promise.all(mine);
  const reader = await client(t, again.url).client.join("main");
  await Promise.all([entries(room, 500), entries(reader, 500)]);
  assert.deepEqual(room.digests().set, reader.digests().set);
  assert.deepEqual(events.filter(({ type }) => ["strike", "refused", "peer-error"].includes(type)), []);
});

test("a client with a durable store goes on with its chain after an unclean end", DEADLINE, async (t) => {
  const [{ url }, path, key] = [await relayer(t), folder(t), await SecretKey.generate()];
  const before = client(t, url, { key, store: await FileStore.open(path) }).client;
  const room = await before.join("main");
  await room.append(1);
  const { op } = await room.append(2);
  before.close();
  // What a kill in the middle of a write leaves behind.
  appendFileSync(join(path, `${room.id}.ops`), '{"data":[3],"he');
  const store = await FileStore.open(path);
  const again = await client(t, url, { key, store }).client.join("main");
  assert.equal(again.log.size, 2);
  const { op: next } = await again.append(3);
  assert.equal(next.head.prev, op.id);
  assert.deepEqual(again.log.equivocations, []);
});

test("a client without WebCrypto reads, and says what checked the signatures", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const { client: writer } = client(t, url, { key: await SecretKey.generate() });
  await (await writer.join("main")).append(1);
  const verifier = await createVerifier({ subtle: null });
  const room = await client(t, url, { verifier }).client.join("main");
  const [{ op, value }] = await entries(room, 1);
  assert.deepEqual([value, op.verifiedBy], [1, "bundled"]);
});

test("a client without a store learns its own chain before it signs", DEADLINE, async (t) => {
  const [{ url }, key] = [await relayer(t), await SecretKey.generate()];
  const { op } = await (await client(t, url, { key }).client.join("main")).append(1);
  const { op: next } = await (await client(t, url, { key }).client.join("main")).append(2);
  assert.equal(next.head.prev, op.id);
});

test("what cannot be written is refused before it is signed", DEADLINE, async (t) => {
  const { url } = await relayer(t);
  const reader = await client(t, url).client.join("main");
  await assert.rejects(reader.append(1), { code: "key" });
  const { client: writer } = client(t, url, { key: await SecretKey.generate() });
  const room = await writer.join("main");
  await assert.rejects(room.append(1.5), { code: "number" });
  await assert.rejects(room.append("x".repeat(65_533)), { code: "size" });
  await assert.rejects(room.append(1, { refs: ["00".repeat(32)] }), { code: "refs" });
  await assert.rejects(writer.join("No Room"), TypeError);
  const { op } = await room.append("x".repeat(65_532));
  assert.equal(op.head.dl, 65_536);
  writer.close();
  await assert.rejects(room.append(1), { code: "closed" });
});
