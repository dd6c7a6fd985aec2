// The page as a browser shows it: served by a real relayer, or by one that lies.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { canonical, Client, exportLines, Log, roomId, RULES, SecretKey, signOp, writeEvidence } from "../crdt.js";
import { utf8 } from "../crdt/bytes.js";
import { opId } from "../crdt/hash.js";
import { browser, chromium } from "../harness/chromium.js";
import { lyingRelayer } from "../harness/lying-relayer.js";
import { folder, node, relayer, verdictOfNode } from "../harness/processes.js";

const OPTIONS = { timeout: 240_000, skip: chromium() === undefined && "there is no Chromium; apt-get install chromium" };
const ROOM = roomId("main");
const HOSTILE = [
  "<script>document.title='owned'</script>",
  "<img src=x onerror=\"document.title='owned'\"><svg onload=\"document.title='owned'\">",
  "\u202egnp.exe\u202c \u2067x\u2069 \u200b\u{e0041}",
  "\u001b[31mred\u001b[0m\u0007\u0000",
  "javascript:document.title='owned'",
];

const httpOf = (url) => url.replace("ws:", "http:").replace("/websocket", "");
const text = (selector) => `document.querySelector(${JSON.stringify(selector)})?.textContent ?? ""`;
const includes = (selector, words) => `(${text(selector)}).includes(${JSON.stringify(words)})`;
const AGREES = includes(".room-state", "the relayer announces the same set");
const SET = "document.querySelector('.room-state .digest').dataset.digest";

async function post(http, ops, room = "main") {
  const body = `[${ops.map((op) => op.envelope()).join(",")}]`;
  const answer = await fetch(`${http}/v1/rooms/${room}/ops`, { method: "POST", headers: { "content-type": "application/json" }, body });
  return (await answer.json()).verdicts.map(({ verdict }) => verdict);
}

const first = async (data, rest = {}) => signOp({ room: ROOM, data, seq: 0, prev: null, depth: 1, ts: 1, ...rest }, await SecretKey.generate());

async function entries(room, count) {
  const found = [];
  for await (const { value } of room.entries()) {
    found.push(value);
    if (found.length === count) return found;
  }
  throw new Error("the room ended");
}

test("a node, a client and the page hold the same after each wrote", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  const alice = await node(t, "alice");
  await alice.call("send", "--relay", url, "pay bob 12.50 rent");
  const client = new Client(url, { key: await SecretKey.generate() });
  t.after(() => client.close());
  const room = await client.join("main");
  await entries(room, 1);
  await room.append("from the client");

  const tab = await (await browser(t)).open(`${httpOf(url)}/#/room/main`);
  await tab.until(`document.querySelectorAll("tr.line").length === 2 && ${AGREES}`);
  await tab.type(".write input", '{"type":"note","text":"from the page"}');
  await tab.press("Enter");
  await tab.until(includes(".write", "the relayer says that it is stored"));
  const [, , own] = await entries(room, 3);
  assert.deepEqual({ ...own }, { text: "from the page", type: "note" });
  await room.synced();
  await alice.call("sync", url);
  await tab.until(`document.querySelectorAll("tr.line").length === 3 && ${AGREES}`);

  const status = await alice.status();
  const { set, log } = room.digests();
  assert.deepEqual({ set, log }, { set: status.set, log: status.log });
  assert.equal(await tab.value(SET), set);
  for (const words of ["12.50", "from the client", "from the page"]) assert.ok(await tab.value(includes(".feed", words)), words);
  await tab.until(`[...document.querySelectorAll("[data-member] .digest")].length >= 4 && [...document.querySelectorAll("[data-member]")].every((row) => row.querySelector("[data-column=Set] .digest")?.dataset.digest === "${set}")`);

  // Digests that somebody has from elsewhere.
  for (const [given, words] of [[status.set, "the same set of ops"], [status.log, "the same log"], ["0".repeat(64), "not what this browser holds"], ["<b>", "a digest has 64 digits"]]) {
    await tab.value(`document.querySelector(".compare input").value = ""`);
    await tab.type(".compare input", given);
    await tab.press("Enter");
    await tab.until(includes(".compare [role=status]", words));
  }

  // Everything again, with the numbers of crdt-node.
  await tab.go("#/room/main/verify");
  await tab.until("document.querySelector('button.primary') && !document.querySelector('button.primary').disabled");
  await tab.click("button.primary");
  await tab.until("document.querySelector('.verdict')");
  const file = join(folder(t), "main.ops");
  writeFileSync(file, [...exportLines(room.log)].join(""));
  assert.deepEqual(JSON.parse(await tab.value(text(".report"))), await verdictOfNode(file));
  assert.ok(await tab.value(includes(".outcome", "in a worker")));
  assert.equal(await tab.value("document.querySelectorAll('.outcome td .digest')[1].dataset.digest"), log);
  assert.deepEqual(tab.problems, []);
});

