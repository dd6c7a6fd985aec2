// What a broken rule looks like from outside, for people who do not know the protocol.

/** @type {Record<import("../crdt/rejection.js").Code, string>} */
export const PLAIN = {
  json: "What was sent is no text that two programs would read in the same way.",
  field: "Something was added, left out or spelled in another way than its author signed it.",
  size: "It is larger than any op may be.",
  version: "It claims to be of another version of the protocol.",
  head: "What it says of its own place contradicts itself.",
  data: "Its content is not the content that its author signed: it was altered.",
  id: "Its author, place, time or parents are not those that were signed: it was moved or altered, and kept the old id.",
  key: "Its author is a key with which anybody could make a signature look good.",
  sig: "The author that it names did not sign it: it was altered, or given to somebody else.",
  entry: "It holds no list of transactions.",
  room: "It was signed for another room.",
  grant: "It names a right to write that this room does not have.",
  chain: "It does not follow the op of its author that it claims to follow.",
  depth: "It claims another depth in the graph than its parents give it.",
  ancestor: "It builds on an op that was refused.",
};
