//! Streams that wait because a peer took no more of them.
//! Source: `docs/PROTOCOL.md`, "Put off".

use alloc::vec::Vec;

use super::Replica;
use crate::effect::PeerId;
use crate::id::RoomId;
use crate::intake::Shortage;
use crate::time::Timestamp;

impl Replica {
    /// A peer took no more of a room for now.
    pub(super) fn hold(&mut self, peer: PeerId, id: RoomId, shortage: Shortage) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        // What it was to get by id is found again when sets are compared.
        session.serving.forget(id);
        let Some(channel) = session.channels.get_mut(&id) else { return };
        (channel.exchange, channel.tries) = (None, 0);
        channel.conduct.put_off();
        let Some(outgoing) = &mut channel.outgoing else { return };
        let until = outgoing.hold(now, shortage.pause_max());
        if let Some(room) = self.rooms.get_mut(&id) {
            room.resume_at = Some(room.resume_at.map_or(until, |at| at.min(until)));
        }
        self.dirty.insert(id);
    }

    /// Goes on with the streams of a room whose pause is over.
    pub(super) fn resume_due(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.resume_at.is_none_or(|at| at > now) {
            return;
        }
        let peers: Vec<PeerId> = room.subscribers.iter().copied().collect();
        let mut next = None;
        for peer in peers {
            let Some(session) = self.sessions.get_mut(&peer) else { continue };
            let all_acked = session.all_acked(id);
            let Some(outgoing) = session.outgoing(id).filter(|o| o.hold.is_on()) else { continue };
            match outgoing.resume(now, all_acked) {
                Some(at) => next = Some(next.map_or(at, |earlier: Timestamp| earlier.min(at))),
                None => self.pump(peer),
            }
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.resume_at = next;
        }
    }
}
