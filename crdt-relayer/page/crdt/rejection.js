// Why an op does not belong to a log. Source: docs/PROTOCOL.md, "Validity" and "Codes".

/**
 * @typedef {"json" | "field" | "size" | "version" | "head" | "data" | "id" | "key" | "sig" | "entry"
 *   | "room" | "grant" | "chain" | "depth" | "ancestor"} Code
 */

/** The rule that each code stands for. @type {Record<Code, string>} */
export const RULES = {
  json: "the text is not JSON of the profile",
  field: "a member of the envelope or head is missing, unknown or malformed",
  size: "data, head or a list is too large",
  version: "v is not 1",
  head: "members of the head contradict one another",
  data: "dh or dl does not fit the data",
  id: "id is not the hash of the head",
  key: "the author is no acceptable key",
  sig: "the signature is not good",
  entry: "the data of an entry is not an array of 1 to 256 values",
  room: "the op belongs to another room",
  grant: "the grant is not the room id",
  chain: "prev is another author's, not the place before, or later by its ts",
  depth: "depth is not 1 + the largest depth of the dependencies",
  ancestor: "a dependency was rejected, or this op was before",
};

/** An op breaks a rule. It is permanent and the same on every node. */
export class Rejection extends Error {
  /**
   * @param {Code} code
   * @param {string} [detail] which member, for people
   */
  constructor(code, detail) {
    super(detail === undefined ? RULES[code] : `${RULES[code]}: ${detail}`);
    this.name = "Rejection";
    this.code = code;
  }

  /** The rule that is broken, a sentence. @returns {string} */
  get rule() {
    return RULES[this.code];
  }
}
