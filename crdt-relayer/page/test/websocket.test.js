// The websocket of Node against a server that breaks the rules of the transport.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";

import { NodeWebSocket } from "../crdt/node-websocket.js";

const DEADLINE = { timeout: 60_000 };
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A server that upgrades, then sends these bytes. */
async function server(t, bytes, { status = 101, accept = true } = {}) {
  const heard = [];
  const listening = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (request) => {
      const key = /Sec-WebSocket-Key: (.*)\r\n/i.exec(String(request))[1];
      const digest = accept ? createHash("sha1").update(key + GUID).digest("base64") : "wrong";
      socket.write(`HTTP/1.1 ${status} X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${digest}\r\n\r\n`);
      socket.write(bytes);
      socket.on("data", (chunk) => {
        heard.push(chunk);
        // What the client says in these tests is its goodbye.
        if (chunk[0] === 0x88) socket.end();
      });
    });
    t.after(() => socket.destroy());
  });
  listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  t.after(() => listening.close());
  return { url: `ws://127.0.0.1:${listening.address().port}/websocket`, heard: () => Buffer.concat(heard) };
}

/** Everything that happens on a connection, until it is closed. */
async function all(url) {
  const socket = new NodeWebSocket(url);
  const messages = [];
  socket.onmessage = ({ data }) => messages.push(data);
  let error;
  socket.onerror = (event) => {
    error = event.error;
  };
  const end = await new Promise((resolve) => {
    socket.onclose = resolve;
  });
  return { messages, error, end };
}

const frame = (first, payload, size = payload.length) => {
  const head = size < 126 ? [first, size] : size < 65_536 ? [first, 126, size >> 8, size & 0xff] : [first, 127, 0, 0, 0, 0, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff];
  return Buffer.concat([Buffer.from(head), Buffer.from(payload)]);
};
const BYE = frame(0x88, [0x03, 0xe8]);

/** The code of the close frame that the client sent: its only frame, masked. */
function codeSent(bytes) {
  assert.equal(bytes[0], 0x88);
  const mask = bytes.subarray(2, 6);
  return ((bytes[6] ^ mask[0]) << 8) | (bytes[7] ^ mask[1]);
}

test("whole, fragmented and long messages arrive, a ping between them is answered", DEADLINE, async (t) => {
  const long = "é".repeat(40_000);
  const { url } = await server(t, Buffer.concat([
    frame(0x81, Buffer.from("one")),
    frame(0x01, Buffer.from("tw")), frame(0x89, Buffer.from("ping")), frame(0x80, Buffer.from("o")),
    frame(0x81, Buffer.from(long)),
    frame(0x81, []),
    BYE,
  ]));
  const { messages, end } = await all(url);
  assert.deepEqual(messages, ["one", "two", long, ""]);
  assert.equal(end.code, 1000);
});

const VIOLATIONS = [
  ["a frame that announces 1 GiB", frame(0x81, [], 2 ** 30), 1009],
  ["a frame of 1 MiB and one byte", frame(0x81, [], 2 ** 20 + 1), 1009],
  ["fragments that are too long together", Buffer.concat([frame(0x01, Buffer.alloc(600_000, 97)), frame(0x80, Buffer.alloc(600_000, 97))]), 1009],
  ["a text that is not UTF-8", frame(0x81, [0xff]), 1007],
  ["a masked frame", Buffer.from([0x81, 0x81, 0, 0, 0, 0, 97]), 1002],
  ["a reserved bit", frame(0xc1, [97]), 1002],
  ["a reserved opcode", frame(0x83, [97]), 1002],
  ["a reserved control opcode", frame(0x8b, [97]), 1002],
  ["a fragmented ping", frame(0x09, [97]), 1002],
  ["a ping that is too long", frame(0x89, Buffer.alloc(126)), 1002],
  ["a continuation of nothing", frame(0x80, [97]), 1002],
  ["a message inside a message", Buffer.concat([frame(0x01, [97]), frame(0x81, [97])]), 1002],
];

for (const [what, bytes, code] of VIOLATIONS) {
  test(`closed with ${code}: ${what}`, DEADLINE, async (t) => {
    const { url, heard } = await server(t, bytes);
    const { messages } = await all(url);
    assert.deepEqual(messages, []);
    assert.equal(codeSent(heard()), code);
  });
}

test("nothing after a close frame is read", DEADLINE, async (t) => {
  const { url } = await server(t, Buffer.concat([BYE, frame(0x81, Buffer.from("late"))]));
  assert.deepEqual((await all(url)).messages, []);
});

test("a server that does not upgrade, or not as asked, is no peer", DEADLINE, async (t) => {
  for (const options of [{ status: 403 }, { status: 200 }, { accept: false }]) {
    const { url } = await server(t, "", options);
    const { error, end } = await all(url);
    assert.equal(end.code, 1006);
    assert.ok(error instanceof Error);
  }
  assert.throws(() => new NodeWebSocket("http://127.0.0.1/"), SyntaxError);
});

test("an address where nobody listens ends with an error", DEADLINE, async (t) => {
  const { url } = await server(t, "");
  const { error } = await all(url.replace(/:\d+/, ":1"));
  assert.ok(error instanceof Error);
});
