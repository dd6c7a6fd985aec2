// All rooms of the relayer, as it tells of them.

import { roomId } from "../../crdt/hash.js";
import { agreementOf, MEANING } from "../agreement.js";
import { el, replace } from "../dom.js";
import * as relay from "../relay.js";
import { roomLink } from "../route.js";
import { bytesText, counted, short } from "../text.js";
import { digest } from "./digest.js";
import { safe } from "./safe.js";
import { Sparkline } from "./sparkline.js";
import { status } from "./status.js";
import { body, row, table } from "./table.js";

const ROOMS_SHOWN = 50;
/** Rooms of which members are asked for in one turn. */
const DETAILS_MAX = 20;
const EVERY_MS = 3_000;

const SIGN = { agree: "good", lagging: "warn", diverging: "bad", empty: "open" };

/** The name of a room, or why it is not believed. */
function nameOf(item) {
  const byId = `id:${item.id}`;
  if (item.name === null) return el("a", { href: roomLink(byId) }, "unnamed ", el("code", {}, short(item.id)));
  let fits = false;
  try {
    fits = roomId(item.name) === item.id;
  } catch {
    // Not a name at all.
  }
  if (!fits) {
    const id = el("a", { href: roomLink(byId) }, el("code", {}, short(item.id)));
    return [safe(item.name, 64), " ", status("bad", "this name does not belong to this id"), " ", id];
  }
  return el("a", { href: roomLink(item.name) }, item.name);
}

function agreement(members) {
  if (members === undefined) return "";
  const word = agreementOf(members);
  return el("span", { title: MEANING[word] }, status(SIGN[word], word === "empty" ? "nobody here" : word));
}

/** @param {HTMLElement} main @returns {() => void} ends it */
export function overview(main) {
  const rows = body();
  const note = el("p", { class: "note", role: "status" }, "Asking for the rooms …");
  const more = el("button", { type: "button", hidden: true }, "More rooms");
  let [shown, drawn] = [ROOMS_SHOWN, ""];
  /** How each room grows, by its id. */
  let curves = new Map();
  const turn = async () => {
    try {
      const { rooms: told, next } = await relay.rooms(shown);
      // It may tell of more than it was asked for.
      const rooms = told.slice(0, shown);
      const busy = rooms.filter((item) => item.members > 0).slice(0, DETAILS_MAX);
      const asked = await Promise.all(busy.map((item) => relay.room(item.id).catch(() => undefined)));
      const members = new Map(busy.map((item, at) => [item.id, asked[at]?.members]));
      for (const item of rooms) if (item.members === 0) members.set(item.id, []);
      const now = performance.now();
      curves = new Map(rooms.map(({ id }) => [id, curves.get(id) ?? new Sparkline()]));
      for (const { id, ops } of rooms) curves.get(id).note(now, ops);
      const state = JSON.stringify([rooms, asked]);
      // What is the same stays, and with it what somebody selects.
      if (state !== drawn) replace(rows, rooms.map((item) => roomRow(item, members.get(item.id), curves.get(item.id))));
      drawn = state;
      more.hidden = next === null || shown >= 1_000;
      replace(note, rooms.length === 0 ? "There is no room yet. One comes into being with its first op." : `${counted(rooms.length, "room")}${next === null ? "" : ", and more"}`);
    } catch (error) {
      if (!(error instanceof relay.RelayError)) throw error;
      replace(note, status("bad", `The relayer does not tell its rooms: `, safe(error.message, 200)));
    }
  };
  more.addEventListener("click", () => {
    shown = Math.min(1_000, shown + ROOMS_SHOWN);
    turn();
  });
  replace(main,
    el("header", { class: "title" }, el("h1", {}, "Rooms"), note),
    el("p", { class: "lead" }, "These numbers are the relayer’s word. Open a room, and this browser fetches every op of it and checks each by itself."),
    el("section", { class: "card" }, table("Rooms of this relayer", ["Room", "Ops", "Growth", "Entries", "Bytes", "Online", "Members", "Set"], rows), more),
    openForm());
  return relay.repeat(turn, EVERY_MS);
}

function roomRow(item, members, curve) {
  const forks = item.equivocations > 0 ? [" ", status("bad", counted(item.equivocations, "fork"))] : null;
  return row([
    ["Room", nameOf(item), forks],
    ["Ops", item.ops.toLocaleString("en")],
    ["Growth", curve.element],
    ["Entries", item.entries.toLocaleString("en")],
    ["Bytes", bytesText(item.bytes)],
    ["Online", item.members.toLocaleString("en")],
    ["Members", agreement(members)],
    ["Set", digest(item.set)],
  ], { "data-room": item.name ?? item.id });
}

/** A room may be opened by name, whether the relayer lists it or not. */
function openForm() {
  const input = el("input", { name: "room", required: true, maxlength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*", autocomplete: "off", spellcheck: "false", placeholder: "main" });
  const submit = (event) => {
    event.preventDefault();
    location.hash = roomLink(input.value);
  };
  return el("form", { class: "row-form", submit }, el("label", {}, "Open a room by its name ", input), el("button", { type: "submit" }, "Open"));
}
