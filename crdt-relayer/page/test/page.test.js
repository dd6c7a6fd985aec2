// The parts of the page that need no browser, and what its files may hold.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { exportLines, Log, roomId, RULES, SecretKey, signOp, writeEvidence } from "../crdt.js";
import { agreementOf, lagOf } from "../page/agreement.js";
import { SHAPES } from "../page/answers.js";
import { checkAlone, checkParents } from "../page/checks.js";
import { compare } from "../page/compare.js";
import { glyph, SIDE } from "../page/glyph.js";
import { layout } from "../page/lanes.js";
import { PLAIN } from "../page/plain.js";
import { RoomRecord } from "../page/record.js";
import { parseRoute, roomLink, roomTitle } from "../page/route.js";
import { beginning, bytesText, pieces, short } from "../page/text.js";
import { LOOKS_MAX, rateText, Trend } from "../page/trend.js";
import { verifyFile } from "../page/verification.js";
import { visibleRows } from "../page/window.js";
import { random } from "../harness/random.js";

const PAGE = new URL("../", import.meta.url);
const ROOM = roomId("main");
const read = (path) => readFileSync(new URL(path, PAGE), "utf8");
const filesOf = (folder) => readdirSync(new URL(folder, PAGE), { recursive: true }).filter((name) => /\.\w+$/.test(name)).map((name) => folder + name);
const FILES = ["index.html", ...filesOf("page/")];

test("nothing in the page reads text as markup or program", () => {
  assert.ok(FILES.length > 30, "all files were looked at");
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc|\beval\b|new Function|javascript:|setAttribute\("(?:style|on)/;
  for (const path of [...FILES, ...filesOf("crdt/")]) assert.doesNotMatch(read(path), forbidden, path);
  const html = read("index.html");
  assert.doesNotMatch(html, /\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)/);
});

