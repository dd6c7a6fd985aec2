// The vector files of docs/vectors.

import { readFileSync } from "node:fs";

/** @param {string} name @returns {any} */
export function vectors(name) {
  return JSON.parse(readFileSync(new URL(`../../../docs/vectors/${name}.json`, import.meta.url), "utf8"));
}
