//! What an op looks like, for the description of the API. Ops themselves are never written from
//! these: they are sent as the bytes that were signed.

use serde::Serialize;
use utoipa::ToSchema;

/// A signed op. Source: `docs/PROTOCOL.md`, "Op".
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Envelope {
    /// What it says: of an `entry` an array of 1 to 256 transactions.
    #[schema(value_type = Value)]
    data: (),
    /// What is signed.
    head: EnvelopeHead,
    /// SHA-256 of the head.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// The author's signature over the id.
    #[schema(pattern = "^[0-9a-f]{128}$")]
    sig: String,
}

/// The signed part of an op.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnvelopeHead {
    /// Version of the protocol.
    #[schema(minimum = 1, maximum = 1)]
    v: u8,
    /// The room.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    room: String,
    /// Who signed it.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    author: String,
    /// What lets the author write; in an open room the room.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    grant: String,
    /// Its place in the author's chain.
    #[schema(minimum = 0)]
    seq: u64,
    /// The author's op before it.
    #[schema(required, pattern = "^[0-9a-f]{64}$")]
    prev: Option<String>,
    /// Other heads its author knew.
    #[schema(max_items = 16)]
    preds: Vec<String>,
    /// Other ops that its data mentions.
    #[schema(max_items = 128)]
    refs: Vec<String>,
    /// One more than the deepest of these.
    #[schema(minimum = 1)]
    depth: u64,
    /// When its author says it was written, in ms.
    ts: i64,
    /// What kind of op it is.
    #[schema(max_length = 32)]
    kind: String,
    /// Hash of the data.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    dh: String,
    /// Length of the data, in bytes.
    dl: u64,
}
