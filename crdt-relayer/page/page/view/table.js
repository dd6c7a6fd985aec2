// Tables. On a narrow screen rows are shown as blocks, so each part says what it is.

import { el } from "../dom.js";

/**
 * @param {string} caption
 * @param {string[]} columns
 * @param {HTMLElement} body what `rows` made, or is filled later
 */
export function table(caption, columns, body) {
  const heads = columns.map((name) => el("th", { scope: "col", role: "columnheader" }, name));
  return el("table", { role: "table", class: "stacked" },
    el("caption", {}, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)),
    body);
}

/** The body of a table. */
export const body = () => el("tbody", { role: "rowgroup" });

/**
 * @param {[string, ...unknown[]][]} cells name of the column, then what it holds; the first is the row's head
 * @param {Record<string, unknown>} [attributes]
 */
export function row(cells, attributes = {}) {
  return el("tr", { role: "row", ...attributes }, cells.map(([name, ...content], at) => (at === 0
    ? el("th", { scope: "row", role: "rowheader", "data-column": name }, el("div", {}, content))
    : el("td", { role: "cell", "data-column": name }, el("div", {}, content)))));
}
