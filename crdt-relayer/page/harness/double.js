// A relayer that lies, in place of the platform's WebSocket: it says what a test tells it to say.

const STORE = "d0".repeat(32);

/** A scripted peer. `class` goes where a client takes its `WebSocket`. */
export function scripted({ hello = {}, onMessage = () => {} } = {}) {
  const heard = [];
  const waiting = [];
  const peers = [];
  class Double {
    readyState = 0;
    closed = null;

    constructor() {
      peers.push(this);
      setImmediate(() => {
        this.readyState = 1;
        this.onopen({});
        this.say({ type: "hello", v: 1, agent: "double/1", store: STORE, window: 2_097_152, ...hello });
      });
    }

    send(text) {
      const message = JSON.parse(text);
      heard.push(message);
      for (const one of waiting) if (one.matches(message)) one.resolve(message);
      setImmediate(() => onMessage(message, this));
    }

    /** What the peer says: an object, or a text as it stands. */
    say(message) {
      if (this.readyState === 1) this.onmessage({ data: typeof message === "object" && !ArrayBuffer.isView(message) ? JSON.stringify(message) : message });
    }

    close(code, reason) {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.closed = { code, reason };
      setImmediate(() => this.onclose({ code: code ?? 1006, reason: reason ?? "" }));
    }
  }
  return {
    WebSocket: Double,
    heard,
    peers,
    /** The first message of the client that fits. */
    said: (matches) => new Promise((resolve) => {
      const before = heard.find(matches);
      if (before) resolve(before);
      else waiting.push({ matches, resolve });
    }),
  };
}

/** A peer that answers `sub` with these envelopes, then the heads it is told. */
export function streaming(room, envelopes, heads) {
  return scripted({
    onMessage: ({ type }, peer) => {
      if (type !== "sub") return;
      peer.say(`{"type":"ops","room":"${room}","cursor":${envelopes.length},"ops":[${envelopes.join(",")}]}`);
      if (heads) peer.say({ type: "heads", room, cursor: envelopes.length, ...heads });
    },
  });
}
