//! Every bound of the protocol and of the memory it may take, with its unit and its reason.
//!
//! Source: `docs/PROTOCOL.md`, "Limits". The first group decides validity and must be the same on
//! every node; the second protects one node and may differ.

use crate::time::Span;

/// Largest integer a canonical JSON number may hold, and minus it the smallest: 2^53 − 1, the last
/// integer that every JSON implementation reads exactly (RFC 8785, section 3.2.2.3).
pub const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Deepest nesting of arrays and objects in the `data` of an op.
pub const DATA_DEPTH_MAX: usize = 32;

/// Deepest nesting in a frame: the data of an op, inside an op, inside `ops`, inside a message.
pub const FRAME_DEPTH_MAX: usize = DATA_DEPTH_MAX + 3;

/// Bytes of the canonical head of an op. 16 preds and 128 refs fit with room to spare.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the canonical data of an op.
pub const DATA_BYTES_MAX: usize = 64 * 1024;

/// Transactions in one `entry` op.
pub const ENTRIES_MAX: usize = 256;

/// Heads an op may name besides its author's previous op.
pub const PREDS_MAX: usize = 16;

/// Ops an op may refer to.
pub const REFS_MAX: usize = 128;

/// Bytes of an op's kind.
pub const KIND_BYTES_MAX: usize = 32;

/// Bytes of a room's name.
pub const ROOM_NAME_BYTES_MAX: usize = 64;

/// Bytes of one websocket message.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of op envelopes after which a sender closes an `ops` message and starts the next, so that
/// many small messages share a connection fairly. One op alone may be larger.
pub const BATCH_BYTES: usize = 128 * 1024;

/// Ops in one `ops` message.
pub const BATCH_OPS_MAX: usize = 256;

/// Bytes of `ops` messages a peer may send before it is granted more. Twice the largest frame, so
/// that one is under way while the next is written.
pub const WINDOW_BYTES: u64 = 2 * 1024 * 1024;

/// Grant a peer must have left before a page is read from disk for it: more than any `ops` message.
pub const PAGE_CREDIT_BYTES: u64 = 256 * 1024;

/// Received bytes after which the sender is granted as many again. Small against the window, so a
/// sender never waits for a grant that is withheld.
pub const GRANT_BYTES: u64 = WINDOW_BYTES / 8;

/// Largest window accepted from a peer: memory one slow reader can make us queue.
pub const WINDOW_BYTES_MAX: u64 = WINDOW_BYTES;

/// `ops` messages that may be unacknowledged: a peer that grants and never acknowledges gets no
/// more.
pub const UNACKED_MAX: usize = 16_384;

/// Ids in one `get` message: so many that what a comparison found is asked for in few messages, and
/// then comes in the order of arrival.
pub const GET_IDS_MAX: usize = 8_192;

/// Ids that one `ops` message names as not held: with a page of ops it stays below
/// [`PAGE_CREDIT_BYTES`].
pub const MISSING_TOLD_MAX: usize = 1_024;

/// Ops that one peer asked for, or is known to lack, and that wait to be sent to it.
pub const SERVED_MAX: usize = 32_768;

/// Bytes of one message of a comparison of sets, before it is written as text: as text it fits into
/// a frame.
pub const RECONCILE_BYTES_MAX: usize = 512 * 1024;

/// Messages of one comparison after which what it found is moved, and the rest compared again: one
/// splits each range into sixteen, so that six are enough for a million ops.
pub const RECONCILE_ROUNDS_MAX: u32 = 16;

/// Comparisons that moved nothing, while announcements differ, after which a peer is asked for
/// everything once more, and sent everything.
pub const RECONCILE_TRIES_MAX: u32 = 2;

/// Time in which whoever holds more begins to compare; then the other does. Also the time after its
/// last message that a comparison counts as going on.
pub const RECONCILE_WAIT: Span = Span::from_ms(5_000);

/// Time after which a peer that lets a comparison hang is sent everything.
pub const FILLING_MAX: Span = Span::from_ms(10_000);

/// Ops that one peer named, was asked for and has not sent, of which it is remembered since when.
pub const OWED_MAX: usize = 64;

/// Time after which a peer withholds what it named and was asked for: many round trips.
pub const OWED_WAIT: Span = Span::from_ms(20_000);

/// The same while it sends ops that it was not asked for: a full window takes its time on a slow
/// link.
pub const OWED_WAIT_MAX: Span = Span::from_ms(45_000);

/// Time after which a peer withholds everything: it announces its heads more often if it is honest.
pub const SILENCE_MAX: Span = Span::from_ms(45_000);

/// Time without an acknowledgement after which a peer that owes one is behind.
pub const LAGGING_AFTER: Span = Span::from_ms(10_000);

