import assert from "node:assert/strict";
import { test } from "node:test";

import { canonical, JsonError, parse } from "../crdt.js";
import { random } from "../harness/random.js";
import { vectors } from "../harness/vectors.js";

const bytesOf = ({ input, input_hex: hex }) =>
  hex === undefined ? new TextEncoder().encode(input) : Uint8Array.from(Buffer.from(hex, "hex"));

const { cases } = vectors("canonical");

for (const one of cases) {
  test(`canonical: ${one.name}`, () => {
    if (one.error !== undefined) {
      assert.throws(() => parse(bytesOf(one)), JsonError);
      if (one.input !== undefined) assert.throws(() => parse(one.input), JsonError);
      return;
    }
    const value = parse(bytesOf(one));
    assert.equal(canonical(value), one.canonical);
    // What was written reads as what was read, and is written the same again.
    assert.deepEqual(parse(one.canonical), value);
    assert.equal(canonical(parse(one.canonical)), one.canonical);
  });
}

const LETTERS = ["a", "Z", "0", '"', "\\", "\n", "\u0007", "\u007f", "é", "\u2028", "\uffff", "😀", "דּ", "__proto__"];

function text(below) {
  return Array.from({ length: below(4) }, () => LETTERS[below(LETTERS.length)]).join("");
}

function value(below, depth) {
  switch (below(depth === 0 ? 4 : 6)) {
    case 0: return [null, true, false][below(3)];
    case 1: return (below(2) === 0 ? 1 : -1) * (1 + below(Number.MAX_SAFE_INTEGER));
    case 2: return 0;
    case 3: return text(below);
    case 4: return Array.from({ length: below(4) }, () => value(below, depth - 1));
    default: {
      const members = Object.create(null);
      for (let left = below(4); left > 0; left -= 1) members[text(below)] = value(below, depth - 1);
      return members;
    }
  }
}

test("parsing, writing and parsing again changes nothing", () => {
  for (let seed = 0; seed < 2_000; seed += 1) {
    const written = canonical(value(random(seed), 6));
    const read = parse(written);
    assert.equal(canonical(read), written, `seed ${seed}`);
    assert.deepEqual(parse(canonical(read)), read, `seed ${seed}`);
  }
});

test("whatever is parsed twice from a damaged text is the same, or refused", () => {
  const source = '{"a":[1,-2,"\\u00e9\\ud83d\\ude00"],"b":{"c":null,"d":true},"e":"x"}';
  let refused = 0;
  for (let seed = 0; seed < 5_000; seed += 1) {
    const below = random(seed);
    const at = below(source.length);
    const damaged = source.slice(0, at) + String.fromCharCode(below(0x180)) + source.slice(at + below(2));
    try {
      const written = canonical(parse(damaged));
      assert.equal(canonical(parse(written)), written);
    } catch (error) {
      assert.ok(error instanceof JsonError, `seed ${seed}: ${error}`);
      refused += 1;
    }
  }
  assert.ok(refused > 1_000, "most damage is refused");
});

test("a text nested a million deep is refused, not recursed into", () => {
  for (const open of ["[", '{"a":']) {
    assert.throws(() => parse(open.repeat(1_000_000), 35), { code: "depth" });
  }
});

test("an array of a million elements is read", () => {
  assert.equal(parse(`[${"0,".repeat(999_999)}0]`).length, 1_000_000);
});

test("a value that contains itself is refused", () => {
  const cycle = [];
  cycle.push(cycle);
  assert.throws(() => canonical(cycle), { code: "depth" });
});

test("values that JSON.stringify would change in silence are refused", () => {
  for (const bad of [1.5, -0, NaN, Infinity, 2 ** 53, 1n, undefined, () => 1, new Date(0), new Map(), [, 1], "\ud800"]) {
    assert.throws(() => canonical([bad].flat(0)), JsonError, String(bad));
  }
});

test("a key named __proto__ is a key", () => {
  const read = parse('{"__proto__":{"v":1}}');
  assert.equal(read.v, undefined);
  assert.equal(canonical(read), '{"__proto__":{"v":1}}');
  assert.equal({}.v, undefined);
});
