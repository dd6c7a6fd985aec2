// A time that somebody claims.

import { el } from "../dom.js";

/** @param {number} ms since 1970; beyond what a date can be, it stays a number */
export function time(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return el("span", {}, String(ms));
  const text = date.toISOString();
  return el("time", { datetime: text, title: text }, el("span", { class: "day" }, `${text.slice(0, 10)} `), `${text.slice(11, 19)} UTC`);
}
