import assert from "node:assert/strict";
import { test } from "node:test";

import { createVerifier } from "../crdt.js";
import { signedBytes } from "../crdt/hash.js";
import { vectors } from "../harness/vectors.js";

const { cases } = vectors("signatures");
const webcrypto = await createVerifier({ backend: "webcrypto" });
const bundled = await createVerifier({ backend: "bundled" });

for (const verifier of [webcrypto, bundled]) {
  for (const { name, author, id, sig, verdict } of cases) {
    test(`${verifier.verifiedBy}: ${name}`, async () => {
      assert.equal(await verifier.verify(author, signedBytes(id), sig), verdict);
    });
  }
}

function flip(hex, bit) {
  const bytes = Buffer.from(hex, "hex");
  bytes[bit >> 3] ^= 1 << (bit & 7);
  return bytes.toString("hex");
}

test("both back ends say the same of every signature and key with one bit flipped", async () => {
  const { author, id, sig } = cases[0];
  for (let bit = 0; bit < 512; bit += 1) {
    const flipped = [[author, flip(sig, bit)]];
    if (bit < 256) flipped.push([flip(author, bit), sig]);
    for (const [key, by] of flipped) {
      const verdict = await webcrypto.verify(key, signedBytes(id), by);
      assert.notEqual(verdict, "valid", `bit ${bit}`);
      assert.equal(await bundled.verify(key, signedBytes(id), by), verdict, `bit ${bit}`);
    }
  }
});

test("without crypto.subtle the bundled arithmetic is used and says so", async () => {
  const verifier = await createVerifier({ subtle: null });
  assert.equal(verifier.verifiedBy, "bundled");
  await assert.rejects(createVerifier({ backend: "webcrypto", subtle: null }));
});

test("a WebCrypto that takes what the strict rule refuses is not used", async () => {
  const { subtle } = globalThis.crypto;
  const lax = {
    importKey: (...all) => subtle.importKey(...all),
    // As a library that multiplies by the cofactor would.
    verify: async () => true,
  };
  assert.equal((await createVerifier({ subtle: lax })).verifiedBy, "bundled");
  const none = { importKey: async () => { throw new DOMException("no Ed25519", "NotSupportedError"); } };
  assert.equal((await createVerifier({ subtle: none })).verifiedBy, "bundled");
});
