// A relayer can delay and withhold. Whatever else it tries is refused here, with the rule it breaks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, Log, MemoryStore, parse, roomId, RULES, SecretKey, signOp } from "../crdt.js";
import { scripted, streaming } from "../harness/double.js";
import { random } from "../harness/random.js";
import { vectors } from "../harness/vectors.js";

const ROOM = roomId("main");
const DEADLINE = { timeout: 60_000 };

async function chain(key, length) {
  const log = new Log(ROOM);
  for (let seq = 0; seq < length; seq += 1) {
    const prev = log.admitted.at(-1)?.id ?? null;
    log.insert(await signOp({ room: ROOM, data: [{ type: "pay", amount: `${seq}` }], seq, prev, depth: seq + 1, ts: seq }, key));
  }
  return log;
}

function connect(t, { WebSocket }, options = {}) {
  const events = [];
  const waiting = [];
  const client = new Client("ws://double/websocket", {
    WebSocket,
    ...options,
    onEvent: (event) => {
      events.push(event);
      for (const { matches, resolve } of waiting) if (matches(event)) resolve(event);
    },
  });
  t.after(() => client.close());
  const seen = (matches) => new Promise((resolve) => {
    const before = events.find(matches);
    if (before) resolve(before);
    else waiting.push({ matches, resolve });
  });
  return { client, events, seen };
}

const changed = (envelope, change) => {
  const value = JSON.parse(envelope);
  change(value);
  return JSON.stringify(value);
};
const flipped = (hex) => (hex[0] === "0" ? "1" : "0") + hex.slice(1);

