// Every bound of docs/PROTOCOL.md, "Limits", and the reference's own ones that a client needs.
// Bytes are bytes of UTF-8, times are milliseconds.

// These decide validity: the same in every implementation.
export const INTEGER_MAX = Number.MAX_SAFE_INTEGER;
export const DATA_DEPTH_MAX = 32;
export const HEAD_BYTES_MAX = 16_384;
export const DATA_BYTES_MAX = 65_536;
export const ENTRIES_MAX = 256;
export const ENTRY_BYTES_MAX = 65_534;
export const ENTRY_DEPTH_MAX = 31;
export const PREDS_MAX = 16;
export const REFS_MAX = 128;

// These every peer must keep to.
export const MESSAGE_BYTES_MAX = 1_048_576;
export const MESSAGE_DEPTH_MAX = 35;
export const MESSAGE_OPS_MAX = 256;
export const GET_IDS_MAX = 8_192;
export const HEADS_MAX = 1_024;
export const WINDOW_BYTES_MIN = 1_048_576;
export const WINDOW_BYTES_MAX = 2_097_152;
export const ROOMS_MAX = 64;
export const STRIKES_MAX = 16;

// These protect this side.
/** Two heads of the largest size, with room to spare. */
export const EVIDENCE_BYTES_MAX = 65_536;
export const LINE_BYTES_MAX = 131_072;
export const GRANT_BYTES = 262_144;
export const PAGE_WEIGHT = 131_072;
export const OP_WEIGHT = 900;
export const DEPENDENCY_WEIGHT = 67;
export const PARKED_MAX = 10_000;
export const PARKED_BYTES_MAX = 33_554_432;
export const PARKED_OF_AUTHOR_MAX = 1_024;
export const MISSING_BYTES = 600;
export const REJECTED_MAX = 16_384;
export const WANTED_MAX = 2_048;
export const ASKED_OPS_MAX = 32_768;
export const PREDS_OF_AUTHOR_MAX = 2;
/** Received and not handled yet: a peer that keeps to its credit stays far below. */
export const INBOX_BYTES_MAX = 8_388_608;
/** Waiting to be written: who reads too slowly is disconnected. */
export const OUTBOX_BYTES_MAX = 16_777_216;
export const PONG_BACKLOG_BYTES = 1_048_576;
export const WAITING_APPENDS_MAX = 65_536;
export const KEYS_KEPT_MAX = 1_024;

export const CONNECT_MS = 10_000;
export const FIRST_MESSAGE_MS = 10_000;
export const PING_MS = 20_000;
export const SILENCE_MS = 60_000;
export const RETRY_MS_MIN = 100;
export const RETRY_MS_MAX = 5_000;
export const STEADY_MS = 5_000;
/** Pause before what a peer put off is sent again; doubles up to the second. */
export const PUT_OFF_MS = 1_000;
export const PUT_OFF_MS_MAX = 60_000;
export const HEADS_QUIET_MS = 300;
export const HEADS_MS = 30_000;
export const FETCH_MS = [3_000, 6_000, 12_000, 24_000, 48_000, 60_000, 60_000, 60_000];