test("what others write shows as text, whatever it is", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  // The time is beyond what a date can be.
  const op = await first(HOSTILE, { ts: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(await post(httpOf(url), [op]), ["stored"]);
  const tab = await (await browser(t)).open(`${httpOf(url)}/#/room/main`);
  await tab.until(`document.querySelectorAll("tr.line").length === ${HOSTILE.length}`);
  const check = async (where) => {
    const shown = await tab.value("document.querySelector('main').textContent");
    assert.ok(shown.includes("<script>document.title='owned'</script>") && shown.includes("<img src=x onerror="), where);
    for (const mark of ["U+202E", "U+202C", "U+2067", "U+200B", "U+E0041", "U+001B", "U+0000"]) {
      assert.ok(shown.includes(mark) || (where === "bytes" && mark.startsWith("U+00")), `${where}: ${mark}`);
    }
    assert.doesNotMatch(shown, /[\u0000-\u0009\u000b-\u001f\u200b\u202a-\u202e\u2066-\u2069\u{e0041}]/u, where);
    assert.equal(await tab.value("document.querySelectorAll('main script, main img, main [onerror]').length"), 0, where);
    assert.doesNotMatch(await tab.value("document.title"), /owned/, where);
  };
  await check("feed");
  await tab.go(`#/room/main/op/${op.id}`);
  await tab.until("document.querySelectorAll('.check').length === 6");
  await check("op");
  await tab.go("#/room/main/graph");
  await tab.until("document.querySelectorAll('.graph-rows li').length === 1");
  assert.ok(await tab.value(includes(".graph-what", "<script>")));
  // Even text that a program wanted to be markup stays text.
  await assert.rejects(tab.value("document.body.insertAdjacentHTML('beforeend', '<b>x</b>')"), /TrustedHTML/);
});

test("a room whose name nobody has said is opened from the overview", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  const id = roomId("secret");
  const me = new Client(url, { key: await SecretKey.generate() });
  t.after(() => me.close());
  await (await me.join(`id:${id}`)).append({ type: "note", text: "in a room without a name" });
  const tab = await (await browser(t)).open(`${httpOf(url)}/`);
  await tab.until(includes(`[data-room="${id}"]`, "unnamed"));
  // Beside it is how it grows: a curve and a number, once it has been looked at twice.
  await tab.until(includes(`[data-room="${id}"] .sparkline`, "/s"));
  assert.match(await tab.value(`document.querySelector('[data-room="${id}"] polyline').getAttribute("points")`), /^40,16/);
  await (await me.join(`id:${id}`)).append({ type: "note", text: "and one more" });
  await tab.until(`document.querySelector('[data-room="${id}"] polyline').getAttribute("points").includes(",0.0")`);
  assert.match(await tab.value(`document.querySelector('[data-room="${id}"] [data-column="Bytes"]').textContent`), /^1\.[0-9] KiB$/);
  await tab.click(`[data-room="${id}"] a`);
  await tab.until("document.querySelectorAll('tr.line').length === 2");
  assert.match(await tab.value("document.querySelector('h1').textContent"), /^unnamed [0-9a-f]{8}…/);
  await tab.click(".tabs a:nth-child(4)");
  await tab.until("document.querySelector('button.primary') && !document.querySelector('button.primary').disabled");
  await tab.click("button.primary");
  await tab.until("document.querySelector('.verdict')");
  assert.deepEqual(tab.problems, []);
});

