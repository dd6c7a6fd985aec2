// What a relayer has no room for is kept here and sent again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, roomId, SecretKey } from "../crdt.js";
import { scripted } from "../harness/double.js";

const ROOM = roomId("main");

test("ops that are put off count as unsent and come again until they are taken", { timeout: 60_000 }, async (t) => {
  let tries = 0;
  const peer = scripted({
    onMessage: ({ type, ops }, double) => {
      if (type === "sub") double.say({ type: "sub", room: ROOM, name: "main", cursor: 0 });
      if (type !== "ops") return;
      tries += 1;
      const later = ops.map((_, index) => ({ index, verdict: "later", code: "disk" }));
      const except = tries < 3 ? later : [];
      if (tries === 1) double.say({ type: "err", code: "disk", message: "the disk here is full" });
      double.say({ type: "ack", room: ROOM, stored: ops.length - except.length, except });
    },
  });
  const events = [];
  const client = new Client("ws://double/websocket", {
    WebSocket: peer.WebSocket,
    key: await SecretKey.generate(),
    onEvent: (event) => events.push(event),
  });
  t.after(() => client.close());
  const room = await client.join("main");
  peer.peers[0].say({ type: "heads", room: ROOM, set: room.log.set, count: 0, heads: [], cursor: 0 });
  await room.append({ n: 1 });
  const sent = peer.heard.filter(({ type }) => type === "ops");
  assert.equal(tries, 3, "it was relayed when it was taken, and not before");
  assert.equal(new Set(sent.map(({ ops }) => ops[0].id)).size, 1, "the same op each time");
  assert.ok(events.some(({ type, code }) => type === "peer-error" && code === "disk"));
});
