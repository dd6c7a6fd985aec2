// How a room stands, by what its members announced.

/** @typedef {{ state: string, same: boolean, ahead: number, behind: number }} Member */
/** @typedef {"empty" | "agree" | "lagging" | "diverging"} Agreement */

/** What each word means, a sentence. @type {Record<Agreement, string>} */
export const MEANING = {
  empty: "nobody is connected to it",
  agree: "every connected member announces the same set of ops",
  lagging: "a member still lacks ops, or has not announced for long",
  diverging: "a member differs although nothing is on its way, or keeps ops back",
};

/**
 * @param {Member} member
 * @returns {Agreement}
 */
export function standingOf({ state, same, ahead, behind }) {
  if (state === "withholding") return "diverging";
  if (same) return "agree";
  if (state === "live" && ahead === 0 && behind === 0) return "diverging";
  return "lagging";
}

/**
 * The worst of all members.
 * @param {readonly Member[]} members
 * @returns {Agreement}
 */
export function agreementOf(members) {
  const all = new Set(members.map(standingOf));
  return ["diverging", "lagging", "agree"].find((word) => all.has(word)) ?? "empty";
}

/**
 * Lag of a member in words.
 * @param {Member} member
 * @returns {string}
 */
export function lagOf({ same, ahead, behind }) {
  if (same) return "none";
  const parts = [];
  if (ahead > 0) parts.push(`lacks up to ${ahead.toLocaleString("en")}`);
  if (behind > 0) parts.push(`has ${behind.toLocaleString("en")} more`);
  return parts.join(", ") || "not known";
}
