// Work done ahead of its turn: signatures are checked side by side, what they say is used in order.

/** How many are under way at one time. */
const WIDTH = 64;

/**
 * Results of a piece of work on each item, in the order of the items.
 * @template T, R
 * @param {AsyncIterable<T> | Iterable<T>} items
 * @param {(item: T) => Promise<R>} work
 * @returns {AsyncGenerator<R, void, void>} throws what the work on the first failing item threw
 */
export async function* ahead(items, work) {
  const underWay = [];
  for await (const item of settled(items)) {
    const result = item.error === undefined ? work(item.value) : Promise.reject(item.error);
    // It is awaited in its turn; until then its failure is nobody's.
    result.catch(() => {});
    underWay.push(result);
    if (underWay.length === WIDTH) yield await underWay.shift();
  }
  while (underWay.length > 0) yield await underWay.shift();
}

/** Items, and at the end the error that ended them: it has its turn after what came before it. */
async function* settled(items) {
  try {
    for await (const value of items) yield { value };
  } catch (error) {
    yield { error };
  }
}
