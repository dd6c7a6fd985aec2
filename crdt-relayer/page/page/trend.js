// How a count that only grows has grown lately, as far as this page was open to see it.

/** Looks that are remembered. */
export const LOOKS_MAX = 41;

/** The looks at one count. */
export class Trend {
  #looks = [];

  /** Notes a look. @param {number} ms when, by a clock that never goes back @param {number} count */
  note(ms, count) {
    this.#looks.push({ ms, count });
    if (this.#looks.length > LOOKS_MAX) this.#looks.shift();
  }

  /** Growth per second between each two looks, oldest first. A count that fell has not grown. */
  get rates() {
    return this.#looks.slice(1).map((look, at) => growth(this.#looks[at], look));
  }

  /** Growth per second over all looks, and for how many seconds there were any; `null` before the second. */
  get mean() {
    const [first, last] = [this.#looks[0], this.#looks.at(-1)];
    if (this.#looks.length < 2) return null;
    return { perSecond: growth(first, last), seconds: Math.round((last.ms - first.ms) / 1_000) };
  }
}

function growth(before, after) {
  const seconds = (after.ms - before.ms) / 1_000;
  return seconds <= 0 ? 0 : Math.max(0, after.count - before.count) / seconds;
}

/** A rate, in as few digits as say something. @param {number} perSecond */
export function rateText(perSecond) {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.05) return "<0.1/s";
  return `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en")}/s`;
}
