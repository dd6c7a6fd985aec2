// Growth as a small curve and a number. It is changed in place, so that what stands around it stays.

import { el, setText, svg } from "../dom.js";
import { LOOKS_MAX, rateText, Trend } from "../trend.js";

const [WIDTH, HEIGHT] = [LOOKS_MAX - 1, 16];

/** A curve for one count. */
export class Sparkline {
  #trend = new Trend();
  #line = svg("polyline", { points: "" });
  #text = el("span", {}, "…");

  constructor() {
    const curve = svg("svg", { viewBox: `0 -1 ${WIDTH} ${HEIGHT + 2}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.#line);
    this.element = el("span", { class: "sparkline" }, curve, this.#text);
  }

  /** Notes a look. @param {number} ms @param {number} count */
  note(ms, count) {
    this.#trend.note(ms, count);
    const { rates, mean } = this.#trend;
    if (mean === null) return;
    const most = Math.max(...rates);
    const height = (rate) => (most === 0 ? HEIGHT : HEIGHT - (rate / most) * HEIGHT);
    // The newest is at the right.
    const points = rates.map((rate, at) => `${WIDTH - rates.length + at + 1},${height(rate).toFixed(1)}`);
    this.#line.setAttribute("points", points.join(" "));
    setText(this.#text, rateText(mean.perSecond));
    this.element.title = `ops in the last ${mean.seconds} s, a second; at most ${rateText(most)}`;
  }
}
