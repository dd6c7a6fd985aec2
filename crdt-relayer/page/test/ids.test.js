import assert from "node:assert/strict";
import { test } from "node:test";

import { canonical, parse, roomId, SecretKey, signOp, verifyOp } from "../crdt.js";
import { dataHash, opId } from "../crdt/hash.js";
import { vectors } from "../harness/vectors.js";

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const utf8 = (text) => new TextEncoder().encode(text);
const { rooms, keys, data, ops } = vectors("ids");

for (const { name, id } of rooms) {
  test(`room ${JSON.stringify(name)}`, () => {
    if (id === undefined) assert.throws(() => roomId(name), TypeError);
    else assert.equal(roomId(name), id);
  });
}

for (const { seed, author } of keys) {
  test(`key ${author}`, async () => {
    assert.equal((await SecretKey.fromSeed(bytes(seed))).author, author);
  });
}

for (const { data: text, dl, dh } of data) {
  test(`data ${text.slice(0, 40)}`, () => {
    const written = utf8(canonical(parse(text)));
    assert.equal(written.length, dl);
    assert.equal(dataHash(written), dh);
  });
}

for (const { name, seed, head, id, sig, op } of ops) {
  test(`op: ${name}`, async () => {
    assert.equal(opId(utf8(head)), id);
    const verified = await verifyOp(op);
    assert.equal(verified.id, id);
    assert.equal(verified.envelope(), op);
    assert.equal(canonical(verified.head), head);
    const signed = await signOp({ ...verified.head, data: parse(op).data }, await SecretKey.fromSeed(bytes(seed)));
    assert.equal(signed.id, id);
    assert.equal(signed.sig, sig);
  });
}

test("a secret key in PEM as crdt-node writes it is read, another text is not", async () => {
  const seed = bytes(keys[0].seed);
  const der = Buffer.concat([bytes("302e020100300506032b657004220420"), seed]).toString("base64");
  const pem = (body) => `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`;
  assert.equal((await SecretKey.fromPem(pem(der))).author, keys[0].author);
  const bad = ["", "key", pem(""), pem("%%%"), pem(der.slice(4)), pem(der).replaceAll("PRIVATE", "ENCRYPTED PRIVATE")];
  for (const text of bad) await assert.rejects(SecretKey.fromPem(text), { name: "KeyError" });
});
