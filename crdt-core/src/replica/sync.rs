//! What comes in: what each message of a peer does.
//! Source: `docs/PROTOCOL.md`, "Synchronisation".

use alloc::vec::Vec;

use super::repair::Announced;
use super::{Replica, is_news};
use crate::effect::{CloseReason, Effect, Event, PeerId, Scope};
use crate::id::{Position, RoomId};
use crate::intake::Shortage;
use crate::judge::{Judged, judge};
use crate::limits;
use crate::message::{Batch, DecodeError, Decoded, Exception, Message, NotStored, Received};
use crate::op::HashedOp;
use crate::outgoing::Outgoing;
use crate::planted::{Bug, planted};
use crate::rejection::Rejection;
use crate::session::{Asked, Incoming, Session, channel};
use crate::time::Timestamp;

impl Replica {
    pub(super) fn peer_down(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        self.grants.remove(&(session.grant.1, peer));
        for id in session.channels.keys() {
            if let Some(room) = self.rooms.get_mut(id) {
                room.subscribers.remove(&peer);
                room.fetch.forget(peer);
                self.dirty.insert(*id);
            }
        }
    }

    pub(super) fn received(&mut self, peer: PeerId, frame: Decoded) {
        let Some(session) = self.sessions.get(&peer) else { return };
        let (introduced, let_in) = (session.store.is_some(), self.is_let_in(session));
        let received = match frame.received {
            Ok(received) => received,
            Err(error) => return self.undecodable(peer, introduced, error),
        };
        match received {
            Received::Message(Message::Hello(hello)) if !introduced => self.hello(peer, hello),
            _ if !introduced => {
                self.blame(peer, "hello", "the first message is `hello`");
                self.close(peer, CloseReason::Hello);
            }
            Received::Message(Message::Auth { author, sig }) => self.proof(peer, author, &sig),
            Received::Message(Message::Err { .. }) | Received::Acked { .. } if !let_in => {}
            _ if !let_in => self.refuse(peer, "prove that you have a key that is let in"),
            Received::Message(message) => self.message(peer, message),
            Received::Acked { room, all_stored, put_off } => {
                self.acked(peer, room, all_stored, put_off);
            }
            Received::Ops(batch) => self.ops(peer, batch, frame.bytes, frame.looked),
        }
    }

    /// Says which signatures of a frame that waits are likely to be checked when it is handled, so
    /// that it may be done meanwhile ([`CheckSignature::ahead`](crate::key::CheckSignature::ahead)).
    /// Nothing depends on it.
    pub fn look_ahead(&self, now: Timestamp, peer: PeerId, frame: &mut Decoded) {
        let Ok(Received::Ops(batch)) = &frame.received else { return };
        let Some(session) = self.sessions.get(&peer) else { return };
        let is_in = session.store.is_some() && self.is_let_in(session);
        if is_in && self.may_use_room(session, batch.room) {
            frame.looked = frame.looked || self.look(now, session, batch);
        }
    }

    /// The same of ops that are taken now. Returns whether nothing was left out.
    fn look(&self, now: Timestamp, session: &Session, batch: &Batch) -> bool {
        let Some(room) = self.rooms.get(&batch.room) else { return false };
        let paced = session.paced(self.taking.intake.rates);
        let is_open =
            |op: &&HashedOp| self.taking.is_open_to(op.head().author, now, paced, room.bytes);
        room.log.look_ahead(batch.ops.iter().flatten().filter(is_open))
    }

    fn undecodable(&mut self, peer: PeerId, introduced: bool, error: DecodeError) {
        let message = alloc::format!("{error}");
        match error {
            DecodeError::Size | DecodeError::Version => {
                self.blame(peer, error.code(), &message);
                let size = error == DecodeError::Size;
                self.close(peer, if size { CloseReason::Size } else { CloseReason::Version });
            }
            DecodeError::Json(_) | DecodeError::Field(_) | DecodeError::Unknown if !introduced => {
                self.blame(peer, error.code(), &message);
                self.close(peer, CloseReason::Hello);
            }
            // A newer peer may say more than this version knows: answered, not held against it.
            DecodeError::Unknown => self.blame(peer, error.code(), &message),
            DecodeError::Json(_) | DecodeError::Field(_) => {
                self.strike(peer, error.code(), &message);
            }
        }
    }

