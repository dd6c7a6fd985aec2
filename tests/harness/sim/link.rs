//! A link between two who may lose it: while a connection lives it is ordered and reliable, like a
//! websocket; when it breaks, what is in flight is lost, and each side notices in its own time.

use std::collections::{BTreeMap, VecDeque};

use crdt_core::effect::PeerId;
use crdt_core::id::{Position, RoomId};
use crdt_core::message::Frame;

use super::wire::Said;

/// A frame on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) frame: Frame,
    /// What it says, if an honest replica wrote it.
    pub(super) said: Said,
}

/// One side of a connection.
#[derive(Debug)]
pub(super) struct Half {
    /// This side takes part in a connection.
    pub(super) open: bool,
    /// Nothing comes to this side any more.
    pub(super) severed: bool,
    pub(super) peer: PeerId,
    pub(super) coming: VecDeque<Flight>,
    /// When the last frame on its way comes.
    pub(super) last_at: u64,
    /// Bytes of ops that were sent to this side since everything healed.
    pub(super) ops_bytes: u64,
    /// How far this side had pulled each room from the other's store when everything healed.
    pub(super) pulled: BTreeMap<RoomId, Position>,
}

#[derive(Debug)]
pub(super) struct Link {
    /// Who is at its ends.
    pub(super) ends: [usize; 2],
    pub(super) halves: [Half; 2],
    /// It cannot be dialled before.
    pub(super) blocked_until: u64,
    /// Added to each delay until then.
    pub(super) slow: (u64, u64),
    /// Both ends are honest.
    pub(super) honest: bool,
}

impl Link {
    pub(super) fn new(ends: [usize; 2], honest: bool) -> Self {
        let half = || Half {
            open: false,
            severed: false,
            peer: PeerId(0),
            coming: VecDeque::new(),
            last_at: 0,
            ops_bytes: 0,
            pulled: BTreeMap::new(),
        };
        let halves = [half(), half()];
        Self { ends, halves, blocked_until: 0, slow: (0, 0), honest }
    }

    pub(super) fn is_up(&self) -> bool {
        self.halves.iter().all(|half| half.open && !half.severed)
    }

    pub(super) fn is_down(&self) -> bool {
        self.halves.iter().all(|half| !half.open)
    }
}
