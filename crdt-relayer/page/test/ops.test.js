import assert from "node:assert/strict";
import { test } from "node:test";

import { Log, parse, roomId } from "../crdt.js";
import { vectors } from "../harness/vectors.js";

const said = ({ verdict, code }) => code ?? verdict;

const ops = vectors("ops");
for (const { name, steps } of ops.cases) {
  test(`op: ${name}`, async () => {
    const log = new Log(roomId(ops.room));
    for (const { op, verdict } of steps) assert.equal(said(await log.receive(op)), verdict);
  });
}

const graphs = vectors("graphs");

async function check(one, arrivals) {
  const log = new Log(roomId(graphs.room));
  const verdicts = [];
  for (const { op } of arrivals) verdicts.push(said(await log.receive(op)));
  assert.deepEqual(log.admitted.map((op) => op.id).sort(), [...one.admitted].sort());
  assert.deepEqual(log.parked.sort(), [...one.parked].sort());
  assert.deepEqual(log.heads, [...one.heads].sort());
  assert.deepEqual([...log.entries()].map(({ op, index }) => [op.id, index]), one.order);
  assert.equal(log.set, one.set);
  assert.equal(log.log, one.log);
  for (const [id] of Object.entries(one.rejected)) assert.equal(said(log.known(id)), "ancestor");
  return { log, verdicts };
}

for (const one of graphs.cases) {
  test(`graph: ${one.name}`, async () => {
    const { log, verdicts } = await check(one, one.arrivals);
    assert.deepEqual(verdicts, one.arrivals.map(({ verdict }) => verdict));
    assert.deepEqual(Object.fromEntries(log.rejected), one.rejected);
  });

  test(`graph in reverse: ${one.name}`, async () => {
    await check(one, [...one.arrivals].reverse());
  });
}

test("a fork is one equivocation, named by the two smallest ids, in any order of arrival", async () => {
  const one = graphs.cases.find(({ name }) => name === "two ops at one place, both kept");
  const found = [];
  for (const arrivals of [one.arrivals, [...one.arrivals].reverse()]) {
    found.push((await check(one, arrivals)).log.equivocations);
  }
  assert.equal(found[0].length, 1);
  assert.deepEqual(found[0], found[1]);
  assert.ok(found[0][0].ops[0] < found[0][0].ops[1]);
});

test("a log that is checked again from its bytes gives its digests", async () => {
  const one = graphs.cases.find(({ name }) => name === "a merge of 16");
  const { log } = await check(one, one.arrivals);
  const steps = [];
  const again = await log.verifyAll((done, all) => steps.push([done, all]));
  assert.equal(again.set, one.set);
  assert.equal(again.log, one.log);
  assert.deepEqual(steps.at(-1), [17, 17]);
});

test("a log takes no op whose signature was not checked", () => {
  const envelope = parse(graphs.cases[1].arrivals[0].op, 35);
  assert.throws(() => new Log(roomId("main")).insert(envelope), TypeError);
});
