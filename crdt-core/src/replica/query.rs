//! What can be asked of a replica between two inputs.

use alloc::vec::Vec;
use core::ops::Bound;

use super::Replica;
use crate::evidence::Equivocation;
use crate::graph::ForkPoint;
use crate::id::{AuthorId, LogDigest, OpId, Position, RoomId};
use crate::key::SecretKey;
use crate::limits;
use crate::own::Own;
use crate::reconcile::Items;
use crate::room::Room;
use crate::status::{Bounds, Missing, RoomStatus};
use crate::tally::Tally;

impl Replica {
    /// The author that own transactions are signed as, by this replica or elsewhere.
    pub fn author(&self) -> Option<AuthorId> {
        self.config.key.as_ref().map(SecretKey::author).or(self.follows)
    }

    /// The rooms taken part in.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.rooms.keys().copied()
    }

    /// How many rooms are taken part in.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// What became of the ops that came since the start.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same replica, made anew, goes on counting from here.
    #[must_use]
    pub fn counting_from(mut self, tally: Tally) -> Self {
        self.tally = tally;
        self
    }

    /// The digest of a room's entries in order. Sorts its whole log.
    pub fn log_digest(&self, room: RoomId) -> Option<LogDigest> {
        self.rooms.get(&room).map(|room| room.log.log_digest())
    }

    /// What is held of a room.
    pub fn status(&self, room: RoomId) -> Option<RoomStatus> {
        self.status_listing(room, usize::MAX)
    }

    /// The same with so many heads at most: a room may have any number of them.
    pub fn status_listing(&self, room: RoomId, heads_max: usize) -> Option<RoomStatus> {
        let room = self.rooms.get(&room)?;
        let graph = room.log.graph();
        Some(RoomStatus {
            id: room.id(),
            name: room.name.clone(),
            ops: graph.end().number(),
            entries: graph.entries(),
            bytes: room.bytes,
            heads: graph.heads().iter().take(heads_max).copied().collect(),
            set: room.log.set_digest(),
            parked: room.log.parked(),
            equivocations: graph.equivocations().len(),
            missing: missing(room),
            learning: room.own.as_ref().and_then(Own::learning),
            unsigned: room.unsigned(),
            bounds: bounds(room),
        })
    }

    /// How many ops are in a room's log.
    pub fn op_count(&self, room: RoomId) -> u64 {
        self.rooms.get(&room).map_or(0, |room| room.log.graph().end().number())
    }

    /// How many heads a room has.
    pub fn head_count(&self, room: RoomId) -> usize {
        self.rooms.get(&room).map_or(0, |room| room.log.graph().heads().len())
    }

    /// The rooms taken part in whose ids are after one, ascending.
    pub fn rooms_after(&self, room: Option<RoomId>) -> impl Iterator<Item = RoomId> + '_ {
        let after = room.map_or(Bound::Unbounded, Bound::Excluded);
        self.rooms.range((after, Bound::Unbounded)).map(|(id, _)| *id)
    }

    /// A room's ops in the order in which sets are compared.
    pub fn items(&self, room: RoomId) -> Option<Items> {
        let mut items = Items::default();
        items.update(self.rooms.get(&room)?.log.graph());
        Some(items)
    }

    /// Every point at which an author's chain forks, by author and place.
    pub fn equivocations(&self, room: RoomId) -> impl Iterator<Item = Equivocation> + '_ {
        self.rooms.get(&room).into_iter().flat_map(|room| room.log.graph().equivocations())
    }

    /// The same, of those after a point.
    pub fn equivocations_after(
        &self,
        room: RoomId,
        point: ForkPoint,
    ) -> impl Iterator<Item = Equivocation> + '_ {
        let room = self.rooms.get(&room);
        room.into_iter().flat_map(move |room| room.log.graph().equivocations_after(point))
    }

    /// Where an op is in this replica's order of arrival.
    pub fn position(&self, room: RoomId, op: OpId) -> Option<Position> {
        self.rooms.get(&room)?.log.graph().position(op)
    }

    /// Ops of this replica's key in a room: one more than the highest place in its chain.
    pub fn own_ops(&self, room: RoomId) -> u64 {
        self.rooms.get(&room).map_or(0, Room::own_ops)
    }

    /// Ops of an author, written here, that no other store has acknowledged.
    pub fn unsent(&self, room: RoomId, author: AuthorId) -> usize {
        let Some(room) = self.rooms.get(&room) else { return 0 };
        let acked = room.acked.values().max().copied().unwrap_or_default();
        room.log.graph().count_after(author, acked)
    }
}

/// What is named and not here: what parked ops wait for first.
fn missing(room: &Room) -> Missing {
    let all = room.log.missing().chain(room.fetch.wanted());
    let mut ops: Vec<OpId> = all.take(limits::MISSING_LISTED_MAX).collect();
    ops.sort_unstable();
    ops.dedup();
    Missing { ops, since: room.missing_since() }
}

fn bounds(room: &Room) -> Bounds {
    let (wants_refused, wants_given_up) = room.fetch.refused_and_given_up();
    Bounds {
        parked_bytes: room.log.parked_bytes(),
        parked_evicted: room.log.parked_evicted(),
        wants: room.fetch.len(),
        wants_refused,
        wants_given_up,
        rejected: room.log.rejected(),
        repeated: room.log.repeated(),
    }
}
