//! What a replica holds of one room, and how far its bounds are used: plain data.

use alloc::vec::Vec;

use crate::id::{OpId, RoomId, RoomName, SetDigest};
use crate::own::Learning;
use crate::time::Timestamp;

/// What a replica holds of one room.
#[derive(Clone, Debug)]
pub struct RoomStatus {
    /// The room.
    pub id: RoomId,
    /// Its name, if known.
    pub name: Option<RoomName>,
    /// Ops in the log.
    pub ops: u64,
    /// Transactions in the log.
    pub entries: u64,
    /// Bytes of its ops, each counted as [`Op::weight`](crate::op::Op::weight) has it.
    pub bytes: u64,
    /// Heads, sorted.
    pub heads: Vec<OpId>,
    /// Digest of the set of ops.
    pub set: SetDigest,
    /// Ops that wait for a dependency.
    pub parked: usize,
    /// Points at which an author's chain forks.
    pub equivocations: usize,
    /// What is missing.
    pub missing: Missing,
    /// The own chain, while it is still to be learnt; nothing is signed meanwhile.
    pub learning: Option<Learning>,
    /// Transactions that wait to be signed.
    pub unsigned: usize,
    /// How far each bound is used.
    pub bounds: Bounds,
}

/// Ops that others name and that are not here: somebody withholds them, or lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Some of them, at most [`crate::limits::MISSING_LISTED_MAX`].
    pub ops: Vec<OpId>,
    /// Since when something is missing without a break.
    pub since: Option<Timestamp>,
}

/// How far the bounds of [`crate::limits`] are used in one room, since the replica started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of parked ops: [`crate::limits::PARKED_BYTES_MAX`].
    pub parked_bytes: usize,
    /// Parked ops evicted for a limit.
    pub parked_evicted: u64,
    /// Ops asked for and not come: [`crate::limits::WANTS_MAX`].
    pub wants: usize,
    /// Ops not asked for because too many were.
    pub wants_refused: u64,
    /// Ops given up after [`crate::limits::FETCH_TRIES_MAX`] requests.
    pub wants_given_up: u64,
    /// Ids of rejected ops remembered: [`crate::limits::REJECTED_IDS_MAX`].
    pub rejected: usize,
    /// Ops that came again and were not looked at.
    pub repeated: u64,
}