/** A lie about an op, and the rule by which it is found out. */
const LIES = {
  altered: ["data", (op) => ({ ...op, data: ["pay mallory 1000"] })],
  "re-ordered": ["id", (op) => ({ ...op, head: { ...op.head, depth: 7 } })],
  "re-attributed": ["sig", (op, key) => {
    const head = { ...op.head, author: key };
    return { ...op, head, id: opId(utf8(canonical(head))) };
  }],
};

test("a relayer that alters, re-orders and re-attributes ops is found out: each is marked with the rule, in words and colour", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  const names = Object.keys(LIES);
  const ops = await Promise.all([...names, "untouched"].map((name) => first([`${name} pays bob 5`])));
  assert.deepEqual(await post(httpOf(url), ops), ops.map(() => "stored"));
  const mallory = (await SecretKey.generate()).author;
  const lies = new Map(names.map((name, at) => [ops[at].id, (op) => LIES[name][1](op, mallory)]));
  const liar = await lyingRelayer(t, url, (op) => lies.get(op.id)?.(op) ?? op);

  const tab = await (await browser(t)).open(`${liar.http}/#/room/main`);
  await tab.until("document.querySelectorAll('tr.refused').length === 3 && document.querySelectorAll('tr.line:not(.refused)').length === 1");
  const colour = (selector) => tab.value(`getComputedStyle(document.querySelector(${JSON.stringify(selector)})).color`);
  const good = await colour("tr.line:not(.refused) .status");
  assert.ok(await tab.value(includes("tr.line:not(.refused)", "checked")));
  for (const [name, [code]] of Object.entries(LIES)) {
    const row = `tr[data-refused=${code}]`;
    assert.ok(await tab.value(includes(row, `refused: ${code}`)), name);
    assert.ok(await tab.value(includes(row, RULES[code])), name);
    assert.ok(!(await tab.value(`${text(`${row} .mark`)}`)).includes("checked"), name);
    assert.notEqual(await colour(`${row} .status`), good, name);
    assert.equal(await tab.value(`document.querySelector(${JSON.stringify(`${row} .status`)}).className`), "status bad", name);
  }
  assert.ok(await tab.value(includes(".room-state", "3 ops were refused here")));
  assert.ok(!(await tab.value(AGREES)), "the page does not agree with a liar");
  assert.ok(await tab.value(includes(".room-state", "1 op checked here")));

  for (const [name, [code]] of Object.entries(LIES)) {
    const href = await tab.value(`document.querySelector("tr[data-refused=${code}] a")?.hash ?? ""`);
    await tab.go(href);
    await tab.until(`document.querySelector(".check.bad strong")?.textContent === "rule ${code}: "`);
    assert.equal(await tab.value("document.querySelectorAll('.check.bad').length"), 1, name);
    assert.ok(!(await tab.value("[...document.querySelectorAll('.check')].at(-1).dataset.verdict === 'good'")), name);
    await tab.go("#/room/main");
    await tab.until("document.querySelectorAll('tr.refused').length === 3");
  }
  await tab.go("#/room/main/graph");
  await tab.until("document.querySelectorAll('.graph-rows li').length === 1");
});

