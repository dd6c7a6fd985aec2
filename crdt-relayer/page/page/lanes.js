// Where each op stands in the picture of the graph: a row for each op, newest first, and a lane for
// each author. An author that forks its chain gets one more lane for each branch.

/** @typedef {{ id: string, author: string, prev: string | null, preds: readonly string[], refs: readonly string[] }} Node */

/**
 * @param {readonly Node[]} ops each after those it names; the newest of a log
 * @returns {{ rows: { op: Node, lane: number, row: number, branch: boolean }[], lanes: number, authors: string[],
 *   edges: { from: number, to: number, kind: "prev" | "pred" | "ref",
 *   fromLane: number, toLane: number }[] }} `branch`: it stands beside an op after the same `prev`. An
 *   edge whose `to` is the number of rows leads to an op that is not among them
 */
export function layout(ops) {
  const place = new Map();
  const lanes = new Lanes();
  for (const [at, op] of ops.entries()) {
    const before = op.prev === null ? undefined : place.get(op.prev);
    const { lane, branch } = lanes.of(op, before);
    place.set(op.id, { op, lane, branch, row: ops.length - 1 - at });
  }
  const rows = [...place.values()].reverse();
  const edges = rows.flatMap((from) => edgesOf(from, place, rows.length));
  return { rows, lanes: lanes.count, authors: lanes.authors, edges };
}

/** Which lane each op takes. */
class Lanes {
  /** The author of each lane, and the first lane of each author. */
  authors = [];
  #first = new Map();
  /** What was put after what: a second op after the same one begins a lane. */
  #continued = new Map();

  get count() {
    return this.authors.length;
  }

  #add(author) {
    this.authors.push(author);
    return this.authors.length - 1;
  }

  of({ author, prev }, before) {
    const after = `${author} ${prev}`;
    const branch = this.#continued.has(after);
    this.#continued.set(after, true);
    if (branch) return { lane: this.#add(author), branch };
    if (before) return { lane: before.lane, branch };
    if (!this.#first.has(author)) this.#first.set(author, this.#add(author));
    return { lane: this.#first.get(author), branch };
  }
}

function edgesOf(from, place, end) {
  const { prev, preds, refs } = from.op;
  const edge = (kind) => (id) => {
    const to = place.get(id);
    return { kind, from: from.row, to: to?.row ?? end, fromLane: from.lane, toLane: to?.lane ?? from.lane };
  };
  const chain = prev === null ? [] : [edge("prev")(prev)];
  return [...chain, ...preds.map(edge("pred")), ...refs.map(edge("ref"))];
}
