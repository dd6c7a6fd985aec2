//! How each peer stands. Source: `docs/PROTOCOL.md`, "Withholding".

use alloc::vec::Vec;

use super::Replica;
use crate::effect::{Effect, Event, PeerId};
use crate::id::{OpId, RoomId};
use crate::limits;
use crate::room::Room;
use crate::session::{Channel, Session, channel};
use crate::standing::{PeerRoom, PeerStatus, Standing};
use crate::time::Timestamp;

impl Replica {
    /// Every connection and how its peer stands.
    pub fn peers(&self, now: Timestamp) -> Vec<PeerStatus> {
        let status = |peer: PeerId, session: &Session| PeerStatus {
            peer,
            link: session.link,
            agent: session.agent.clone(),
            store: session.store,
            author: session.proved,
            rooms: session
                .channels
                .iter()
                .filter(|(_, channel)| channel.is_shared())
                .filter_map(|(id, channel)| {
                    Some(peer_room(now, self.rooms.get(id)?, session, channel))
                })
                .collect(),
        };
        self.sessions.iter().map(|(peer, session)| status(*peer, session)).collect()
    }

    /// Notes that a peer said that it does not hold ops, which it may have named before.
    pub(super) fn denied(&mut self, peer: PeerId, id: RoomId, ops: &[OpId]) {
        let now = self.now;
        let channel = channel(&mut self.sessions, peer, id);
        let Some(channel) = channel else { return };
        for op in ops {
            if channel.conduct.denied(now, *op) {
                let withheld = Event::Withheld { room: id, peer, op: *op };
                self.effects.push(Effect::Notify(withheld));
            }
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            let others = room.subscribers.len() > 1;
            for op in ops.iter().filter(|_| others) {
                room.fetch.denied(now, peer, *op);
            }
        }
    }
}

fn peer_room(now: Timestamp, room: &Room, session: &Session, channel: &Channel) -> PeerRoom {
    let (log, conduct) = (&room.log, &channel.conduct);
    let id = room.id();
    let incoming = channel.incoming.as_ref();
    let told = incoming.and_then(|incoming| incoming.told);
    let same = told.is_some_and(|told| told.set == log.set_digest());
    let ops = log.graph().end().number();
    let there = told.map_or(0, |told| told.count);
    let unsent = channel.outgoing.as_ref().map_or(0, |o| ops.saturating_sub(o.acked.number()));
    let ahead = if same { 0 } else { unsent };
    let behind = if same { 0 } else { there.saturating_sub(ops) };
    let waits = !session.all_acked(id) && now >= session.waits_since().after(limits::LAGGING_AFTER);
    let differs = channel.differs_since.filter(|at| now >= at.after(limits::DIFFERS_MAX));
    let (standing, since) = if let Some((op, since)) = conduct.withholds(now, log) {
        (Standing::Withholding { op }, since)
    } else if let (true, Some(since)) = (same, conduct.agreed_at) {
        (Standing::Live, since)
    } else if waits {
        (Standing::Lagging, session.waits_since())
    } else if let Some(since) = differs {
        (Standing::Lagging, since)
    } else if let Some(since) = conduct.agreed_at {
        (Standing::Live, since)
    } else {
        (Standing::CatchingUp, conduct.subscribed_at)
    };
    let announced = told.map(|told| told.set);
    let heard = Some(conduct.heard_at).filter(|at| *at != Timestamp::default());
    PeerRoom { room: id, standing, since, ahead, behind, announced, same, heard }
}
