// The shape of what the relayer answers. It may answer anything: what does not fit is no answer.

import { isHex } from "../crdt/bytes.js";

const isId = (value) => isHex(value, 64);
const isText = (value) => typeof value === "string";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isFlag = (value) => typeof value === "boolean";
const nullable = (fits) => (value) => value === null || fits(value);
const optional = (fits) => (value) => value === undefined || value === null || fits(value);
const list = (fits) => (value) => Array.isArray(value) && value.every(fits);
const object = (members) => (value) => typeof value === "object" && value !== null && Object.entries(members).every(([name, fits]) => fits(value[name]));

const isMember = object({
  agent: isText, store: nullable(isId), author: nullable(isId), state: isText, set: nullable(isId), same: isFlag,
  ahead: isCount, behind: isCount, heard: optional(isText),
});

/** Each answer's shape; members that are not named are ignored. */
export const SHAPES = {
  version: object({ name: isText, version: isText, protocol: isCount }),
  rooms: object({
    rooms: list(object({ id: isId, name: nullable(isText), ops: isCount, entries: isCount, bytes: isCount, members: isCount, equivocations: isCount, set: isId })),
    next: nullable(isText),
  }),
  room: object({ id: isId, ops: isCount, heads: list(isId), set: isId, members: list(isMember) }),
  evidence: object({ evidence: list(object({ id: isId, file: isText })) }),
};
