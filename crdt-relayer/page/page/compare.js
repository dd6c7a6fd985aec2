// Two heads side by side.

import { canonical } from "../crdt/json.js";

/**
 * Every member of either, in alphabetical order, and whether they differ in it.
 * @param {Record<string, any>} a
 * @param {Record<string, any>} b
 * @returns {{ name: string, a: string, b: string, differs: boolean }[]} values as canonical text
 */
export function compare(a, b) {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  const text = (of, name) => (Object.hasOwn(of, name) ? canonical(of[name]) : "");
  return names.map((name) => {
    const both = [text(a, name), text(b, name)];
    return { name, a: both[0], b: both[1], differs: both[0] !== both[1] };
  });
}