test("who forked a chain is shown in words and colour, side by side, and as a file that crdt-node accepts", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  const key = await SecretKey.generate();
  const draft = { room: ROOM, seq: 0, prev: null, depth: 1, ts: 1 };
  const ops = [await signOp({ ...draft, data: ["bob gets it"] }, key), await signOp({ ...draft, data: ["carol gets it"] }, key)];
  assert.deepEqual(await post(httpOf(url), ops), ["stored", "stored"]);
  const tab = await (await browser(t)).open(`${httpOf(url)}/#/room/main/evidence`);
  // With the data too, once the ops came: the evidence itself has only the heads.
  await tab.until("document.querySelector('[data-evidence] tbody tr:last-child th')?.textContent === 'data'");
  const differing = await tab.value("[...document.querySelectorAll('[data-evidence] tr.differs')].map((row) => [row.querySelector('th').textContent, row.querySelectorAll('mark').length, row.textContent.includes('differs')])");
  assert.deepEqual(differing.map(([name]) => name), ["id", "dh", "dl", "sig", "data"]);
  assert.ok(differing.every(([, marks, words]) => marks === 2 && words));
  await tab.go("#/room/main/graph");
  await tab.until("document.querySelectorAll('.graph-rows .fork-text').length === 2 && document.querySelectorAll('.node.forked').length === 2");
  await tab.go("#/room/main");
  await tab.until("document.querySelectorAll('tr.forked').length === 2");
  assert.ok(await tab.value(includes("tr.forked", "equivocation")));

  // The file, dropped on the page: checked here, and nothing is sent.
  await tab.go("#/files");
  await tab.until("document.querySelector('.drop')");
  const file = writeEvidence(...ops);
  const drop = (name, content) => tab.value(`{
    const data = new DataTransfer();
    data.items.add(new File([${JSON.stringify(content)}], ${JSON.stringify(name)}));
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }`);
  const asked = "performance.getEntriesByType('resource').filter(({ initiatorType, name }) => initiatorType === 'fetch' && !/(healthz|readyz)$/.test(name)).length";
  const before = await tab.value(asked);
  await drop("good.json", file);
  await tab.until("document.querySelector('[data-file=\"good.json\"] .verdict')?.dataset.ok === 'true' && document.querySelector('[data-file=\"good.json\"] [data-evidence]')");
  const log = new Log(ROOM);
  for (const op of ops) log.insert(op);
  await drop("bad.ops", [...exportLines(log)].join("").replace("bob gets it", "eve gets it"));
  await tab.until("document.querySelector('[data-file=\"bad.ops\"] .verdict')?.dataset.ok === 'false'");
  assert.ok(await tab.value(includes("[data-file='bad.ops'] .problems", RULES.data)));
  assert.equal(await tab.value(asked), before, "nothing was asked of the relayer");
  const path = join(folder(t), "evidence.json");
  writeFileSync(path, file);
  assert.equal((await verdictOfNode(path)).proved.author, key.author);
  assert.deepEqual(tab.problems, []);
});

test("a long room is checked whole and shown by the rows that are seen", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  const key = await SecretKey.generate();
  const ops = [];
  for (let seq = 0; seq < 210; seq += 1) {
    const data = Array.from({ length: 10 }, (_, at) => `entry ${seq * 10 + at}`);
    ops.push(await signOp({ room: ROOM, data, seq, prev: ops.at(-1)?.id ?? null, depth: seq + 1, ts: seq }, key));
  }
  await post(httpOf(url), ops);
  const tab = await (await browser(t)).open(`${httpOf(url)}/#/room/main`);
  await tab.until("document.querySelector('.feed').getAttribute('aria-rowcount') === '2100'");
  assert.ok((await tab.value("document.querySelectorAll('tr.line').length")) < 40);
  assert.ok(await tab.value(includes("tr.line", "entry 2099")));
  await tab.value("document.querySelector('.scroller').scrollTop = 1e9");
  await tab.until("[...document.querySelectorAll('tr.line')].at(-1).textContent.includes('entry 0')");
  assert.ok((await tab.value("document.querySelectorAll('tr.line').length")) < 40);
  await tab.go("#/room/main/graph");
  await tab.until("document.querySelectorAll('.graph-rows li[data-op]').length === 200 && document.querySelector('.folded').textContent === '+10 older'");
});