const LIES = [
  ["the data is altered", "data", (op) => { op.data[0].amount = "1000000"; }],
  ["the data and its hash are altered", "id", (op) => { op.data = [1]; op.head.dl = 3; op.head.dh = "72e159249d5e2c3ab7286d856b13a288fec5e9bec399e8abcad2be520cb2d9c9"; }],
  ["the op is given to somebody else", "id", (op) => { op.head.author = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"; }],
  ["the op is moved to another place of the chain", "id", (op) => { op.head.seq = 1; op.head.prev = "11".repeat(32); }],
  ["the op is moved to another depth", "id", (op) => { op.head.depth = 2; }],
  ["the op is moved to another time", "id", (op) => { op.head.ts = 5; }],
  ["the op is moved to another room", "id", (op) => { op.head.room = op.head.grant = roomId("other"); }],
  ["the signature is damaged", "sig", (op) => { op.sig = flipped(op.sig); }],
  ["the signature is of nobody", "sig", (op) => { op.sig = "0".repeat(128); }],
  ["the id is another one", "id", (op) => { op.id = flipped(op.id); }],
  ["a member is added", "field", (op) => { op.note = 1; }],
  ["a member of the head is added", "field", (op) => { op.head.note = 1; }],
  ["another version is claimed", "version", (op) => { op.head.v = 2; }],
];

for (const [what, code, change] of LIES) {
  test(`refused: ${what} (${code})`, DEADLINE, async (t) => {
    const truth = await chain(await SecretKey.generate(), 1);
    const lie = changed(truth.admitted[0].envelope(), change);
    const peer = streaming(ROOM, [lie]);
    const { client, seen } = connect(t, peer);
    const room = await client.join("main");
    const event = await seen(({ type }) => type === "refused");
    assert.equal(event.code, code);
    assert.ok(RULES[event.code].length > 0);
    assert.deepEqual(JSON.parse(JSON.stringify(event.envelope)), JSON.parse(lie));
    const ack = await peer.said(({ type }) => type === "ack");
    assert.deepEqual(ack.except, [{ index: 0, verdict: "rejected", code }]);
    await peer.said(({ type, code: said }) => type === "err" && said === code);
    assert.equal(room.log.size, 0);
    // Nothing of the lie is remembered: the truth is taken when it comes.
    peer.peers[0].say(`{"type":"ops","room":"${ROOM}","ops":[${truth.admitted[0].envelope()}]}`);
    for await (const op of room.ops()) {
      assert.equal(op.id, truth.admitted[0].id);
      break;
    }
  });
}

test("ops in another order make the same log", DEADLINE, async (t) => {
  const truth = await chain(await SecretKey.generate(), 6);
  const envelopes = truth.admitted.map((op) => op.envelope());
  const peer = streaming(ROOM, [...envelopes].reverse());
  const room = await connect(t, peer).client.join("main");
  let count = 0;
  for await (const _ of room.ops()) if (++count === 6) break;
  assert.equal(room.digests().log, truth.log);
  assert.equal(room.digests().set, truth.set);
});

test("an op whose past is kept back is asked for, and the relayer is named when it says it has none", DEADLINE, async (t) => {
  const truth = await chain(await SecretKey.generate(), 2);
  const [first, second] = truth.admitted;
  const peer = streaming(ROOM, [second.envelope()]);
  const { client, seen } = connect(t, peer);
  const room = await client.join("main");
  const { ids } = await peer.said(({ type }) => type === "get");
  assert.deepEqual(ids, [first.id]);
  assert.equal(room.log.size, 0);
  peer.peers[0].say({ type: "ops", room: ROOM, ops: [], missing: [first.id] });
  assert.deepEqual((await seen(({ type }) => type === "withheld")).ids, [first.id]);
});

test("announced heads that never come are asked for; the room is not called in sync", DEADLINE, async (t) => {
  const truth = await chain(await SecretKey.generate(), 2);
  const [first, second] = truth.admitted;
  const peer = streaming(ROOM, [first.envelope()], { set: truth.set, count: 2, heads: [second.id] });
  const { client, events } = connect(t, peer);
  await client.join("main");
  assert.deepEqual((await peer.said(({ type }) => type === "get")).ids, [second.id]);
  assert.ok(!events.some(({ type }) => type === "synced"));
});

test("a client does not sign before the relayer told it all it names", DEADLINE, async (t) => {
  const key = await SecretKey.generate();
  const truth = await chain(key, 2);
  const [first, second] = truth.admitted;
  const peer = streaming(ROOM, [first.envelope()], { set: truth.set, count: 2, heads: [second.id] });
  const { client } = connect(t, peer, { key });
  const room = await client.join("main");
  const appended = room.append("next");
  await peer.said(({ type }) => type === "get");
  peer.peers[0].say(`{"type":"ops","room":"${ROOM}","ops":[${second.envelope()}]}`);
  peer.peers[0].say({ type: "heads", room: ROOM, set: truth.set, count: 2, heads: [second.id], cursor: 2 });
  peer.peers[0].say({ type: "sub", room: ROOM, cursor: null });
  const { ops } = await peer.said(({ type }) => type === "ops");
  const own = ops.at(-1);
  assert.equal(own.head.prev, second.id);
  peer.peers[0].say({ type: "ack", room: ROOM, stored: ops.length, except: [] });
  assert.equal((await appended).op.id, own.id);
});

test("a full list of heads is not all: a client signs when the sets are equal", DEADLINE, async (t) => {
  const key = await SecretKey.generate();
  const truth = await chain(key, 2);
  const [first, second] = truth.admitted;
  const peer = streaming(ROOM, [first.envelope()], { set: "11".repeat(32), count: 2, heads: Array(1_024).fill(first.id) });
  const { client, seen } = connect(t, peer, { key });
  const room = await client.join("main");
  const appended = room.append("next");
  await peer.said(({ type }) => type === "ack");
  const [double] = peer.peers;
  double.say({ type: "sub", room: ROOM, cursor: 0 });
  double.say(`{"type":"ops","room":"${ROOM}","ops":[${second.envelope()}]}`);
  double.say({ type: "heads", room: ROOM, set: truth.set, count: 2, heads: [second.id], cursor: 2 });
  await seen(({ type }) => type === "synced");
  const { ops } = await peer.said(({ type, ops: sent }) => type === "ops" && sent.at(-1).head.seq === 2);
  assert.equal(ops.at(-1).head.prev, second.id);
  double.say({ type: "heads", room: ROOM, set: room.log.set, count: 3, heads: room.log.heads, cursor: 3 });
  await appended;
  assert.deepEqual(room.log.equivocations, []);
});

test("an own op that the relayer refuses is told to who wrote it", DEADLINE, async (t) => {
  const empty = new Log(ROOM);
  const peer = scripted({
    onMessage: ({ type, ops }, double) => {
      if (type === "sub") {
        double.say({ type: "sub", room: ROOM, cursor: 0 });
        double.say({ type: "heads", room: ROOM, set: empty.set, count: 0, heads: [], cursor: 0 });
      }
      if (type === "ops") {
        const except = ops.map((_, index) => ({ index, verdict: "rejected", code: "sig" }));
        double.say({ type: "ack", room: ROOM, stored: 0, except });
      }
    },
  });
  const { client } = connect(t, peer, { key: await SecretKey.generate() });
  await assert.rejects((await client.join("main")).append(1), { name: "AppendError", code: "sig" });
});

test("a proof of key is given to who demands it, and holds", DEADLINE, async (t) => {
  const nonce = "ab".repeat(32);
  const peer = scripted({ hello: { nonce, auth: true } });
  const key = await SecretKey.generate();
  connect(t, peer, { key });
  const { author, sig } = await peer.said(({ type }) => type === "auth");
  const hello = await peer.said(({ type }) => type === "hello");
  const signed = Buffer.concat([Buffer.from("bft-crdt/v1/auth\0"), Buffer.from(nonce + hello.nonce + "d0".repeat(32) + hello.store, "hex")]);
  assert.equal(author, key.author);
  assert.ok(await key.publicKey.verify(signed, sig));
});

const NONSENSE = [
  ["no JSON", "{", "json"],
  ["a number that is no integer", '{"type":"heads","x":1.5}', "json"],
  ["a key twice", '{"type":"heads","type":"heads"}', "json"],
  ["nesting beyond 35", `{"type":"heads","x":${"[".repeat(35)}${"]".repeat(35)}}`, "json"],
  ["a million brackets", "[".repeat(1_000_000), "json"],
  ["no object", "[]", "field"],
  ["null", "null", "field"],
  ["no type", "{}", "field"],
  ["a type that is a property of every object", '{"type":"constructor"}', "unknown"],
  ["an unknown type", '{"type":"sing"}', "unknown"],
  ["ops without a room", '{"type":"ops","ops":[]}', "field"],
  ["ops that are no array", `{"type":"ops","room":"${ROOM}","ops":{}}`, "field"],
  ["too many ops", JSON.stringify({ type: "ops", room: ROOM, ops: Array(257).fill(0) }), "field"],
  ["heads that are no ids", JSON.stringify({ type: "heads", room: ROOM, set: ROOM, count: 1, heads: ["x"], cursor: 0 }), "field"],
  ["a negative cursor", JSON.stringify({ type: "sub", room: ROOM, cursor: -1 }), "field"],
  ["an ack for nothing", JSON.stringify({ type: "ack", room: ROOM, stored: 1, except: [] }), "ack"],
  ["a second hello", JSON.stringify({ type: "hello", v: 1, agent: "x", store: ROOM, window: 2_097_152 }), "hello"],
  ["a binary message", new Uint8Array(3), "binary"],
  ["a comparison of sets", JSON.stringify({ type: "reconcile", room: ROOM, answer: false, number: 1, frame: "YQ==" }), "busy"],
  ["a room that is not joined", JSON.stringify({ type: "get", room: roomId("other"), ids: [] }), "room"],
];

for (const [what, text, code] of NONSENSE) {
  test(`answered with err ${code}: ${what}`, DEADLINE, async (t) => {
    const peer = scripted();
    const { client, seen } = connect(t, peer);
    await client.join("main");
    await seen(({ type }) => type === "connected");
    peer.peers[0].say(text);
    assert.equal((await peer.said(({ type }) => type === "err")).code, code);
    assert.equal(peer.peers[0].closed, null);
  });
}

test("ops that are nonsense are each rejected, and the good one among them is taken", DEADLINE, async (t) => {
  const truth = await chain(await SecretKey.generate(), 1);
  const nonsense = ["null", "1", "[]", "{}", '"x"', '{"data":1,"head":null,"id":1,"sig":1}', `[${"[".repeat(30)}${"]".repeat(30)}]`];
  const peer = streaming(ROOM, [...nonsense, truth.admitted[0].envelope()]);
  const room = await connect(t, peer).client.join("main");
  const { stored, except } = await peer.said(({ type }) => type === "ack");
  assert.equal(stored, 1);
  assert.deepEqual(except.map(({ index, code }) => [index, code]), nonsense.map((_, index) => [index, "field"]));
  assert.equal(room.log.size, 1);
});

test("the sixteenth strike closes the connection", DEADLINE, async (t) => {
  const peer = scripted();
  const { seen } = connect(t, peer);
  await seen(({ type }) => type === "connected");
  for (let strike = 0; strike < 16; strike += 1) peer.peers[0].say("{");
  const { code, reason } = await seen(({ type }) => type === "disconnected");
  assert.deepEqual([code, reason], [1008, "strikes"]);
});

test("a peer that sends far beyond its credit is cut off, whatever it sends", DEADLINE, async (t) => {
  const peer = scripted();
  const { seen } = connect(t, peer);
  await seen(({ type }) => type === "connected");
  const message = JSON.stringify({ type: "sing", song: "x".repeat(1_000_000) });
  for (let count = 0; count < 12; count += 1) peer.peers[0].say(message);
  assert.equal((await seen(({ type }) => type === "disconnected")).reason, "strikes");
});

test("another version and one's own store end it for good", DEADLINE, async (t) => {
  const other = scripted({ hello: { v: 2 } });
  const { seen } = connect(t, other);
  assert.deepEqual((({ reason, retry_ms }) => ({ reason, retry_ms }))(await seen(({ type }) => type === "disconnected")), { reason: "version", retry_ms: null });
});

test("a message above 1 MiB closes the connection", DEADLINE, async (t) => {
  const peer = scripted();
  const { seen } = connect(t, peer);
  await seen(({ type }) => type === "connected");
  peer.peers[0].say(" ".repeat(1_048_577));
  assert.equal((await seen(({ type }) => type === "disconnected")).code, 1009);
});

test("what a peer says for people cannot play with a terminal", DEADLINE, async (t) => {
  const peer = scripted({ hello: { agent: `\u001b[2J${"a".repeat(100)}` } });
  const { seen } = connect(t, peer);
  const { agent } = await seen(({ type }) => type === "connected");
  assert.ok(!agent.includes("\u001b"));
  assert.equal(agent.length, 64);
});

test("a store that fails ends the client, and nothing is acknowledged", DEADLINE, async (t) => {
  const truth = await chain(await SecretKey.generate(), 1);
  const peer = streaming(ROOM, [truth.admitted[0].envelope()]);
  class Full extends MemoryStore {
    async append() {
      throw new Error("no space left");
    }
  }
  const { client, seen } = connect(t, peer, { store: new Full() });
  await client.join("main");
  assert.match((await seen(({ type }) => type === "failed")).error.message, /no space/);
  assert.equal((await seen(({ type }) => type === "disconnected")).retry_ms, null);
  assert.ok(!peer.heard.some(({ type }) => type === "ack"));
});

test("an own op that cannot be stored is not sent", DEADLINE, async (t) => {
  const empty = new Log(ROOM);
  const peer = streaming(ROOM, [], { set: empty.set, count: 0, heads: [] });
  class Full extends MemoryStore {
    async append() {
      throw new Error("no space left");
    }
  }
  const { client } = connect(t, peer, { store: new Full(), key: await SecretKey.generate() });
  const room = await client.join("main");
  await assert.rejects(room.append(1), { name: "AppendError" });
  assert.equal(room.log.size, 0);
  await assert.rejects(room.append(2), { code: "closed" });
});

test("a client survives whatever a peer makes of good messages", { timeout: 170_000 }, async (t) => {
  const truth = await chain(await SecretKey.generate(), 3);
  const envelopes = truth.admitted.map((op) => op.envelope());
  const id = truth.admitted[0].id;
  const good = [
    `{"type":"ops","room":"${ROOM}","cursor":3,"missing":["${id}"],"ops":[${envelopes.join(",")}]}`,
    JSON.stringify({ type: "heads", room: ROOM, set: truth.set, count: 3, heads: truth.heads, cursor: 3 }),
    JSON.stringify({ type: "sub", room: ROOM, name: "main", cursor: null }),
    JSON.stringify({ type: "get", room: ROOM, ids: [id, ROOM] }),
    JSON.stringify({ type: "ack", room: ROOM, stored: 1, except: [{ index: 0, verdict: "rejected", code: "sig" }] }),
    JSON.stringify({ type: "settled", room: ROOM, cursor: 9, pulled: 9 }),
    JSON.stringify({ type: "unsub", room: ROOM }),
    JSON.stringify({ type: "credit", bytes: 5 }),
    JSON.stringify({ type: "err", code: "busy", message: "no" }),
  ];
  for (let seed = 0; seed < 300; seed += 1) {
    const below = random(seed);
    const peer = scripted();
    const { client, events, seen } = connect(t, peer);
    const room = await client.join("main");
    await seen(({ type }) => type === "connected");
    for (let count = 0; count < 20; count += 1) {
      let text = good[below(good.length)];
      for (let damage = below(3); damage > 0; damage -= 1) {
        const at = below(text.length);
        const letter = '0123456789abcdef{}[]",:-nul'[below(27)];
        text = text.slice(0, at) + letter + text.slice(at + below(3));
      }
      peer.peers[0].say(text);
    }
    // It is alive and answers, or it has had enough and said so.
    peer.peers[0].say({ type: "unheard of" });
    await Promise.race([
      peer.said(({ type, code, message }) => type === "err" && code === "unknown" && message.length > 0),
      seen(({ type }) => type === "disconnected"),
    ]);
    assert.ok(!events.some(({ type }) => type === "failed"), `seed ${seed}`);
    assert.ok(room.log.admitted.every((op) => truth.op(op.id)), `seed ${seed}`);
    client.close();
  }
});

/** Each character of a good op, changed: never stored, and never anything but a rule that is named. */
test("an op with one character changed is refused or is the same op", DEADLINE, async () => {
  const { op } = vectors("ids").ops[0];
  const { id } = parse(op, 35);
  const codes = new Set();
  for (let at = 0; at < op.length; at += 1) {
    const letter = op[at] === "0" ? "1" : "0";
    const log = new Log(ROOM);
    const { verdict, code } = await log.receive(op.slice(0, at) + letter + op.slice(at + 1));
    if (verdict === "stored") assert.equal(log.admitted[0].id, id);
    else assert.ok(Object.hasOwn(RULES, code), `${code} at ${at}`);
    codes.add(code ?? verdict);
  }
  for (const code of ["json", "field", "data", "id", "sig"]) assert.ok(codes.has(code), code);
  assert.ok(!codes.has("stored"));
});
