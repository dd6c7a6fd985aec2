// A relayer that lies to a browser: it stands before an honest one and alters the ops on their way.

import { createServer, request } from "node:http";
import { connect } from "node:net";

const TEXT = 0x1;

/**
 * @param {string} websocket of the honest relayer
 * @param {(envelope: any) => any} alter what is sent in place of each op
 * @returns {Promise<{ url: string, http: string }>}
 */
export async function lyingRelayer(t, websocket, alter) {
  const { hostname, port } = new URL(websocket);
  const sockets = new Set();
  const server = createServer((asked, answer) => {
    const { url: path, method, headers } = asked;
    const onward = request({ hostname, port, path, method, headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  });
  server.on("upgrade", ({ url, headers }, browser) => {
    const relayer = connect(Number(port), hostname);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    relayer.write(`GET ${url} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
    const frames = new Frames((text) => altered(text, alter));
    relayer.on("data", (chunk) => browser.write(frames.through(chunk)));
    browser.pipe(relayer);
    for (const [socket, other] of [[browser, relayer], [relayer, browser]]) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => other.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${server.address().port}`;
  return { url: `ws://${host}/websocket`, http: `http://${host}` };
}

function altered(text, alter) {
  const message = JSON.parse(text);
  if (message.type !== "ops") return text;
  return JSON.stringify({ ...message, ops: message.ops.map(alter) });
}

/** What a server sends: a head, then frames without a mask. Each text goes through a function. */
class Frames {
  #rest = Buffer.alloc(0);
  #headed = false;
  #change;

  constructor(change) {
    this.#change = change;
  }

  through(chunk) {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const out = [];
    if (!this.#headed) {
      const end = this.#rest.indexOf("\r\n\r\n");
      if (end < 0) return Buffer.alloc(0);
      out.push(this.#take(end + 4));
      this.#headed = true;
    }
    for (let frame = this.#frame(); frame; frame = this.#frame()) out.push(frame);
    return Buffer.concat(out);
  }

  #take(bytes) {
    const taken = this.#rest.subarray(0, bytes);
    this.#rest = this.#rest.subarray(bytes);
    return taken;
  }

  #frame() {
    const rest = this.#rest;
    if (rest.length < 2) return null;
    const short = rest[1];
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (rest.length < head) return null;
    const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    if (rest.length < head + length) return null;
    const frame = this.#take(head + length);
    if ((frame[0] & 0x0f) !== TEXT) return frame;
    return textFrame(this.#change(frame.subarray(head).toString("utf8")));
  }
}

/** Browsers insist on the shortest spelling of the length. */
function textFrame(text) {
  const payload = Buffer.from(text);
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | TEXT;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head[1] === 126) head.writeUInt16BE(length, 2);
  if (head[1] === 127) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}
