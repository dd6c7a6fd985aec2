// How many ops of one transaction are verified in a second, from the bytes of an exported file to
// the log's digests, with each back end: `node bench/verify.js [OPS]`.

import { createVerifier, exportLines, Log, roomId, SecretKey, signOp, verifyExport } from "../crdt.js";

const count = Number(process.argv[2] ?? 4_000);
const room = roomId("main");
const log = new Log(room);
const keys = await Promise.all(Array.from({ length: 4 }, () => SecretKey.generate()));
const tips = new Map();
for (let n = 0; n < count; n += 1) {
  const key = keys[n % keys.length];
  const own = tips.get(key);
  const last = log.admitted.at(-1);
  const op = await signOp({
    room,
    data: [{ type: "pay", to: "bob", amount: `${n}.00`, memo: "rent" }],
    seq: own ? own.head.seq + 1 : 0,
    prev: own?.id ?? null,
    preds: last && last !== own ? [last.id] : [],
    depth: n + 1,
    ts: n,
  }, key);
  log.insert(op);
  tips.set(key, op);
}
const lines = [...exportLines(log)];

for (const [backend, most] of [["webcrypto", count], ["bundled", 600]]) {
  const verifier = await createVerifier({ backend });
  const file = lines.slice(0, most).join("");
  const from = performance.now();
  const { ops } = await verifyExport(file, { verifier });
  console.log(`${backend}: ${Math.round(ops / ((performance.now() - from) / 1_000))} ops/s (${ops} ops)`);
}
