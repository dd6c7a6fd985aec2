//! What goes out: streams from disk to those who are behind, new ops to those who are not, heads.
//! Source: `docs/PROTOCOL.md`, "Synchronisation".

use alloc::vec::Vec;

use super::Replica;
use crate::effect::{Effect, Loaded, PeerId, Select};
use crate::id::{Position, RoomId};
use crate::limits;
use crate::message::{Frame, encode_ops};
use crate::op::Op;
use crate::outgoing::Outgoing;
use crate::room::Fresh;

impl Replica {
    pub(super) fn granted(&mut self, peer: PeerId, bytes: u64) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.grant(bytes);
            self.pump(peer);
        }
    }

    /// Reads from disk whatever this peer waits for and takes now.
    pub(super) fn pump(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.at(self.now).load_served(peer, &mut self.effects);
        let rooms: Vec<RoomId> = session.channels.keys().copied().collect();
        for id in rooms {
            if let Some(room) = self.rooms.get(&id) {
                session.load_page(peer, id, room.log.graph().end(), &mut self.effects);
            }
        }
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        let Loaded { load, ops, through } = loaded;
        let (peer, room) = (load.peer, load.room);
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.at(self.now);
        match &load.what {
            Select::After(after, _) => {
                if let Some(outgoing) = session.page_loaded(room, *after) {
                    outgoing.sent = through.max(*after);
                    if !ops.is_empty() {
                        let frame = encode_ops(room, &ops, Some(through), &[]);
                        session.send_ops(peer, room, Some(through), frame, &mut self.effects);
                    }
                    self.live_if_caught_up(peer, room);
                }
            }
            Select::At(asked) => {
                let missing = session.served(room, asked, ops.len());
                if !ops.is_empty() || !missing.is_empty() {
                    let frame = encode_ops(room, &ops, None, &missing);
                    session.send_ops(peer, room, None, frame, &mut self.effects);
                }
            }
        }
        self.pump(peer);
    }

    fn live_if_caught_up(&mut self, peer: PeerId, id: RoomId) {
        let Some(end) = self.rooms.get(&id).map(|room| room.log.graph().end()) else { return };
        let outgoing = self.sessions.get_mut(&peer).and_then(|session| session.outgoing(id));
        if outgoing.is_some_and(|outgoing| outgoing.is_live(end)) {
            self.send_heads(peer, id);
        }
    }

    pub(super) fn send_heads(&mut self, peer: PeerId, id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&id) {
            self.effects.push(Effect::Send(peer, room.heads_frame()));
        }
    }

    /// Everything was sent and acknowledged, and yet the peer's set is smaller: its cursor was not
    /// true, or it lost ops since. Once per connection the whole stream is sent again.
    pub(super) fn send_again(&mut self, peer: PeerId, id: RoomId) {
        let Some(end) = self.rooms.get(&id).map(|room| room.log.graph().end()) else { return };
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(outgoing) = session.outgoing(id) else { return };
        if (outgoing.is_live(end) || outgoing.filling.is_some()) && !outgoing.again {
            *outgoing = outgoing.again_from(Position::START);
            outgoing.again = true;
            outgoing.doubt();
            self.pump(peer);
        }
    }

    /// Passes on what entered a room's log since the last flush, to those who are up to date. Who
    /// is behind, or has no credit left, gets it from disk later.
    pub(super) fn publish(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let fresh = room.take_fresh();
        if fresh.is_empty() {
            return;
        }
        self.subscribe_peered(id);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.changed(now);
        let mut from = Position::of_len(index_of(&fresh));
        let end = room.log.graph().end();
        for chunk in chunks(&fresh) {
            let to = chunk.last().map_or(from, |entered| entered.position);
            let mut shared: Option<Frame> = None;
            for peer in &room.subscribers {
                let Some(session) = self.sessions.get_mut(peer) else { continue };
                let Some(outgoing) = session.outgoing(id) else { continue };
                if !outgoing.is_live(from) {
                    // It may have been set forward since, and then nobody reads for it.
                    session.at(now).load_page(*peer, id, end, &mut self.effects);
                    continue;
                }
                // By connection, not by the store it claims: a liar could claim another's.
                let from_peer = |fresh: &Fresh| fresh.via == Some(*peer);
                let frame = if chunk.iter().any(from_peer) {
                    let rest = chunk.iter().filter(|fresh| !from_peer(fresh));
                    let rest: Vec<&Op> = rest.map(|fresh| &*fresh.op).collect();
                    (!rest.is_empty()).then(|| encode_ops(id, rest, Some(to), &[]))
                } else {
                    let all = || encode_ops(id, chunk.iter().map(|e| &*e.op), Some(to), &[]);
                    Some(shared.get_or_insert_with(all).clone())
                };
                let taken = frame.is_none_or(|frame| {
                    session.at(now).send_ops(*peer, id, Some(to), frame, &mut self.effects)
                });
                if let (true, Some(outgoing)) = (taken, session.outgoing(id)) {
                    outgoing.sent = to;
                }
            }
            from = to;
        }
    }

    /// Announces a room's heads to those who are up to date, if it is time.
    pub(super) fn announce(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.subscribers.is_empty() || !room.announcement_due(now) {
            return;
        }
        let (frame, end) = (room.heads_frame(), room.log.graph().end());
        for peer in &room.subscribers {
            let outgoing = self.sessions.get_mut(peer).and_then(|session| session.outgoing(id));
            let waits = |o: &Outgoing| o.filling.is_some() || o.hold.is_on();
            if outgoing.is_some_and(|outgoing| outgoing.is_live(end) || waits(outgoing)) {
                self.effects.push(Effect::Send(*peer, frame.clone()));
            }
        }
    }
}

/// The position before the first of these.
fn index_of(fresh: &[Fresh]) -> usize {
    let first = fresh.first().map_or(0, |fresh| fresh.position.number());
    usize::try_from(first).unwrap_or(usize::MAX).saturating_sub(1)
}

/// Cuts ops into messages.
fn chunks(fresh: &[Fresh]) -> Vec<&[Fresh]> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, entered) in fresh.iter().enumerate() {
        bytes += entered.op.weight();
        let count = index + 1 - start;
        if bytes >= limits::BATCH_BYTES || count == limits::BATCH_OPS_MAX {
            chunks.extend(fresh.get(start..=index));
            (start, bytes) = (index + 1, 0);
        }
    }
    chunks.extend(fresh.get(start..).filter(|rest| !rest.is_empty()));
    chunks
}
