//! What closes gaps: announced heads compared, ops asked for by id, whole streams repeated.
//! Source: `docs/PROTOCOL.md`, "Heads" and "Fetching".

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Replica;
use crate::effect::{Effect, Event, PeerId};
use crate::id::{OpId, Position, RoomId, SetDigest};
use crate::limits;
use crate::message::Message;
use crate::order::set_digest;
use crate::session::{Incoming, Session, Told, channel};

/// What a peer announced of a room.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) set: SetDigest,
    pub(super) count: u64,
    pub(super) heads: Vec<OpId>,
    pub(super) cursor: Position,
}

impl Replica {
    /// Asks a peer for ops that it named, except those that are there or on their way.
    pub(super) fn want(&mut self, peer: PeerId, id: RoomId, named: impl IntoIterator<Item = OpId>) {
        let now = self.now;
        let asked = self.want_of_any(peer, id, named);
        let channel = channel(&mut self.sessions, peer, id);
        if let Some(channel) = channel {
            channel.conduct.asked(now, &asked);
        }
    }

    /// The same for ops that others named. Returns those that it is asked for.
    fn want_of_any(
        &mut self,
        peer: PeerId,
        id: RoomId,
        ids: impl IntoIterator<Item = OpId>,
    ) -> Vec<OpId> {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return Vec::new() };
        let log = &room.log;
        let lacking = ids.into_iter().filter(|op| !log.has(*op));
        let ids = room.fetch.want(now, peer, lacking);
        self.send_gets(id, ids.iter().map(|op| (peer, *op)));
        ids
    }

    fn send_gets(&mut self, room: RoomId, requests: impl IntoIterator<Item = (PeerId, OpId)>) {
        let mut by_peer: BTreeMap<PeerId, Vec<OpId>> = BTreeMap::new();
        for (peer, id) in requests {
            by_peer.entry(peer).or_default().push(id);
        }
        for (peer, ids) in by_peer {
            for ids in ids.chunks(limits::GET_IDS_MAX) {
                self.send(peer, &Message::Get { room, ids: ids.to_vec() });
            }
        }
    }

    /// A peer told what it holds: ask for what is unknown here, send what it lacks.
    pub(super) fn heads(&mut self, peer: PeerId, id: RoomId, told: &Announced) {
        let now = self.now;
        let teaches = self.sessions.get(&peer).is_some_and(|session| self.teaches(session));
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let (all_acked, store) = (session.stream_acked(id), session.store);
        if let Some(channel) = session.channels.get_mut(&id) {
            channel.conduct.heard_at = now;
        }
        let Some(incoming) = session.incoming(id) else { return };
        let compared = room.agrees(now, told.set, told.count);
        let agreed = compared == Some(true);
        // What a peer names is all it holds only if its digest says so too.
        let all_named =
            || told.heads.len() < limits::HEADS_LISTED_MAX && set_digest(&told.heads) == told.set;
        let all_admitted = || told.heads.iter().all(|head| room.log.graph().contains(*head));
        incoming.complete = agreed || (all_admitted() && all_named());
        incoming.told = Some(Told { set: told.set, count: told.count, cursor: told.cursor });
        if teaches
            && incoming.complete
            && let Some(own) = &mut room.own
        {
            own.complete(now);
            self.dirty.insert(id);
        }
        if agreed {
            let told = Told { set: told.set, count: told.count, cursor: told.cursor };
            return self.agreed(peer, id, told, true);
        }
        let takes = self.taking.intake.lacks(room.bytes).is_none();
        let unknown: Vec<OpId> =
            told.heads.iter().copied().filter(|head| !room.log.has(*head)).collect();
        let lacked = core::mem::replace(&mut incoming.lacking, !unknown.is_empty());
        incoming.agreed = None;
        if store.is_some_and(|store| told.cursor < room.pulled(store)) {
            // It lost something: what it holds now came in another order.
            incoming.unsettled.get_or_insert_default();
        }
        if told.count == 0 {
            incoming.unsettled = None;
        }
        // Asking for heads did not close the gap, or the peer lacks what it should have.
        let here = lacked && !unknown.is_empty();
        let end = room.log.graph().end();
        let Some(channel) = session.channels.get_mut(&id) else { return };
        if !takes && channel.outgoing.as_ref().is_none_or(|o| o.filling.is_none()) {
            // Nothing is asked for. Only who is to be told what it lacks is compared with.
            (channel.differs_since, channel.tries) = (None, 0);
            return;
        }
        let all_sent = channel.outgoing.as_ref().is_some_and(|o| o.is_live(end));
        let there = unknown.is_empty() && all_acked && all_sent && compared.is_some();
        let unsettled = channel.is_unsettled();
        if unsettled || here || there {
            self.mend(peer, id, told);
        } else {
            // Should they differ later, that is a new difference.
            (channel.differs_since, channel.tries) = (None, 0);
        }
        // Where comparing is due, that finds all of it at once.
        if takes && (!unsettled || self.has_waited(peer, id)) {
            self.ask(peer, id, unknown);
        }
    }

    /// Whether comparing has not helped yet.
    fn has_waited(&self, peer: PeerId, id: RoomId) -> bool {
        let channel = self.sessions.get(&peer).and_then(|session| session.channels.get(&id));
        channel.is_some_and(|channel| channel.tries >= limits::RECONCILE_TRIES_MAX)
    }

    /// Asks a peer for heads that are unknown here.
    fn ask(&mut self, peer: PeerId, id: RoomId, unknown: Vec<OpId>) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        self.dirty.insert(id);
        // What parked ops wait for may have been given up: whoever is ahead is asked for it again.
        let waited_for: Vec<OpId> = if room.fetch.may_ask_again(now) {
            room.log.missing().take(limits::BATCH_OPS_MAX).collect()
        } else {
            Vec::new()
        };
        self.want(peer, id, unknown);
        self.want_of_any(peer, id, waited_for);
    }

    /// Nobody knows what either side lacks: compare. Whoever holds more begins, or whoever waited
    /// for that in vain. Where comparing does not help, take or send everything once more.
    fn mend(&mut self, peer: PeerId, id: RoomId, told: &Announced) {
        let now = self.now;
        let own_store = self.config.store;
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (streams, serves) = (!session.stream_acked(id), session.serving.is_serving(id));
        let store = session.store;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(channel) = session.channels.get_mut(&id) else { return };
        if channel.outgoing.as_ref().is_some_and(|outgoing| outgoing.hold.is_on()) {
            return;
        }
        if let Some(exchange) = &mut channel.exchange {
            if exchange.take_progress() {
                return;
            }
            channel.exchange = None;
        }
        let count = room.log.graph().end().number();
        let larger = (count, Some(own_store)) > (told.count, store);
        let since = *channel.differs_since.get_or_insert(now);
        let waited = now >= since.after(limits::RECONCILE_WAIT);
        // What it asks for by id may be all it lacks; but it may ask again and again.
        let gets_it = serves && now < since.after(limits::FILLING_MAX);
        if channel.answers.is_recent(now) || streams || gets_it {
            return;
        }
        if channel.tries >= limits::RECONCILE_TRIES_MAX {
            let takes = self.taking.intake.lacks(room.bytes).is_none();
            let all_known = !takes || told.heads.iter().all(|head| room.log.has(*head));
            return self.repeat(peer, id, all_known);
        }
        if (larger || waited) && told.count > 0 {
            self.compare(peer, id, told.cursor);
        }
    }

    /// The last resort, once per connection: whole streams.
    pub(super) fn repeat(&mut self, peer: PeerId, id: RoomId, all_known: bool) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (Some(room), Some(incoming)) = (self.rooms.get(&id), session.incoming(id)) else {
            return;
        };
        if all_known {
            return self.send_again(peer, id);
        }
        if !core::mem::replace(&mut incoming.again, true) {
            incoming.unsettled = None;
            let (name, cursor) = (room.name.clone(), Some(Position::START));
            self.send(peer, &Message::Sub { room: id, name, cursor });
        }
    }

    /// The peer and this side hold the same, as the peer has just announced, or announced before.
    fn agreed(&mut self, peer: PeerId, id: RoomId, told: Told, announced_now: bool) {
        let (now, Told { set, cursor, .. }) = (self.now, told);
        let teaches = self.sessions.get(&peer).is_some_and(|session| self.teaches(session));
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(store) = session.store else { return };
        let Some(incoming) = session.incoming(id) else { return };
        (incoming.complete, incoming.unsettled, incoming.gap) = (true, None, None);
        if let (true, Some(own)) = (teaches, &mut room.own) {
            own.complete(now);
        }
        let news = incoming.agreed.replace(set) != Some(set);
        room.set_pulled(store, cursor, &mut self.effects);
        if news {
            let entries = room.log.graph().entries();
            let name = room.name.clone();
            let synced = Event::Synced { room: id, peer, set, name, entries };
            self.effects.push(Effect::Notify(synced));
        }
        let end = room.log.graph().end();
        if let Some(channel) = session.channels.get_mut(&id) {
            (channel.exchange, channel.differs_since, channel.tries) = (None, None, 0);
            // An honest peer's set only grows: what it named before is in one that it announces
            // now.
            let lied = channel.conduct.agreed(now, &room.log, announced_now);
            if let Some(op) = lied {
                let withheld = Event::Withheld { room: id, peer, op };
                self.effects.push(Effect::Notify(withheld));
            }
            if let Some(outgoing) = &mut channel.outgoing {
                outgoing.agreed(end);
            }
        }
        session.serving.forget(id);
        session.shortages = 0;
        self.acked_to(peer, id, end);
    }

    /// Looks whether a gap was closed: what a peer announced before is now what is here.
    pub(super) fn caught_up(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let log = &room.log;
        let settled = log.parked() == 0 && room.fetch.is_idle();
        // A peer that announces what it likes does not make this side hash very many heads.
        if !settled || log.graph().heads().len() > limits::HEADS_LISTED_MAX {
            return;
        }
        let differing = |session: &Session| {
            session.channels.get(&id)?.incoming.as_ref().and_then(Incoming::differing)
        };
        let waiting: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(peer, session)| Some((*peer, differing(session)?)))
            .filter(|(_, told)| told.set == log.set_digest())
            .collect();
        for (peer, told) in waiting {
            self.agreed(peer, id, told, false);
        }
    }

    pub(super) fn get(&mut self, peer: PeerId, id: RoomId, ids: Vec<OpId>) {
        let Some(room) = self.rooms.get(&id) else {
            return self.blame(peer, "room", "this side does not take part in that room");
        };
        let graph = room.log.graph();
        let (mut positions, mut missing) = (Vec::new(), Vec::new());
        for id in ids {
            match graph.position(id) {
                Some(position) => positions.push(position),
                None => missing.push(id),
            }
        }
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        if session.serving.asked(id, positions, &missing) {
            session.at(self.now).load_served(peer, &mut self.effects);
        } else {
            self.blame(peer, "busy", "too many requests wait for an answer");
        }
    }

    /// Asks others for what did not come in time.
    pub(super) fn fetch_due(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.fetch.due_at().is_none_or(|at| at > now) {
            return;
        }
        let peers: Vec<PeerId> = room.subscribers.iter().copied().collect();
        let log = &room.log;
        let takes = self.taking.intake.lacks(room.bytes).is_none();
        room.fetch.retain(|op| takes && !log.has(op));
        let requests = room.fetch.due(now, &peers);
        self.send_gets(id, requests);
    }
}
