//! Compares a room with a peer's where no cursor tells what either lacks, then moves that and
//! nothing else. Whoever holds more begins; it asks for what it needs and sends what the other
//! lacks. Source: `docs/PROTOCOL.md`, "Reconciliation".

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Replica;
use crate::conduct::Came;
use crate::effect::PeerId;
use crate::exchange::{Exchange, Push, Rest, Stage};
use crate::graph::Graph;
use crate::id::{OpId, Position, RoomId};
use crate::limits;
use crate::log::Verdict;
use crate::message::Message;
use crate::reconcile::Difference;
use crate::session::{Session, channel};
use crate::time::Timestamp;

impl Replica {
    /// Begins to compare a room with a peer's, whose stream stands at `pulled`.
    pub(super) fn compare(&mut self, peer: PeerId, id: RoomId, pulled: Position) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let end = room.log.graph().end();
        let channel = channel(&mut self.sessions, peer, id);
        // A peer that makes this side compare again and again is waited for.
        let Some(channel) = channel else { return };
        if !channel.questions.allow(now) {
            return;
        }
        let Some(frame) = room.items().ask() else { return };
        self.dirty.insert(id);
        channel.exchange = Some(Exchange::begin(now, pulled, end));
        channel.tries = channel.tries.saturating_add(1);
        channel.question += 1;
        let number = channel.question;
        if let Some(outgoing) = channel.outgoing.as_mut().filter(|o| o.is_live(end)) {
            outgoing.filling = Some(now);
            room.give_up_at.get_or_insert(now.after(limits::FILLING_MAX));
        }
        self.send(peer, &Message::Reconcile { room: id, answer: false, number, frame });
    }

    /// A peer compares: answer, but not without end.
    pub(super) fn compared_by(&mut self, peer: PeerId, id: RoomId, number: u64, frame: &[u8]) {
        let channel = channel(&mut self.sessions, peer, id);
        let (Some(room), Some(channel)) = (self.rooms.get_mut(&id), channel) else {
            return self.blame(peer, "room", "subscribe to the room first");
        };
        if !channel.answers.allow(self.now) {
            return self.blame(peer, "busy", "compared too often; heads are announced as before");
        }
        match room.items().answer(frame) {
            Some(frame) => {
                self.dirty.insert(id);
                self.send(peer, &Message::Reconcile { room: id, answer: true, number, frame });
            }
            None => self.strike(peer, "reconcile", "not a message of negentropy, version 1"),
        }
    }

    /// A peer answered.
    pub(super) fn compared(&mut self, peer: PeerId, id: RoomId, number: u64, frame: &[u8]) {
        let channel = channel(&mut self.sessions, peer, id);
        let (Some(room), Some(channel)) = (self.rooms.get_mut(&id), channel) else { return };
        // An answer that comes late is to a question that was given up: it says nothing of what the
        // comparison before had found already.
        if number != channel.question {
            return;
        }
        let Some(exchange) = &mut channel.exchange else { return };
        if !matches!(exchange.stage, Stage::Comparing { .. }) {
            return;
        }
        exchange.progressed(self.now);
        let Stage::Comparing { found, rounds, refused } = &mut exchange.stage else { return };
        let items = room.items();
        let compared = items.compare(frame, found);
        let repeats = found.repeats(items);
        keep_first(&mut found.have, room.log.graph());
        *refused |= self.taking.intake.lacks(room.bytes).is_some();
        if *refused {
            found.need.clear();
        }
        match compared {
            Err(_) => {
                channel.exchange = None;
                self.strike(peer, "reconcile", "not a message of negentropy, version 1");
            }
            Ok(Some(frame))
                if *rounds < limits::RECONCILE_ROUNDS_MAX
                    && found.need.len() <= limits::SERVED_MAX
                    && !repeats
                    && channel.questions.allow(self.now) =>
            {
                *rounds += 1;
                channel.question += 1;
                let number = channel.question;
                self.send(peer, &Message::Reconcile { room: id, answer: false, number, frame });
            }
            Ok(next) => {
                let (found, refused) = (core::mem::take(found), *refused);
                self.exchange(peer, id, found, (next.is_some(), refused));
            }
        }
        self.dirty.insert(id);
    }

    /// Moves what was found. `more` if that is not all; `refused` if something was left out.
    fn exchange(
        &mut self,
        peer: PeerId,
        id: RoomId,
        found: Difference,
        (more, refused): (bool, bool),
    ) {
        let Some(room) = self.rooms.get(&id) else { return };
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let graph = room.log.graph();
        let filling = session.outgoing(id).is_some_and(|outgoing| outgoing.filling.is_some());
        let mut have: Vec<Position> = Vec::new();
        if filling {
            // Who is still being streamed to gets them anyway.
            have.extend(found.have.into_iter().filter_map(|op| graph.position(op)));
            have.sort_unstable();
        }
        let mut need = found.need;
        need.retain(|op| !graph.contains(*op));
        let more = more || have.len().max(need.len()) > limits::SERVED_MAX;
        have.truncate(limits::SERVED_MAX);
        if need.len() > limits::SERVED_MAX {
            return self.give_up_comparing(peer, id);
        }
        let first = have.first().and_then(|position| graph.at(*position));
        let pushes = first.map(|first| (have.len(), first));
        let push = Push::of(&have);
        let fits = session.serving.asked(id, have, &[]);
        let push = if fits { push } else { Push::default() };
        let Some(channel) = session.channels.get_mut(&id) else { return };
        let named: Vec<OpId> = need.iter().copied().take(limits::OWED_MAX).collect();
        channel.conduct.asked(self.now, &named);
        // Who says time and again that it stored the same ops moves nothing.
        let pushes = pushes.filter(|_| fits);
        let again = pushes.is_some_and(|(count, op)| channel.conduct.pushed(self.now, count, op));
        let fruitful = !need.is_empty() || pushes.is_some() && !again;
        let Some(exchange) = &mut channel.exchange else { return };
        let ids: Vec<OpId> = need.iter().copied().collect();
        let rest = match (more || !fits, refused) {
            (true, _) => Rest::More,
            (false, true) => Rest::Refused,
            (false, false) => Rest::Nothing,
        };
        let asked_at = self.now;
        exchange.stage = Stage::Moving { need, asked_at, push, rest, fruitful };
        for ids in ids.chunks(limits::GET_IDS_MAX) {
            self.send(peer, &Message::Get { room: id, ids: ids.to_vec() });
        }
        self.pump(peer);
        self.dirty.insert(id);
    }

    /// More is there than can be asked for at once, and which of it comes first only the peer can
    /// tell: it streams all it holds.
    fn give_up_comparing(&mut self, peer: PeerId, id: RoomId) {
        let channel = self.sessions.get_mut(&peer).and_then(|s| s.channels.get_mut(&id));
        let Some(channel) = channel else { return };
        channel.exchange = None;
        // Once all of it is here, one more comparison finds what the peer lacks.
        let before = channel.incoming.as_ref().is_some_and(|incoming| incoming.again);
        channel.tries = limits::RECONCILE_TRIES_MAX - u32::from(!before);
        self.repeat(peer, id, false);
    }

    /// Ends what is complete: everything that was found has come, or is acknowledged.
    pub(super) fn settle_due(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        if room.items.is_none() {
            return;
        }
        let compares = |session: &Session| {
            session.channels.get(&id).is_some_and(|channel| channel.exchange.is_some())
        };
        let peers = self.sessions.iter().filter(|(_, session)| compares(session));
        let peers: Vec<PeerId> = peers.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.settle_if_complete(peer, id);
        }
    }

    fn settle_if_complete(&mut self, peer: PeerId, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let acks = session.acks();
        let Some(exchange) = session.exchange(id) else { return };
        let Stage::Moving { need, push, rest, fruitful, .. } = &mut exchange.stage else { return };
        if need.len() <= limits::BATCH_OPS_MAX {
            need.retain(|op| !room.log.graph().contains(*op));
        }
        if !need.is_empty() || !push.came(acks) {
            return;
        }
        let (pulled, through) = (exchange.pulled, exchange.through);
        let (rest, fruitful) = (*rest, *fruitful);
        let Some(channel) = session.channels.get_mut(&id) else { return };
        channel.tries = if fruitful { 0 } else { channel.tries };
        if rest == Rest::More && fruitful {
            return self.compare(peer, id, pulled);
        }
        channel.exchange = None;
        if channel.outgoing.as_ref().is_none_or(|outgoing| outgoing.doubtful) {
            return;
        }
        match rest {
            Rest::Nothing => {
                self.send(peer, &Message::Settled { room: id, cursor: through, pulled });
                self.settled(peer, id, pulled, through);
                self.send_heads(peer, id);
            }
            Rest::Refused => self.filled(peer, id, through),
            // What could not be moved at once is looked at again when the peer announces its heads.
            Rest::More => {}
        }
    }

    /// This side holds the peer's ops up to `pulled`, and the peer this side's up to `sent`.
    pub(super) fn settled(&mut self, peer: PeerId, id: RoomId, pulled: Position, sent: Position) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (Some(store), Some(room)) = (session.store, self.rooms.get_mut(&id)) else { return };
        if let Some(incoming) = session.incoming(id)
            && let Some(live) = incoming.unsettled.take()
        {
            room.set_pulled(store, pulled.max(live), &mut self.effects);
        }
        self.filled(peer, id, sent);
    }

    /// The peer holds this side's ops up to `sent`: its stream goes on from there.
    fn filled(&mut self, peer: PeerId, id: RoomId, sent: Position) {
        let Some(end) = self.rooms.get(&id).map(|room| room.log.graph().end()) else { return };
        let outgoing = self.sessions.get_mut(&peer).and_then(|session| session.outgoing(id));
        if let Some(outgoing) = outgoing
            && outgoing.filling.take().is_some()
        {
            let sent = sent.min(end);
            outgoing.sent = outgoing.sent.max(sent);
            outgoing.acked = outgoing.acked.max(sent);
            self.acked_to(peer, id, sent);
            self.pump(peer);
        }
    }

    /// Sends everything to peers that let a comparison hang: nobody knows what they lack.
    pub(super) fn give_up_filling(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.give_up_at.is_none_or(|at| at > now) {
            return;
        }
        room.give_up_at = None;
        let peers: Vec<PeerId> = room.subscribers.iter().copied().collect();
        for peer in peers {
            let Some(session) = self.sessions.get_mut(&peer) else { continue };
            let moving = session.serving.is_serving(id) || !session.all_acked(id);
            let Some(channel) = session.channels.get_mut(&id) else { continue };
            let heard = now < channel.conduct.ops_at.after(limits::FILLING_MAX);
            let moves = channel.exchange.as_ref().is_some_and(|exchange| exchange.is_recent(now));
            let goes_on = moving || heard || moves || channel.answers.is_recent(now);
            let Some(outgoing) = &mut channel.outgoing else { continue };
            let hangs = |since: Timestamp| now >= since.after(limits::FILLING_MAX) && !goes_on;
            match outgoing.filling {
                Some(since) if hangs(since) => {
                    *outgoing = outgoing.again_from(Position::START);
                    outgoing.again = true;
                    channel.exchange = None;
                    self.pump(peer);
                }
                Some(_) => {
                    if let Some(room) = self.rooms.get_mut(&id) {
                        room.give_up_at = Some(now.after(limits::FILLING_MAX));
                    }
                }
                None => {}
            }
        }
    }

    /// Forgets the order of comparing once nobody compares.
    pub(super) fn free_items(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.items.is_none() {
            return;
        }
        let mut channels = self.sessions.values().filter_map(|session| session.channels.get(&id));
        if !channels.any(|channel| channel.exchange.is_some() || channel.answers.is_recent(now)) {
            room.items = None;
        }
    }

    /// A peer sent ops, or said that it does not hold them: a comparison waits for them no more.
    pub(super) fn came_from(&mut self, peer: PeerId, id: RoomId, came: &[Came], denied: &[OpId]) {
        let now = self.now;
        let channel = channel(&mut self.sessions, peer, id);
        let Some(channel) = channel else { return };
        channel.conduct.heard_at = now;
        if came.is_empty() || came.iter().any(|came| !came.put_off) {
            channel.conduct.ops_at = now;
        }
        for came in came {
            let asked = channel.exchange.as_ref().and_then(|exchange| exchange.asked_at(came.op));
            channel.conduct.sent(now, came, asked);
        }
        let Some(exchange) = &mut channel.exchange else { return };
        for came in came.iter().filter(|came| came.put_off) {
            exchange.put_off(&came.op);
        }
        // One that waits for others is here only when they are.
        let done = came.iter().filter(|came| came.verdict != Verdict::Parked);
        for op in done.map(|came| &came.op).chain(denied) {
            exchange.done(now, op);
        }
    }
}

/// Of more than is moved at once the first ops are kept, and one to tell that there are more. What
/// is found later may come before them, and to send others first would be in vain: whoever lacks
/// what they depend on keeps few of them.
fn keep_first(have: &mut BTreeSet<OpId>, graph: &Graph) {
    let kept = limits::SERVED_MAX + 1;
    if have.len() > kept {
        let place = |op: &OpId| Some((graph.position(*op)?, *op));
        let mut placed: Vec<(Position, OpId)> = have.iter().filter_map(place).collect();
        placed.sort_unstable();
        *have = placed.into_iter().take(kept).map(|(_, op)| op).collect();
    }
}