    /// Asks the peers that are to keep the same rooms for this one.
    pub(super) fn subscribe_peered(&mut self, id: RoomId) {
        let peered: Vec<PeerId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.link.scope == Scope::Every)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in peered {
            self.subscribe(peer, id);
        }
    }

    fn message(&mut self, peer: PeerId, message: Message) {
        match message {
            Message::Hello(_) => self.strike(peer, "hello", "`hello` comes once"),
            Message::Twin { nonce } => self.twin(peer, nonce),
            Message::Sub { room, name, cursor } => {
                if !self.use_room(peer, room) {
                    self.blame(peer, "subscriptions", "too many rooms on one connection");
                } else if self.open_room(room, name).is_some() {
                    self.subscribed(peer, room, cursor);
                    self.subscribe_peered(room);
                } else {
                    if let Some(channel) = channel(&mut self.sessions, peer, room) {
                        channel.asked = Some(Asked { cursor });
                    }
                    self.blame(peer, "room", "this side does not take part in that room");
                }
            }
            Message::Unsub { room } => {
                if let Some(channel) = channel(&mut self.sessions, peer, room) {
                    (channel.outgoing, channel.incoming, channel.exchange) = (None, None, None);
                    channel.asked = None;
                }
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.subscribers.remove(&peer);
                }
                self.dirty.insert(room);
            }
            Message::Heads { room, set, heads, cursor, count } => {
                self.heads(peer, room, &Announced { set, count, heads, cursor });
            }
            Message::Reconcile { room, answer: false, number, frame } => {
                self.compared_by(peer, room, number, &frame);
            }
            Message::Reconcile { room, answer: true, number, frame } => {
                self.compared(peer, room, number, &frame);
            }
            Message::Settled { room, cursor, pulled } => self.settled(peer, room, cursor, pulled),
            Message::Get { room, ids } => self.get(peer, room, ids),
            Message::Credit { bytes } => self.granted(peer, bytes),
            Message::Err { code, message } => {
                // Being asked to wait is no problem.
                if code == "busy" {
                    return;
                }
                // Neither is a peer that lacks room now and again, however long.
                let lacks = Shortage::parse(&code).is_some();
                let Some(session) = self.sessions.get_mut(&peer) else { return };
                let Session { shortages, complaints, .. } = &mut **session;
                let tell = is_news(if lacks { shortages } else { complaints });
                if tell {
                    self.effects.push(Effect::Notify(Event::PeerProblem { peer, code, message }));
                } else if !lacks {
                    self.close(peer, CloseReason::Strikes);
                }
            }
            // Dealt with before, or decoded as `Received::Acked`.
            Message::Auth { .. } | Message::Ack { .. } => {}
        }
    }

    /// Asks a peer for a room's ops, from where its store was last pulled to.
    pub(super) fn subscribe(&mut self, peer: PeerId, id: RoomId) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (Some(store), Some(room)) = (session.store, self.rooms.get(&id)) else { return };
        let channel = session.channels.entry(id).or_default();
        if channel.incoming.is_some() {
            return;
        }
        channel.conduct.subscribed_at = self.now;
        let (name, cursor) = (room.name.clone(), room.cursor(store));
        let unsettled = cursor.is_none().then_some(Position::START);
        channel.incoming = Some(Incoming { unsettled, ..Incoming::default() });
        self.send(peer, &Message::Sub { room: id, name, cursor });
    }

    /// A room was joined: asks a peer for its ops, and gives it those that it asked for before.
    pub(super) fn joined(&mut self, peer: PeerId, id: RoomId) {
        let channel = channel(&mut self.sessions, peer, id);
        match channel.and_then(|channel| channel.asked.take()) {
            Some(Asked { cursor }) => self.subscribed(peer, id, cursor),
            None => self.subscribe(peer, id),
        }
    }

    /// A peer asked for a room's ops.
    fn subscribed(&mut self, peer: PeerId, id: RoomId, cursor: Option<Position>) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let end = room.log.graph().end();
        // A cursor beyond the end is from before this store lost something.
        let known = cursor.filter(|cursor| *cursor <= end);
        let cursor = known.unwrap_or(end);
        let from = if planted(Bug::OutboxForgotten) { end } else { cursor };
        let filling = known.is_none() && end != Position::START;
        session.begins_anew(id);
        let channel = session.channels.entry(id).or_default();
        let before = channel.outgoing.as_mut();
        let mut outgoing =
            before.map_or_else(|| Outgoing::from(from), |before| before.again_from(from));
        outgoing.filling = filling.then_some(now);
        // Asked once more, the peer lacks something: nothing is left out this time.
        outgoing.again = channel.subs > 0;
        // A room that holds nothing costs nothing to ask for.
        channel.subs = channel.subs.saturating_add(u32::from(end != Position::START));
        let subs = channel.subs;
        channel.outgoing = Some(outgoing);
        room.subscribers.insert(peer);
        room.keep_announcing(now);
        if filling {
            room.give_up_at.get_or_insert(now.after(limits::FILLING_MAX));
        }
        self.dirty.insert(id);
        self.subscribe(peer, id);
        if let Some(known) = known {
            self.acked_to(peer, id, known);
        }
        if cursor == end {
            self.send_heads(peer, id);
        }
        self.pump(peer);
        if subs > limits::SUBS_PER_ROOM_MAX {
            self.strike(peer, "sub", "asked for one room again and again");
        }
    }

    /// Takes a peer's ops: checks each, keeps what is good, answers with one verdict each.
    fn ops(&mut self, peer: PeerId, batch: Batch, bytes: usize, looked: bool) {
        let now = self.now;
        let grant = self.sessions.get_mut(&peer).and_then(|session| session.processed(bytes));
        let id = batch.room;
        let store = self.sessions.get(&peer).and_then(|session| session.store);
        let taken = self.use_room(peer, id) && self.open_room(id, None).is_some();
        let (Some(store), true) = (store, taken) else {
            return self.ops_of_no_room(peer, id, batch.ops.len(), grant);
        };
        if let (false, Some(session)) = (looked, self.sessions.get(&peer)) {
            self.look(now, session, &batch);
        }
        let Batch { ops, cursor, missing: denied, .. } = batch;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let parked_before = room.log.parked_bytes();
        let Some(session) = self.sessions.get(&peer) else { return };
        let mut gate = self.taking.gate(now, session.paced(self.taking.intake.rates), room.bytes);
        let judged = judge(room, ops, store, &mut gate);
        let owed = gate.owed;
        judged.count(&mut self.tally);
        let Judged { admitted, except, stored, came, mut missing } = judged;
        if let (Some(own), false) = (&mut room.own, admitted.is_empty()) {
            let own_among = admitted.iter().any(|a| a.op.head().author == own.author());
            own.came(now, own_among);
        }
        room.admit(admitted, Some((peer, store)), &mut self.effects);
        let streamed = self.sessions.get_mut(&peer).and_then(|session| session.incoming(id));
        let whole = except.iter().all(|e| matches!(e.why, NotStored::Rejected(_)));
        let put_off = except.iter().any(|exception| exception.why.shortage().is_some());
        if let (Some(cursor), Some(incoming)) = (cursor, streamed) {
            if put_off && !planted(Bug::LaterSkipped) {
                incoming.gap.get_or_insert(cursor);
            }
            if !whole || incoming.gap.is_some_and(|gap| cursor >= gap) {
                // What this message is not all of, or one before it, is still to come.
            } else if let Some(live) = &mut incoming.unsettled {
                *live = cursor;
            } else {
                room.set_pulled(store, cursor, &mut self.effects);
            }
        }
        if !denied.is_empty() {
            self.denied(peer, id, &denied);
        }
        self.came_from(peer, id, &came, &denied);
        // What was asked for after a comparison is on its way.
        if let Some(exchange) = self.sessions.get_mut(&peer).and_then(|s| s.exchange(id)) {
            missing.retain(|op| !exchange.needs(*op));
        }
        self.dirty.insert(id);
        let blamed = except.iter().find_map(|exception| exception.why.rejection());
        let later = || except.iter().filter_map(|exception| exception.why.shortage());
        let shortage = later().next().zip(u64::try_from(later().count()).ok());
        self.send(peer, &Message::Ack { room: id, stored, except });
        self.grant(peer, grant, owed);
        match shortage {
            Some((shortage, ops)) => self.put_off(peer, id, shortage, ops),
            None => self.taken(peer, id),
        }
        self.want(peer, id, missing);
        self.account_parked(id, parked_before);
        if let Some(rejection) = blamed {
            self.strike(peer, rejection.code(), &alloc::format!("{rejection}"));
        }
    }

    /// Answers ops of a room this side takes no part in: one `ack` for each message, whatever it
    /// is.
    fn ops_of_no_room(&mut self, peer: PeerId, id: RoomId, ops: usize, grant: Option<u64>) {
        self.tally.rejected(Rejection::Room, u64::try_from(ops).unwrap_or(u64::MAX));
        let why = NotStored::Rejected(Rejection::Room);
        let except = (0_u64..).take(ops).map(|index| Exception { index, why }).collect();
        self.send(peer, &Message::Ack { room: id, stored: 0, except });
        if let Some(bytes) = grant {
            self.send(peer, &Message::Credit { bytes });
        }
        self.blame(peer, "room", "this side does not take part in that room");
    }

    fn acked(&mut self, peer: PeerId, id: RoomId, all_stored: bool, put_off: Option<Shortage>) {
        let stored = all_stored || put_off.is_some() && planted(Bug::LaterAcknowledged);
        let (all_stored, put_off) = (stored, put_off.filter(|_| !stored));
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(cursor) = session.at(self.now).acked(id) else {
            return self.strike(peer, "ack", "nothing is left to acknowledge");
        };
        // What it asked for by id and put off it asks for again; the stream has nothing to go back
        // for.
        let pushes = session.exchange(id).is_some();
        if let Some(shortage) = put_off
            && (cursor != Position::START || pushes)
        {
            self.hold(peer, id, shortage);
        }
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (all_acked, acks) = (session.stream_acked(id), session.acks());
        let Some(channel) = session.channels.get_mut(&id) else { return };
        let Some(outgoing) = &mut channel.outgoing else { return };
        if put_off.is_none() {
            outgoing.answered(cursor);
            if !all_stored {
                outgoing.doubt();
            }
        }
        if !outgoing.doubtful {
            let before = outgoing.acked;
            outgoing.acked = if all_acked { outgoing.sent } else { before.max(cursor) };
            if outgoing.filling.is_none() {
                self.acked_to(peer, id, cursor);
            }
        }
        if let Some(exchange) = self.sessions.get_mut(&peer).and_then(|s| s.exchange(id)) {
            exchange.acked(self.now, acks);
            self.dirty.insert(id);
        }
    }

    /// Another store holds this one's ops up to a position: remembered if own ops are among them.
    pub(super) fn acked_to(&mut self, peer: PeerId, id: RoomId, position: Position) {
        let Some(author) = self.author() else { return };
        let Some(store) = self.sessions.get(&peer).and_then(|session| session.store) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let before = room.acked.get(&store).copied().unwrap_or_default();
        if position <= before {
            return;
        }
        let graph = room.log.graph();
        let own_among = graph.count_after(author, before) > graph.count_after(author, position);
        if own_among {
            room.set_acked(store, position, &mut self.effects);
        }
        self.effects.push(Effect::Notify(Event::Acked { room: id, peer, position }));
    }
}