/// Time in which two that differ hold the same again, or one of them is behind.
pub const DIFFERS_MAX: Span = Span::from_ms(60_000);

/// Heads listed in one `heads` message; the digest covers the rest.
pub const HEADS_LISTED_MAX: usize = 1_024;

/// Rooms one connection may use.
pub const SUBSCRIPTIONS_MAX: usize = 64;

/// Rooms one replica holds.
pub const ROOMS_MAX: usize = 10_000;

/// Cursors kept per room, one for each store ever pulled from.
pub const MARKS_MAX: usize = 4_096;

/// Times a peer may ask for the same room on one connection: once, once more from the start if
/// something did not fit, and once for good measure.
pub const SUBS_PER_ROOM_MAX: u32 = 3;

/// Characters kept of what a peer calls itself.
pub const AGENT_CHARS_MAX: usize = 64;

/// Characters kept of the sentence of a peer's `err`.
pub const ERR_CHARS_MAX: usize = 256;

/// Characters kept of the code of a peer's `err`.
pub const ERR_CODE_CHARS_MAX: usize = 32;

/// Protocol errors and invalid ops after which a peer is disconnected; also errors it may report.
pub const STRIKES_MAX: u32 = 16;

/// Parked ops in one room.
pub const PARKED_OPS_MAX: usize = 10_000;

/// Bytes of parked ops in one room.
pub const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of parked ops in all rooms together.
pub const PARKED_BYTES_ALL_MAX: usize = 64 * 1024 * 1024;

/// Bytes one missing dependency of a parked op takes in the indices, rounded up.
pub const PARKED_BYTES_PER_MISSING: usize = 600;

/// Ids one peer may put on a room's want-list, by naming them in heads or dependencies.
pub const WANTS_PER_PEER_MAX: usize = 2_048;

/// Missing ops that are named when a replica is asked for its state.
pub const MISSING_LISTED_MAX: usize = 16;

/// Ids on a room's want-list.
pub const WANTS_MAX: usize = 10_000;

/// Parked ops of one author in one room: one liar cannot crowd out the others.
pub const PARKED_PER_AUTHOR_MAX: usize = 1_024;

/// Parked ops from one store in one room: one peer with many keys cannot crowd out the others.
pub const PARKED_PER_SOURCE_MAX: usize = 4_096;

/// Ids of rejected ops remembered in one room, so that their descendants fall with them at once.
pub const REJECTED_IDS_MAX: usize = 16_384;

/// Own transactions that may wait to be signed in one room.
pub const WRITES_PENDING_MAX: usize = 65_536;

/// Heads of one author named in one op: an equivocator cannot fill the list.
pub const PREDS_PER_AUTHOR_MAX: usize = 2;

/// Decoded author keys kept in one room.
pub const KEYS_CACHED_MAX: usize = 4_096;

/// Wait for a missing dependency before another peer is asked; doubles up to
/// [`FETCH_WAIT_MAX`]. More than one round trip through a relayer.
/// Source: `docs/PROTOCOL.md`, "Fetching".
pub const FETCH_WAIT: Span = Span::from_ms(3_000);

/// Longest wait between two requests for one dependency.
pub const FETCH_WAIT_MAX: Span = Span::from_ms(60_000);

/// Requests for one dependency after which it is given up until it is named again.
pub const FETCH_TRIES_MAX: u32 = 9;

/// Authors whose rate is remembered at one time.
pub const AUTHORS_PACED_MAX: usize = 16_384;

/// What an author may owe of its rate before its ops are put off: what a full window of small ops
/// owes at the usual rate comes before the connection feels that no credit is granted.
pub const RATE_OWED_MAX: Span = Span::from_ms(30_000);

/// Pause before ops are sent again that a peer put off; doubles up to [`PUT_OFF_WAIT_MAX`].
/// Source: `docs/PROTOCOL.md`, "Put off".
pub const PUT_OFF_WAIT: Span = Span::from_ms(1_000);

/// Longest such pause.
pub const PUT_OFF_WAIT_MAX: Span = Span::from_ms(60_000);

/// Longest such pause where all that was put off is of authors who write too fast.
pub const PUT_OFF_RATE_WAIT_MAX: Span = Span::from_ms(8_000);

/// Time in which other peers may tell more of the own chain, after one has told all it knows, where
/// nobody can say how long the chain is.
pub const LEARN_WAIT: Span = Span::from_ms(2_000);

/// The same where a connected peer claims to know more and does not tell it.
pub const LEARN_WAIT_MAX: Span = Span::from_ms(60_000);

/// Silence in a room after which its heads are announced.
/// Source: `docs/PROTOCOL.md`, "Heads".
pub const HEADS_AFTER: Span = Span::from_ms(300);

/// Time between two announcements of heads that have not changed.
pub const HEADS_EVERY: Span = Span::from_ms(30_000);
