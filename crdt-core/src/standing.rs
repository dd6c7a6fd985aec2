//! How each peer stands in each room: up to date, behind, or keeping something back.

use alloc::string::String;
use alloc::vec::Vec;

use crate::effect::{Link, PeerId};
use crate::id::{AuthorId, OpId, RoomId, SetDigest, StoreId};
use crate::time::Timestamp;

/// A connection as this replica sees it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its number.
    pub peer: PeerId,
    /// How it came about.
    pub link: Link,
    /// The peer's software, as it says; empty until its `hello`.
    pub agent: String,
    /// The peer's store, as it says; `None` until its `hello`.
    pub store: Option<StoreId>,
    /// The key that the peer has proved to have; nobody proves one unless asked to.
    pub author: Option<AuthorId>,
    /// The rooms that both use.
    pub rooms: Vec<PeerRoom>,
}

/// A peer in one room.
#[derive(Clone, Debug)]
pub struct PeerRoom {
    /// The room.
    pub room: RoomId,
    /// How it stands.
    pub standing: Standing,
    /// Since when.
    pub since: Timestamp,
    /// Ops here that the peer has not acknowledged; at most, where that is not known exactly.
    pub ahead: u64,
    /// Ops there, as far as announced, that are not here; at least.
    pub behind: u64,
    /// The set the peer announced last, if it announced any.
    pub announced: Option<SetDigest>,
    /// Whether that is the set held here now.
    pub same: bool,
    /// When ops or heads of it came last, if any came.
    pub heard: Option<Timestamp>,
}

/// How a peer stands in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not held the same as this side since it connected.
    CatchingUp,
    /// It held the same, and takes and sends what comes since.
    Live,
    /// It does not acknowledge, or has not held the same for long.
    Lagging,
    /// It named ops and does not send them, says that it stored ops and announces a set without
    /// them, or announces nothing at all.
    Withholding {
        /// One of the ops, if any was named.
        op: Option<OpId>,
    },
}
