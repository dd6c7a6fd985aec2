// The replicated log in JavaScript: a verifier and a client, for Node from version 20 and for
// browsers, without dependencies and without a build step. Everything is checked here: a relayer
// that lies is found out, not believed. docs/PROTOCOL.md is what it implements.

export { Log } from "./crdt/log.js";
export { decodeOp, Op, signOp, UnverifiedOp, verifyOp } from "./crdt/op.js";
export { KeyError, PublicKey, SecretKey } from "./crdt/key.js";
export { createVerifier, defaultVerifier, Verifier } from "./crdt/ed25519.js";
export { EvidenceError, verifyEvidence, writeEvidence } from "./crdt/evidence.js";
export { ExportError, exportLines, verifyExport } from "./crdt/export.js";
export { canonical, JsonError, parse } from "./crdt/json.js";
export { Rejection, RULES } from "./crdt/rejection.js";
export { roomId } from "./crdt/hash.js";
export { Client } from "./crdt/client.js";
export { Room } from "./crdt/room.js";
export { AppendError } from "./crdt/author.js";
export { MemoryStore } from "./crdt/store.js";
