//! Which rooms there are, and what all of them together may keep in memory.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Replica, Rooms};
use crate::effect::{PeerId, Scope};
use crate::id::{Position, RoomId, RoomName};
use crate::limits;
use crate::log::Log;
use crate::message::Message;
use crate::own::Own;
use crate::room::Room;
use crate::session::{Session, channel};

impl Replica {
    pub(super) fn new_room(&self, id: RoomId, name: Option<RoomName>) -> Room {
        let seed = self.config.seed.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let log = Log::new(id, seed).checked_by(Arc::clone(&self.config.signatures));
        Room::new(log, name, self.author().map(Own::new))
    }

    pub(super) fn join(&mut self, name: RoomName) {
        let id = name.id();
        if !self.rooms.contains_key(&id) {
            self.rooms.insert(id, self.new_room(id, None));
            self.doubt_room(id);
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.name = Some(name);
            room.record(&mut self.effects);
        }
        let listened = self.sessions.iter().filter(|(_, session)| self.is_let_in(session));
        let peers: Vec<PeerId> = listened.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.joined(peer, id);
        }
    }

    /// The room with this id, made if peers may make rooms.
    pub(super) fn open_room(&mut self, id: RoomId, name: Option<RoomName>) -> Option<&mut Room> {
        if !self.rooms.contains_key(&id) {
            let made = self.config.rooms == Rooms::OnDemand && self.taking.intake.makes(id);
            if !made || !self.has_place_for_a_room() {
                return None;
            }
            self.rooms.insert(id, self.new_room(id, None));
            let asked =
                |session: &Session| session.channels.get(&id).is_some_and(|channel| channel.asks());
            let waiting = self.sessions.iter().filter(|(_, session)| asked(session));
            self.awaited.extend(waiting.map(|(peer, _)| (*peer, id)));
        }
        let room = self.rooms.get_mut(&id)?;
        if let Some(name) = name {
            room.set_name(name, &mut self.effects);
        }
        Some(room)
    }

    /// Makes the rooms that were asked for when they could not be made, as far as they can be now.
    pub(super) fn make_awaited(&mut self) {
        let asked = |session: &Session| {
            let of = session.channels.iter().filter(|(_, channel)| channel.asks());
            of.map(|(id, _)| *id).collect::<Vec<_>>()
        };
        let rooms: BTreeSet<RoomId> =
            self.sessions.values().flat_map(|session| asked(session)).collect();
        for id in rooms {
            self.open_room(id, None);
        }
    }

    /// Answers those who asked for a room before it was made.
    pub(super) fn answer_awaited(&mut self) {
        for (peer, id) in core::mem::take(&mut self.awaited) {
            if channel(&mut self.sessions, peer, id).is_some_and(|channel| channel.asks()) {
                self.joined(peer, id);
            }
        }
    }

    /// Puts a room on the list of those a connection uses; `false` if they are too many.
    pub(super) fn use_room(&mut self, peer: PeerId, id: RoomId) -> bool {
        let fits = self.sessions.get(&peer).is_some_and(|session| self.may_use_room(session, id));
        if let (true, Some(session)) = (fits, self.sessions.get_mut(&peer)) {
            session.channels.entry(id).or_default();
        }
        fits
    }

    pub(super) fn may_use_room(&self, session: &Session, id: RoomId) -> bool {
        let most = session.rooms_max(self.taking.intake.subscriptions_max);
        session.channels.contains_key(&id) || session.channels.len() < most
    }

    /// A room that came into being by being asked for ends when nobody is left and nothing came.
    /// One in which an op only waits is kept: whoever brought it was told so.
    pub(super) fn forget_if_unused(&mut self, id: RoomId) {
        let ends = |room: &Room| room.log.parked() == 0 && self.is_left(room);
        if self.rooms.get(&id).is_some_and(ends) {
            self.forget(id);
        }
    }

    /// Whether one more room may come into being. If there are too many, one in which ops only wait
    /// makes place for it, of those the one that has waited longest: all that waits may be let go
    /// of, and whoever makes rooms for that alone keeps nobody else from having one.
    fn has_place_for_a_room(&mut self) -> bool {
        if self.rooms.len() < self.taking.intake.rooms_max.min(limits::ROOMS_MAX) {
            return true;
        }
        let left = self.rooms.values().filter(|room| self.is_left(room));
        let oldest = left.min_by_key(|room| room.missing_since()).map(Room::id);
        oldest.inspect(|id| self.forget(*id)).is_some()
    }

    /// Whether nobody uses a room and nothing entered its log. Relayers that keep the same rooms do
    /// not keep one for each other's sake: it comes into being again with its first op.
    fn is_left(&self, room: &Room) -> bool {
        let for_all = |peer| {
            self.sessions.get(peer).is_some_and(|session| session.link.scope == Scope::Every)
        };
        self.config.rooms == Rooms::OnDemand
            && room.log.graph().end() == Position::START
            && room.subscribers.iter().all(for_all)
    }

    fn forget(&mut self, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        self.parked_bytes -= room.log.parked_bytes();
        for peer in room.subscribers {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.channels.remove(&id);
            }
            self.send(peer, &Message::Unsub { room: id });
        }
    }

    /// Keeps the memory of parked ops within bounds after a room's has changed from `before`.
    pub(super) fn account_parked(&mut self, id: RoomId, before: usize) {
        let now = self.rooms.get(&id).map_or(0, |room| room.log.parked_bytes());
        self.parked_bytes = self.parked_bytes - before + now;
        // Whoever fills the memory pays: rooms in which little waits keep it.
        while self.parked_bytes > limits::PARKED_BYTES_ALL_MAX {
            let fullest = self.rooms.values_mut().max_by_key(|room| room.log.parked_bytes());
            let Some(room) = fullest else { return };
            let held = room.log.parked_bytes();
            if held == 0 {
                return;
            }
            let excess = self.parked_bytes - limits::PARKED_BYTES_ALL_MAX;
            room.log.shrink_parked(held.saturating_sub(excess));
            // Nothing may be left in it.
            self.dirty.insert(room.id());
            self.parked_bytes = self.parked_bytes - held + room.log.parked_bytes();
        }
    }
}
