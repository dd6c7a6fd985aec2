// The graph of ops: a lane for each author, what came last on top. Every row is a link to its op.

import { append, el, replace, svg } from "../dom.js";
import { glyph } from "../glyph.js";
import { layout } from "../lanes.js";
import { roomLink } from "../route.js";
import { counted, short } from "../text.js";
import { author } from "./digest.js";
import { roomFrame } from "./frame.js";
import { safe } from "./safe.js";
import { canonical } from "../../crdt/json.js";

const NEWEST = 200;
/** Between two pictures, while ops come. */
const REST_MS = 200;
/** Pixels; the style sheet says the same of the rows. */
const ROW = 36;
const LANE = 18;
/** So far beside the lane it leads to runs a line. */
const BESIDE = 4;
/** The lanes together get no wider than so many would be. */
const LANES_SPACED = { wide: 12, narrow: 5 };

/** @param {HTMLElement} main @returns {() => void} ends it */
export function graph(main, route, session) {
  return roomFrame(main, route, session, (content, record) => {
    const place = el("section", { class: "card" });
    append(content, [place]);
    let drawn = "";
    const state = () => `${record.room.log.size} ${record.forked.size}`;
    let timer = null;
    const draw = () => {
      timer = null;
      drawn = state();
      replace(place, picture(record, session.author));
    };
    draw();
    const changed = () => {
      if (state() !== drawn) timer ??= setTimeout(draw, REST_MS);
    };
    return [session.listen(changed), () => clearTimeout(timer)];
  });
}

function picture({ room: { log, name: room }, forked }, own) {
  const newest = log.admitted.slice(-NEWEST);
  const folded = log.size - newest.length;
  const nodes = newest.map(({ id, head: { author, prev, preds, refs } }) => ({ id, author, prev, preds, refs }));
  const { rows, edges, lanes, authors } = layout(nodes);
  if (rows.length === 0) return [el("h2", {}, "Graph"), el("p", { class: "note" }, "There is no op yet.")];
  const heads = new Set(log.heads);
  const spaced = matchMedia("(max-width: 52rem)").matches ? LANES_SPACED.narrow : LANES_SPACED.wide;
  const lane = lanes > spaced ? (LANE * spaced) / lanes : LANE;
  const x = (at) => Math.round((at + 0.75) * lane * 10) / 10;
  const y = (at) => at * ROW + ROW / 2;
  const width = Math.ceil((lanes + 0.5) * lane);
  const lines = edges.map((edge) => svg("path", { class: `edge ${edge.kind}`, d: curve({ x: x(edge.fromLane), y: y(edge.from) }, { x: x(edge.toLane), y: y(edge.to) }) }));
  const marks = rows.map(({ op, lane: at, row }) => node(op, x(at), y(row), forked.has(op.id)));
  const drawing = svg("svg", { class: "graph-picture", width, height: (rows.length + (folded > 0 ? 1 : 0)) * ROW, "aria-hidden": "true" }, lines, marks);
  const list = el("ol", { class: "graph-rows" }, rows.map(({ op }) => graphRow(log.op(op.id), { room, own, isForked: forked.has(op.id), isHead: heads.has(op.id) })),
    folded > 0 ? el("li", { class: "folded" }, `+${folded.toLocaleString("en")} older`) : null);
  const keys = new Set(authors).size;
  return [
    el("header", { class: "split" }, el("h2", {}, "Graph"), el("p", { class: "note" }, `${counted(rows.length, "op")} of ${counted(keys, "author")}, the last to come on top`)),
    el("p", { class: "legend" }, legend("prev", "the author’s own chain"), legend("pred", "another head it knew"), legend("ref", "an op it refers to"), forked.size > 0 ? el("span", { class: "fork-text" }, "◆ fork: two ops at one place of a chain (equivocation)") : null),
    el("div", { class: "graph" }, drawing, list),
  ];
}

function legend(kind, words) {
  return el("span", {}, svg("svg", { viewBox: "0 0 28 8", class: "legend-line", "aria-hidden": "true" }, svg("path", { class: `edge ${kind}`, d: "M1 4H27" })), words);
}

/** A line to another lane bends there at once, runs beside it, and arrives. */
function curve(from, to) {
  if (from.x === to.x) return `M${from.x} ${from.y}V${to.y}`;
  const beside = to.x + (from.x < to.x ? -BESIDE : BESIDE);
  const [start, end] = [from.y + ROW, to.y - ROW / 2];
  if (end < start) return `M${from.x} ${from.y}${bend(from, to)}`;
  return `M${from.x} ${from.y}${bend(from, { x: beside, y: start })}V${end}${bend({ x: beside, y: end }, to)}`;
}

function bend(from, to) {
  const middle = (from.y + to.y) / 2;
  return `C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${to.y}`;
}

function node(op, x, y, isForked) {
  if (isForked) return svg("path", { class: "node forked", d: `M${x} ${y - 7}l7 7l-7 7l-7-7z` });
  const dot = svg("circle", { class: op.preds.length > 0 ? "node merge" : "node", cx: x, cy: y, r: 5 });
  dot.style.setProperty("--hue", String(glyph(op.author).hue));
  return dot;
}

function graphRow(op, { room, own, isForked, isHead }) {
  const { author: key, seq, preds } = op.head;
  const [first = op.data] = op.entries;
  const text = typeof first === "string" ? first : canonical(first);
  const merged = preds.length > 0 ? el("span", { class: "note merge-text" }, `merges ${preds.length}`) : null;
  return el("li", { class: isForked ? "forked" : null, "data-op": op.id },
    el("a", { href: roomLink(room, "op", op.id) },
      el("code", {}, short(op.id)), author(key, own), el("span", { class: "note" }, `#${seq}`),
      isForked ? el("span", { class: "fork-text" }, "◆ fork") : null, merged,
      el("span", { class: "graph-what" }, safe(text, 80)),
      isHead ? el("span", { class: "head-text" }, "head") : null));
}