test("the page loads nothing from elsewhere and needs no build", () => {
  for (const path of FILES) {
    assert.doesNotMatch(read(path).replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\/|@import|url\(/, path);
  }
  for (const [, path] of read("index.html").matchAll(/(?:src|href)="([^"#]+)"/g)) assert.ok(FILES.includes(path), path);
});

test("every file of the page is loaded, by a relative path", () => {
  const loaded = new Set(["page/main.js", "page/verify-worker.js"]);
  for (const path of loaded) {
    for (const [, from] of read(path).matchAll(/^(?:import|export) [^;=()]*"([^"]+)";$/gm)) {
      assert.match(from, /^\.\.?\//, `${path} imports ${from}`);
      loaded.add(new URL(from, new URL(path, "file:///")).pathname.slice(1));
    }
  }
  assert.deepEqual(FILES.filter((path) => path.endsWith(".js") && !loaded.has(path)), []);
  for (const path of FILES) assert.ok(read(path).split("\n").length <= 401, `${path} is longer than 400 lines`);
});

test("letters that cannot be seen, or move others, are named", () => {
  const shown = (text) => pieces(text).map((piece) => (piece.mark ? `[${piece.text}]` : piece.text)).join("");
  assert.equal(shown("a\u202eb"), "a[U+202E]b");
  assert.equal(shown("\u001b[31m\u0007"), "[U+001B][31m[U+0007]");
  assert.equal(shown("x\u200by\u00adz\ufeff"), "x[U+200B]y[U+00AD]z[U+FEFF]");
  assert.equal(shown("\u2066\u2069\u2028\r\n\t"), "[U+2066][U+2069][U+2028][U+000D][U+000A][U+0009]");
  assert.equal(shown("\u{e0041}\u{f0000}"), "[U+E0041][U+F0000]");
  assert.equal(shown("\u00a0\u3164\u2003"), "[U+00A0][U+3164][U+2003]");
  assert.equal(shown("grüße, 世界, <b>&amp;</b>, 🎉"), "grüße, 世界, <b>&amp;</b>, 🎉");
  assert.equal(shown(`z${"\u0301".repeat(50)}!`), `z${"\u0301".repeat(3)}\u25cc!`);
  assert.equal(shown(""), "");
});

test("a text is cut between letters and says how much is left out", () => {
  assert.deepEqual(beginning("a🎉bc", 2), { text: "a🎉", more: 2 });
  assert.deepEqual(beginning("abc", 3), { text: "abc", more: 0 });
  assert.equal(short("0123456789abcdef"), "01234567…cdef");
});

test("equal digests give equal pictures, mirrored, and others give others", () => {
  const next = random(7);
  const digests = Array.from({ length: 300 }, () => Array.from({ length: 64 }, () => next(16).toString(16)).join(""));
  const drawn = digests.map((digest) => JSON.stringify(glyph(digest)));
  assert.deepEqual(drawn, digests.map((digest) => JSON.stringify(glyph(digest))));
  assert.equal(new Set(drawn).size, digests.length);
  for (const digest of digests) {
    const { hue, cells } = glyph(digest);
    assert.ok(hue >= 0 && hue < 360 && cells.length === SIDE * SIDE);
    for (let row = 0; row < SIDE; row += 1) {
      const line = cells.slice(row * SIDE, (row + 1) * SIDE);
      assert.deepEqual(line, [...line].reverse());
    }
  }
});

test("of a long list only the rows on the screen are kept, and the pixels add up", () => {
  const row = 56;
  for (const [total, top] of [[0, 0], [1, 0], [1_000_000, 0], [1_000_000, 20_000_000], [1_000_000, 1e12], [5, -40]]) {
    const { first, end, before, after } = visibleRows({ total, row, top, height: 500 });
    assert.ok(0 <= first && first <= end && end <= total, `${total} ${top}`);
    assert.ok(end - first <= 27, `${end - first} rows`);
    assert.equal(before + (end - first) * row + after, total * row);
    const seen = Math.min(Math.max(0, Math.floor(top / row)), total - 1);
    if (total > 0) assert.ok(first <= seen && seen < end);
  }
});

const op = (id, author, prev = null, preds = [], refs = []) => ({ id, author, prev, preds, refs });

test("each author has a lane, merges lead to others, the newest is the first row", () => {
  const { rows, edges, lanes } = layout([op("a0", "A"), op("b0", "B", null, ["a0"]), op("a1", "A", "a0", ["b0"], ["a0"])]);
  assert.deepEqual(rows.map(({ op: { id }, lane, row }) => [id, lane, row]), [["a1", 0, 0], ["b0", 1, 1], ["a0", 0, 2]]);
  assert.equal(lanes, 2);
  assert.deepEqual(edges.map(({ kind, from, to, fromLane, toLane }) => [kind, from, to, fromLane, toLane]), [
    ["prev", 0, 2, 0, 0], ["pred", 0, 1, 0, 1], ["ref", 0, 2, 0, 0], ["pred", 1, 2, 1, 0],
  ]);
});

test("a forked chain gets a lane for each branch, also at its first op", () => {
  const { rows, authors } = layout([op("a0", "A"), op("a1", "A", "a0"), op("x1", "A", "a0"), op("x2", "A", "x1"), op("a2", "A", "a1")]);
  const lane = Object.fromEntries(rows.map(({ op: { id }, lane, branch }) => [id, [lane, branch]]));
  assert.deepEqual(lane, { a0: [0, false], a1: [0, false], a2: [0, false], x1: [1, true], x2: [1, false] });
  assert.deepEqual(authors, ["A", "A"]);
  assert.equal(layout([op("a", "A"), op("b", "A")]).lanes, 2);
});

test("lines to ops that are not drawn end below the last row, in the author's lane", () => {
  const { rows, edges } = layout([op("a7", "A", "a6", ["b2"]), op("a8", "A", "a7")]);
  assert.deepEqual(rows.map(({ op: { id }, lane }) => [id, lane]), [["a8", 0], ["a7", 0]]);
  assert.deepEqual(edges.map(({ kind, from, to, toLane }) => [kind, from, to, toLane]), [["prev", 0, 1, 0], ["prev", 1, 2, 0], ["pred", 1, 2, 0]]);
});

test("growth is what came between two looks, as long as they are remembered", () => {
  const trend = new Trend();
  assert.deepEqual([trend.rates, trend.mean], [[], null]);
  trend.note(1_000, 10);
  assert.equal(trend.mean, null);
  trend.note(3_000, 14);
  trend.note(4_000, 14);
  trend.note(5_000, 2);
  trend.note(5_000, 9);
  assert.deepEqual(trend.rates, [2, 0, 0, 0]);
  trend.note(6_000, 20);
  assert.deepEqual(trend.mean, { perSecond: 2, seconds: 5 });
  for (let at = 1; at <= LOOKS_MAX; at += 1) trend.note(6_000 + at * 1_000, 20 + at);
  assert.deepEqual([trend.rates.length, new Set(trend.rates), trend.mean], [LOOKS_MAX - 1, new Set([1]), { perSecond: 1, seconds: 40 }]);
  assert.deepEqual([0, 0.01, 0.25, 9.96, 10, 1_234.5].map(rateText), ["0/s", "<0.1/s", "0.3/s", "10.0/s", "10/s", "1,235/s"]);
});

test("bytes are told in the largest unit of which there is one", () => {
  const told = [0, 1_023, 1_024, 1_536, 102_400, 1_048_575, 1_048_576, 2 ** 53 - 1].map(bytesText);
  assert.deepEqual(told, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "100 KiB", "1.0 MiB", "1.0 MiB", "8.0 PiB"]);
});

test("an answer of another shape is none, whatever it holds", () => {
  const [id, other] = ["ab".repeat(32), "<b>"];
  const member = { agent: "x", store: id, author: null, state: "live", set: id, same: true, ahead: 0, behind: 0 };
  const room = { id, ops: 1, heads: [id], set: id, members: [member] };
  assert.ok(SHAPES.room(room));
  assert.ok(SHAPES.room({ ...room, members: [{ ...member, heard: null, more: 1 }] }));
  for (const bad of [null, 1, [], { ...room, set: other }, { ...room, heads: [other] }, { ...room, members: {} }, { ...room, ops: "1" },
    { ...room, members: [{ ...member, ahead: -1 }] }, { ...room, members: [{ ...member, author: other }] }]) {
    assert.ok(!SHAPES.room(bad), JSON.stringify(bad));
  }
  assert.ok(!SHAPES.rooms({ rooms: [{ id }], next: null }));
  assert.ok(!SHAPES.evidence({ evidence: [{ id, file: 1 }] }));
  assert.ok(!SHAPES.version(undefined));
});

test("a room stands as its worst member does", () => {
  const member = (state, same, ahead = 0, behind = 0) => ({ state, same, ahead, behind });
  assert.equal(agreementOf([]), "empty");
  assert.equal(agreementOf([member("live", true), member("live", true)]), "agree");
  assert.equal(agreementOf([member("live", true), member("catching-up", false, 3)]), "lagging");
  assert.equal(agreementOf([member("live", false, 3)]), "lagging");
  assert.equal(agreementOf([member("lagging", false, 3), member("live", false)]), "diverging");
  assert.equal(agreementOf([member("withholding", true)]), "diverging");
  assert.equal(lagOf(member("live", false, 1_200, 3)), "lacks up to 1,200, has 3 more");
});

test("an address names a view, and whatever else it says is nothing", () => {
  const id = "ab".repeat(32);
  assert.deepEqual(parseRoute(""), { view: "overview" });
  assert.deepEqual(parseRoute("#/files"), { view: "files" });
  assert.deepEqual(parseRoute(roomLink("main")), { view: "room", room: "main" });
  assert.deepEqual(parseRoute(roomLink(`id:${id}`, "graph")), { view: "graph", room: `id:${id}` });
  assert.equal(roomTitle(`id:${id}`), `unnamed ${short(id)}`);
  assert.equal(roomTitle("main"), "main");
  assert.deepEqual(parseRoute(roomLink("main", "graph")), { view: "graph", room: "main" });
  assert.deepEqual(parseRoute(roomLink("main", "op", id)), { view: "op", room: "main", op: id });
  assert.deepEqual(parseRoute(roomLink("main", "refused", "3")), { view: "refused", room: "main", number: 3 });
  for (const hash of ["#/room/", "#/room/MAIN", "#/room/<b>", "#/room/main/op/x", "#/room/main/constructor", "#/room/main/graph/x", `#/room/main/op/${id}/x`, "#/x"]) {
    assert.equal(parseRoute(hash).view, "unknown", hash);
  }
});

/** What a record makes of these ops, given as a room gives them. */
async function recorded(ops, events = []) {
  const log = new Log(ROOM);
  for (const one of ops) log.insert(one);
  const record = new RoomRecord();
  await record.follow({ log, name: "main", async *ops() { yield* log.admitted; } }, () => {});
  for (const event of events) record.event(event);
  return { log, record };
}

test("every op beside another one at its place is marked, and each place is one fork", async () => {
  const key = await SecretKey.generate();
  const root = await signOp(draft(), key);
  const ops = [root];
  for (const word of ["a", "b", "c"]) ops.push(await signOp(draft({ data: [word], seq: 1, prev: root.id, depth: 2 }), key));
  ops.push(await signOp(draft({ data: ["d"], seq: 2, prev: ops[1].id, depth: 3 }), key), await signOp(draft(), await SecretKey.generate()));
  const { log, record } = await recorded(ops);
  assert.deepEqual([record.forks, log.equivocations.length], [1, 1]);
  assert.deepEqual(record.forked, new Set(ops.slice(1, 4).map(({ id }) => id)));
  assert.equal(record.rows.length, 6);
  assert.deepEqual([record.headsOf(log.set), record.headsOf("00".repeat(32))], [log.heads.length, null]);
});

test("a lie that is told again is counted once, and the number of those kept is bounded", async () => {
  const lie = (at) => ({ type: "refused", id: "00".repeat(32), code: "data", envelope: { at } });
  const { record } = await recorded([], [lie(1), lie(1), lie(2), { type: "withheld", ids: ["x"] }]);
  assert.deepEqual([record.refusedCount, record.refused.map(({ number, text }) => [number, text])], [2, [[1, '{"at":1}'], [2, '{"at":2}']]]);
  assert.deepEqual([...record.withheld], ["x"]);
  for (let at = 3; at < 1_000; at += 1) record.event(lie(at));
  assert.deepEqual([record.refusedCount, record.refused.length, record.rows.length], [999, 256, 256]);
});

test("each rule is also told in plain words", () => {
  assert.deepEqual(Object.keys(PLAIN).sort(), Object.keys(RULES).sort());
});

test("members in which two heads differ are marked", () => {
  const rows = compare({ a: 1, b: [1], c: "x" }, { a: 1, b: [2], d: null });
  assert.deepEqual(rows, [
    { name: "a", a: "1", b: "1", differs: false },
    { name: "b", a: "[1]", b: "[2]", differs: true },
    { name: "c", a: '"x"', b: "", differs: true },
    { name: "d", a: "", b: "null", differs: true },
  ]);
});

const draft = (rest) => ({ room: ROOM, seq: 0, prev: null, depth: 1, ts: 1, data: ["one"], ...rest });

test("each check of an op stands by itself: those before a failure are good, those after it are open", async () => {
  const key = await SecretKey.generate();
  const good = await signOp(draft(), key);
  const log = new Log(ROOM);
  assert.deepEqual((await checkAlone(good.envelope())).checks.map(({ verdict }) => verdict), Array(5).fill("good"));
  assert.equal(checkParents(good, log).verdict, "open");
  log.insert(good);
  assert.equal(checkParents(good, log).verdict, "good");
  const lie = async (change) => {
    const value = JSON.parse(good.envelope());
    change(value);
    const { checks, code } = await checkAlone(JSON.stringify(value));
    return [code, checks.map(({ verdict }) => verdict[0]).join("")];
  };
  assert.deepEqual(await lie((value) => { value.more = 1; }), ["field", "boooo"]);
  assert.deepEqual(await lie((value) => { value.data = ["two"]; }), ["data", "gbooo"]);
  assert.deepEqual(await lie((value) => { value.head.ts = 2; }), ["id", "ggboo"]);
  assert.deepEqual(await lie((value) => { value.sig = "0".repeat(128); }), ["sig", "ggggb"]);
});

test("a file is verified to the end: problems are counted, and good lines after bad ones too", async () => {
  const key = await SecretKey.generate();
  const log = new Log(ROOM);
  const first = await signOp(draft(), key);
  const second = await signOp(draft({ seq: 1, prev: first.id, depth: 2 }), key);
  for (const one of [first, second]) log.insert(one);
  const lines = [...exportLines(log)];
  const all = await verifyFile(new Blob(lines));
  assert.deepEqual(all.report, { schema: "crdt-node/verify/1", ok: true, code: 0, ops: 2, hashes: 4, signatures: 2, links: 1, equivocations: 0, problems: [], proved: null });
  assert.deepEqual(all.rooms, [{ room: ROOM, ops: 2, set: log.set, log: log.log }]);
  const bad = await verifyFile(new Blob(["{}\n", "x".repeat(300_000), "\n", lines[0], lines[0], lines[1].replace(/"sig":"../, '"sig":"zz')]));
  assert.equal(bad.report.ok, false);
  assert.deepEqual([bad.report.ops, bad.report.signatures, bad.report.problems.length], [5, 1, 4]);
  assert.match(bad.report.problems[1], /^line 2: a line has at most 131072 bytes$/);
  assert.match(bad.report.problems[2], /twice/);
  const other = await signOp(draft({ data: ["two"] }), key);
  const proof = await verifyFile(new Blob([writeEvidence(first, other)]));
  assert.deepEqual([proof.report.ok, proof.report.hashes, proof.report.proved.author], [true, 2, key.author]);
  const none = await verifyFile(new Blob([writeEvidence(first, other).replace('"seq":0', '"seq":1')]));
  assert.deepEqual([none.report.ok, none.report.proved], [false, null]);
});
