// A websocket client (RFC 6455) on Node's own modules, with the interface of the browsers'
// WebSocket: Node 20 has none. Besides, it can ping, which a web page cannot.

import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import https from "node:https";

import { CONNECT_MS, MESSAGE_BYTES_MAX, PONG_BACKLOG_BYTES } from "./limits.js";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEADER_BYTES_MAX = 16_384;
const GOODBYE_MS = 2_000;
const FRAGMENTS_MAX = 4_096;
const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** The peer broke the rules of the transport. */
class Violation extends Error {
  constructor(code, reason) {
    super(reason);
    this.code = code;
  }
}

/** Cuts a byte stream into frames. */
class Frames {
  #chunks = [];
  #length = 0;

  push(chunk) {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** @returns {{ final: boolean, opcode: number, payload: Buffer } | undefined} the next whole one */
  next() {
    if (this.#length < 2) return undefined;
    const start = this.#peek(Math.min(this.#length, 10));
    const [first, second] = start;
    if ((first & 0x70) !== 0 || (second & 0x80) !== 0) throw new Violation(1002, "frame");
    let [size, head] = [second & 0x7f, 2];
    if (size === 126) [size, head] = [start.length < 4 ? 0 : start.readUInt16BE(2), 4];
    else if (size === 127) [size, head] = [start.length < 10 ? 0 : Number(start.readBigUInt64BE(2)), 10];
    if (size > MESSAGE_BYTES_MAX) throw new Violation(1009, "size");
    if (this.#length < head || this.#length < head + size) return undefined;
    const frame = this.#take(head + size);
    return { final: (first & 0x80) !== 0, opcode: first & 0x0f, payload: frame.subarray(head) };
  }

  #peek(count) {
    if (this.#chunks[0].length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0].subarray(0, count);
  }

  #take(count) {
    const taken = this.#peek(count);
    const rest = this.#chunks[0].subarray(count);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
    this.#length -= count;
    return taken;
  }
}

function frame(opcode, payload) {
  const mask = randomBytes(4);
  const size = payload.length;
  let head;
  if (size < 126) head = Buffer.from([0x80 | opcode, 0x80 | size]);
  else if (size < 65_536) head = Buffer.from([0x80 | opcode, 0x80 | 126, size >> 8, size & 0xff]);
  else {
    head = Buffer.alloc(10);
    head.set([0x80 | opcode, 0x80 | 127]);
    head.writeBigUInt64BE(BigInt(size), 2);
  }
  const masked = Buffer.from(payload);
  for (let at = 0; at < size; at += 1) masked[at] ^= mask[at & 3];
  return Buffer.concat([head, mask, masked]);
}

/** What `WebSocket` is in a browser, as far as the client uses it. */
export class NodeWebSocket {
  /** 0 connecting, 1 open, 2 closing, 3 closed */
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  /** Called for each ping and pong of the peer: a sign of life. */
  onalive = null;

  #socket = null;
  #request;
  #frames = new Frames();
  #message = null;
  #said = { code: 1006, reason: "" };

  /** @param {string} url `ws://` or `wss://` */
  constructor(url) {
    const { protocol, href } = new URL(url);
    if (protocol !== "ws:" && protocol !== "wss:") throw new SyntaxError(`no websocket address: ${url}`);
    const { request } = protocol === "wss:" ? https : http;
    const key = randomBytes(16).toString("base64");
    this.#request = request(href.replace(/^ws/, "http"), {
      agent: false,
      maxHeaderSize: HEADER_BYTES_MAX,
      timeout: CONNECT_MS,
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
      },
    });
    this.#request.on("upgrade", (response, socket, rest) => this.#open(key, response, socket, rest));
    this.#request.on("response", (response) => {
      response.destroy();
      this.#fail(new Error(`the server answered ${response.statusCode} instead of upgrading`));
    });
    this.#request.on("timeout", () => this.#request.destroy(new Error("connecting took too long")));
    this.#request.on("error", (error) => this.#fail(error));
    this.#request.end();
  }

  /** Bytes that wait to be written. */
  get bufferedAmount() {
    return this.#socket?.writableLength ?? 0;
  }

  #open(key, { headers }, socket, rest) {
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    socket.on("error", (error) => this.#fail(error));
    const upgraded = headers.upgrade?.toLowerCase() === "websocket";
    const agreed = upgraded && headers["sec-websocket-accept"] === accept;
    if (!agreed || headers["sec-websocket-extensions"] || headers["sec-websocket-protocol"]) {
      socket.destroy();
      this.#fail(new Error("the server's upgrade is not the one that was asked for"));
      return;
    }
    if (this.readyState !== 0) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#read(chunk));
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#closed());
    this.readyState = 1;
    this.onopen?.({});
    if (rest.length > 0) this.#read(rest);
  }

  #read(chunk) {
    // After the close frame of either side nothing more is read.
    if (this.readyState === 3 || this.#said.code !== 1006) return;
    try {
      this.#frames.push(chunk);
      for (let next = this.#frames.next(); next; next = this.#frames.next()) {
        this.#frame(next);
        if (this.#said.code !== 1006) return;
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.close(error.code, error.message);
    }
  }

  #frame({ final, opcode, payload }) {
    if (opcode >= CLOSE) {
      if (!final || payload.length > 125) throw new Violation(1002, "frame");
      this.#control(opcode, payload);
      return;
    }
    const goesOn = opcode === CONTINUATION;
    if (opcode > BINARY || goesOn !== (this.#message !== null)) throw new Violation(1002, "frame");
    this.#message ??= { opcode, parts: [], length: 0 };
    this.#message.parts.push(payload);
    this.#message.length += payload.length;
    const { opcode: kind, parts, length } = this.#message;
    // Empty fragments cost memory too.
    if (length > MESSAGE_BYTES_MAX || parts.length > FRAGMENTS_MAX) throw new Violation(1009, "size");
    if (!final) return;
    this.#message = null;
    this.#deliver(kind, Buffer.concat(parts));
  }

  #deliver(kind, bytes) {
    if (this.readyState !== 1) return;
    if (kind === BINARY) {
      this.onmessage?.({ data: bytes });
      return;
    }
    let data;
    try {
      data = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new Violation(1007, "utf8");
    }
    this.onmessage?.({ data });
  }

  #control(opcode, payload) {
    if (opcode === CLOSE) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#said = { code, reason: payload.subarray(2).toString("utf8") };
      if (this.readyState === 1) this.#write(CLOSE, payload.subarray(0, 2));
      this.readyState = 2;
      this.#socket.end();
      this.#hurry();
      return;
    }
    // Who asks for life signs and does not read them gets no more of them.
    const reads = this.bufferedAmount < PONG_BACKLOG_BYTES;
    if (opcode === PING && reads) this.#write(PONG, payload);
    else if (opcode !== PING && opcode !== PONG) throw new Violation(1002, "frame");
    this.onalive?.({});
  }

  #write(opcode, payload) {
    if (this.#socket?.writable) this.#socket.write(frame(opcode, payload));
  }

  #hurry() {
    setTimeout(() => this.#socket.destroy(), GOODBYE_MS).unref();
  }

  #fail(error) {
    if (this.readyState === 3) return;
    this.onerror?.({ error, message: error.message });
    this.#closed();
  }

  #closed() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#request.destroy();
    this.#socket?.destroy();
    this.onclose?.(this.#said);
  }

  /** @param {string} text sent as one text message @throws {Error} before the connection is open */
  send(text) {
    if (this.readyState === 0) throw new Error("not connected yet");
    if (this.readyState === 1) this.#write(TEXT, Buffer.from(text, "utf8"));
  }

  /** Sends a ping. */
  ping() {
    if (this.readyState === 1) this.#write(PING, Buffer.alloc(0));
  }

  /** Starts the closing handshake. @param {number} [code] @param {string} [reason] */
  close(code = 1000, reason = "") {
    if (this.readyState === 0) {
      this.#request.destroy();
      this.#closed();
    }
    if (this.readyState !== 1) return;
    this.readyState = 2;
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
    payload.writeUInt16BE(code, 0);
    payload.write(reason, 2);
    this.#write(CLOSE, payload);
    this.#hurry();
  }
}