test("without WebCrypto the bundled arithmetic checks, and the page says so", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  await post(httpOf(url), [await first(["one"])]);
  const tab = await (await browser(t)).open("about:blank");
  await tab.call("Page.addScriptToEvaluateOnNewDocument", { source: "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });" });
  await tab.call("Page.navigate", { url: `${httpOf(url)}/#/room/main` });
  await tab.until("document.querySelectorAll('tr.line').length === 1");
  assert.ok(await tab.value(includes("#health", "bundled arithmetic")));
  assert.ok(await tab.value("document.querySelector('#health .warn') !== null"));
  assert.ok(await tab.value(includes(".write", "cannot sign")));
});

test("every view fits 360 pixels, can be used by keyboard, and has a contrast that can be read", OPTIONS, async (t) => {
  const { url } = await relayer(t);
  const op = await first(["a".repeat(4_000), { to: "b".repeat(300) }]);
  await post(httpOf(url), [op]);
  const tab = await (await browser(t)).open(`${httpOf(url)}/`, { width: 360, height: 700 });
  for (const [hash, ready] of [["#/", "document.querySelector('tbody tr')"], ["#/files", "document.querySelector('.drop')"], ["#/room/main", "document.querySelector('tr.line')"],
    ["#/room/main/graph", "document.querySelector('.graph-rows li')"], ["#/room/main/evidence", "document.querySelector('.lead')"],
    [`#/room/main/op/${op.id}`, "document.querySelector('.bytes')"], ["#/room/main/verify", "document.querySelector('.primary')"]]) {
    await tab.go(hash);
    await tab.until(ready);
    for (const dark of [false, true]) {
      await tab.look({ width: 360, height: 700, dark });
      assert.equal(await tab.value("document.documentElement.scrollWidth"), 360, hash);
      assert.deepEqual(await tab.value(FAINT), [], `${hash} ${dark ? "dark" : "light"}`);
    }
  }
  await tab.go("#/room/main");
  await tab.until("document.querySelector('tr.line')");
  assert.ok((await tab.value("document.querySelector('tr.line .mark').getBoundingClientRect().width")) > 60, "the mark is seen at 360 px too");
  await tab.go("#/");
  await tab.until("document.querySelector('tbody a')");
  await tab.value("document.querySelector('tbody a').focus(); document.querySelector('tbody a').dataset.old = ''");
  await post(httpOf(url), [await first(["another"])]);
  await tab.until("document.querySelector('tbody a:not([data-old])')");
  assert.equal(await tab.value("document.activeElement.textContent"), "main", "the focus stays on the link when the table changes");

  await tab.go("#/room/main");
  await tab.until("document.querySelector('tr.line')");
  await tab.press("Tab");
  const reached = new Set();
  for (let step = 0; step < 40; step += 1) {
    const [what, outlined] = await tab.value("[document.activeElement.tagName + ' ' + (document.activeElement.className || document.activeElement.textContent.slice(0, 20)), getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement === document.body]");
    assert.ok(outlined, `the focus on ${what} is not seen`);
    reached.add(what);
    await tab.press("Tab");
  }
  for (const what of ["A Graph", "DIV scroller", "BUTTON Sign and send", "A openapi.json"]) assert.ok(reached.has(what), `${what} of ${[...reached]}`);
});

/** Texts whose contrast to what is behind them is below 4.5 : 1. */
const FAINT = `(() => {
  const parse = (colour) => { const c = new OffscreenCanvas(1, 1).getContext("2d"); c.fillStyle = colour; c.fillRect(0, 0, 1, 1); const [r, g, b, a] = c.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (front, back) => front.slice(0, 3).map((part, at) => part * front[3] + back[at] * (1 - front[3]));
  const behind = (element) => element === null ? [255, 255, 255] : over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  const light = (colour) => { const [r, g, b] = colour.map((part) => { const v = part / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (text === "" || element.closest("script, noscript, :disabled") || element.getClientRects().length === 0) continue;
    const back = behind(element);
    const [a, b] = [light(over(parse(getComputedStyle(element).color), back)), light(back)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(text.slice(0, 30) + " " + contrast.toFixed(2));
  }
  return faint;
})()`;
