//! One connection to one peer: what it may send, what it was sent, what it said.
//! Source: `docs/PROTOCOL.md`, "A session".

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use crate::allowance::Allowance;
use crate::conduct::Conduct;
use crate::effect::{Effect, Link, Load, PeerId, Scope, Select, Side};
use crate::exchange::Exchange;
use crate::id::{AuthorId, Nonce, OpId, Position, RoomId, SetDigest, StoreId};
use crate::intake::Shortage;
use crate::limits;
use crate::message::{Frame, encode_ops};
use crate::outgoing::Outgoing;
use crate::planted::{Bug, planted};
use crate::rates::KeyRates;
use crate::serving::Serving;
use crate::time::{Span, Timestamp};

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) link: Link,
    /// The user chose the peer: it was dialled, also if this is the connection that is kept
    /// instead.
    pub(crate) chosen: bool,
    /// What this side said in its `hello`, and the peer in its own.
    pub(crate) nonce: Nonce,
    pub(crate) peer_nonce: Option<Nonce>,
    /// The key that the peer has proved to have; if only some are let in, one of theirs.
    pub(crate) proved: Option<AuthorId>,
    /// The peer's store; `None` until its `hello`.
    pub(crate) store: Option<StoreId>,
    /// The peer's software, as it says.
    pub(crate) agent: String,
    pub(crate) strikes: u32,
    /// Errors of its own that the peer was told, and those that it has reported.
    pub(crate) blames: u32,
    pub(crate) complaints: u32,
    /// Times the peer said that it takes no more.
    pub(crate) shortages: u32,
    /// Rooms that either side has used. Boxed: a node of the tree has eleven places, and most
    /// connections use one room.
    pub(crate) channels: BTreeMap<RoomId, Box<Channel>>,
    /// Bytes of `ops` messages the peer still takes.
    credit: u64,
    /// Bytes of `ops` messages received and not granted again yet.
    owed: u64,
    /// Bytes to be granted, and when: the peer brings ops of an author faster than they are taken.
    pub(crate) grant: (u64, Timestamp),
    /// The time of the input at hand, and since when the peer owes an acknowledgement.
    now: Timestamp,
    waits_since: Timestamp,
    /// `ops` messages sent and not acknowledged yet, in order; how many were acknowledged before.
    unacked: VecDeque<(RoomId, Option<Position>)>,
    acks: u64,
    /// What is sent by id.
    pub(crate) serving: Serving,
}

/// What passes in one room.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// The peer asked for our ops.
    pub(crate) outgoing: Option<Outgoing>,
    /// We asked for the peer's.
    pub(crate) incoming: Option<Incoming>,
    /// Times the peer has asked for this room.
    pub(crate) subs: u32,
    /// What this side compares with the peer.
    pub(crate) exchange: Option<Exchange>,
    /// Messages of comparisons that this side began, and the number of the last.
    pub(crate) questions: Allowance,
    pub(crate) question: u64,
    /// Comparisons of the peer that were answered.
    pub(crate) answers: Allowance,
    /// What the peer did that tells how it stands.
    pub(crate) conduct: Conduct,
    /// Since when both do not hold the same, as far as looked at.
    pub(crate) differs_since: Option<Timestamp>,
    /// Comparisons begun since then that moved nothing.
    pub(crate) tries: u32,
    /// What the peer asked for while this side took no part in the room.
    pub(crate) asked: Option<Asked>,
    /// Why ops of the peer are not taken, as it was told.
    pub(crate) told: Option<Shortage>,
}

/// A `sub` that waits for its room to be joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// From here on.
    pub(crate) cursor: Option<Position>,
}

/// The stream of the peer's ops.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// The set this side and the peer agreed on, if that is what the peer announced last.
    pub(crate) agreed: Option<SetDigest>,
    /// What the peer announced last.
    pub(crate) told: Option<Told>,
    /// The last announcement named ops that are unknown here.
    pub(crate) lacking: bool,
    /// The last announcement named every head, and all of them are in the log here.
    pub(crate) complete: bool,
    /// The peer was asked for everything once more.
    pub(crate) again: bool,
    /// The first cursor of a message of which something was put off: until both hold the same none
    /// is taken from there on.
    pub(crate) gap: Option<Position>,
    /// Asked for without a cursor: ops of before are not known to have come. Where the stream
    /// stands meanwhile.
    pub(crate) unsettled: Option<Position>,
}

/// What a peer announced of a room, without the heads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) set: SetDigest,
    /// How many ops.
    pub(crate) count: u64,
    pub(crate) cursor: Position,
}

impl Channel {
    /// Whether the peer takes part in the room too, as far as it has shown.
    pub(crate) fn is_shared(&self) -> bool {
        let heard = self.conduct.heard_at != Timestamp::default();
        self.incoming.is_some() && (self.outgoing.is_some() || heard)
    }

    /// Whether the peer asked for the room while this side took no part in it.
    pub(crate) fn asks(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a cursor is lacking one way or the other, so that nobody knows who lacks what.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.unsettled.is_some())
            || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.filling.is_some())
    }
}

impl Incoming {
    /// What the peer announced last, unless this side held the same then or since.
    pub(crate) fn differing(&self) -> Option<Told> {
        self.told.filter(|_| self.agreed.is_none())
    }
}

impl Session {
    pub(crate) fn new(link: Link, nonce: Nonce) -> Self {
        Self {
            link,
            chosen: link.side == Side::Dialled,
            nonce,
            peer_nonce: None,
            proved: None,
            store: None,
            agent: String::new(),
            strikes: 0,
            blames: 0,
            complaints: 0,
            shortages: 0,
            channels: BTreeMap::new(),
            credit: 0,
            owed: 0,
            grant: (0, Timestamp::default()),
            now: Timestamp::default(),
            waits_since: Timestamp::default(),
            unacked: VecDeque::new(),
            acks: 0,
            serving: Serving::default(),
        }
    }

    /// Rooms that may pass over this connection: `most`, or as many as there are if its user chose
    /// the peer to keep the same rooms.
    pub(crate) fn rooms_max(&self, most: usize) -> usize {
        match self.link.scope {
            Scope::Own | Scope::None => limits::SUBSCRIPTIONS_MAX.min(most),
            Scope::Every => limits::ROOMS_MAX,
        }
    }

    /// How fast ops of one author are taken of this peer, and what an author may owe. Whom this
    /// side chose, as relayers that keep the same rooms do, brings history as fast as it comes; who
    /// brings ops of a request cannot wait.
    pub(crate) fn paced(&self, rates: KeyRates) -> (KeyRates, Span) {
        match (self.link.side, self.link.scope) {
            (Side::Dialled, _) | (_, Scope::Every) => (KeyRates::default(), limits::RATE_OWED_MAX),
            (Side::Accepted, Scope::Own) => (rates, limits::RATE_OWED_MAX),
            (Side::Accepted, Scope::None) => (rates, Span::from_ms(0)),
        }
    }

    /// The peer introduced itself.
    pub(crate) fn ready(&mut self, agent: String, store: StoreId, window: u64) {
        (self.agent, self.store) = (agent, Some(store));
        self.credit = window;
    }

    pub(crate) fn outgoing(&mut self, room: RoomId) -> Option<&mut Outgoing> {
        self.channels.get_mut(&room)?.outgoing.as_mut()
    }

    pub(crate) fn exchange(&mut self, room: RoomId) -> Option<&mut Exchange> {
        self.channels.get_mut(&room)?.exchange.as_mut()
    }

    pub(crate) fn incoming(&mut self, room: RoomId) -> Option<&mut Incoming> {
        self.channels.get_mut(&room)?.incoming.as_mut()
    }

    /// Whether the peer has nothing to tell of a room that is unknown here, as it said last.
    pub(crate) fn is_complete(&self, room: RoomId) -> bool {
        let incoming = self.channels.get(&room).and_then(|channel| channel.incoming.as_ref());
        incoming.is_some_and(|incoming| incoming.complete)
    }

    /// The peer takes more.
    pub(crate) fn grant(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes).min(limits::WINDOW_BYTES_MAX);
    }

    /// An `ops` message was processed. Returns what to grant for it and others before, if enough.
    pub(crate) fn processed(&mut self, bytes: usize) -> Option<u64> {
        self.owed = self.owed.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        (self.owed >= limits::GRANT_BYTES).then(|| core::mem::take(&mut self.owed))
    }

    /// Sends an `ops` message if the peer takes it.
    pub(crate) fn send_ops(
        &mut self,
        peer: PeerId,
        room: RoomId,
        cursor: Option<Position>,
        frame: Frame,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        let listens = self.unacked.len() < limits::UNACKED_MAX;
        let Some(rest) = self.credit.checked_sub(bytes).filter(|_| listens) else { return false };
        self.credit = rest;
        if self.unacked.is_empty() {
            self.waits_since = self.now;
        }
        self.unacked.push_back((room, cursor));
        effects.push(Effect::Send(peer, frame));
        true
    }

    /// The peer acknowledged the oldest `ops` message: where the stream stood after it, or the
    /// start if it was no part of the stream. `None` if none is unacknowledged or it was for
    /// another room.
    pub(crate) fn acked(&mut self, room: RoomId) -> Option<Position> {
        self.waits_since = self.now;
        self.acks += u64::from(!self.unacked.is_empty());
        let last = planted(Bug::AckOfTheLast).then(|| self.unacked.pop_back());
        let (sent, cursor) = last.unwrap_or_else(|| self.unacked.pop_front())?;
        (sent == room).then_some(cursor.unwrap_or_default())
    }

    /// What is acknowledged from now on of a room is of the stream before.
    pub(crate) fn begins_anew(&mut self, room: RoomId) {
        for (_, cursor) in self.unacked.iter_mut().filter(|(sent, _)| *sent == room) {
            *cursor = None;
        }
    }

    /// It is this time now.
    pub(crate) fn at(&mut self, now: Timestamp) -> &mut Self {
        self.now = now;
        self
    }

    /// Since when the peer owes the acknowledgement it owes, if it owes one.
    pub(crate) fn waits_since(&self) -> Timestamp {
        self.waits_since
    }

    pub(crate) fn all_acked(&self, room: RoomId) -> bool {
        self.unacked.iter().all(|(sent, _)| *sent != room)
    }

    /// The same, besides what was sent by id: of that a peer may ask for more all the time.
    pub(crate) fn stream_acked(&self, room: RoomId) -> bool {
        self.unacked.iter().all(|(sent, cursor)| *sent != room || cursor.is_none())
    }

    /// How many `ops` messages were acknowledged.
    pub(crate) fn acks(&self) -> u64 {
        self.acks
    }

    /// Reads the next page of a stream that is behind, if the peer takes one. Credit for it is set
    /// aside until it comes.
    pub(crate) fn load_page(
        &mut self,
        peer: PeerId,
        room: RoomId,
        end: Position,
        effects: &mut Vec<Effect>,
    ) {
        let (rest, store) = (self.credit_for_page(), self.store);
        let (Some(rest), Some(outgoing)) = (rest, self.outgoing(room)) else { return };
        let waits = outgoing.filling.is_some() || outgoing.hold.is_on();
        if outgoing.loading.is_some() || outgoing.sent >= end || waits {
            return;
        }
        outgoing.loading = Some(outgoing.sent);
        let skip = store.filter(|_| !outgoing.again);
        effects.push(load(peer, room, Select::After(outgoing.sent, skip)));
        self.credit = rest;
    }

    /// The credit left if a page is set aside; `None` if the peer takes none now.
    fn credit_for_page(&self) -> Option<u64> {
        let listens = self.unacked.len() < limits::UNACKED_MAX;
        self.credit.checked_sub(limits::PAGE_CREDIT_BYTES).filter(|_| listens)
    }

    /// What was read came: the credit set aside for it is free again.
    fn release(&mut self) {
        self.credit = self.credit.saturating_add(limits::PAGE_CREDIT_BYTES);
    }

    /// The page after a position came. Returns the stream if it still waits for that one: it may
    /// have been asked for from another place since.
    pub(crate) fn page_loaded(&mut self, room: RoomId, after: Position) -> Option<&mut Outgoing> {
        self.release();
        let outgoing = self.outgoing(room).filter(|o| o.loading == Some(after))?;
        outgoing.loading = None;
        Some(outgoing).filter(|o| o.sent == after)
    }

    /// Reads what the peer gets next by id, if it takes it.
    pub(crate) fn load_served(&mut self, peer: PeerId, effects: &mut Vec<Effect>) {
        while let Some(rest) = self.credit_for_page() {
            let Some((room, positions)) = self.serving.next() else { return };
            if !positions.is_empty() {
                self.credit = rest;
                effects.push(load(peer, room, Select::At(positions)));
                return;
            }
            // Nothing of a room that holds nothing is read: it may not even be stored.
            let missing = self.serving.loaded(room, &[], 0);
            self.send_ops(peer, room, None, encode_ops(room, [], None, &missing), effects);
        }
    }

    /// The first `count` of what was read by id came. Returns the ids to report as missing.
    pub(crate) fn served(&mut self, room: RoomId, asked: &[Position], count: usize) -> Vec<OpId> {
        self.release();
        let missing = self.serving.loaded(room, asked, count);
        let sends = count > 0 || !missing.is_empty();
        let sent = self.acks + u64::try_from(self.unacked.len()).unwrap_or(u64::MAX);
        let Self { serving, channels, .. } = self;
        let exchange = channels.get_mut(&room).and_then(|channel| channel.exchange.as_mut());
        if let Some(exchange) = exchange {
            let done = asked.iter().filter(|position| !serving.waits(room, **position));
            exchange.pushed(done, sent + u64::from(sends));
        }
        missing
    }
}

/// What passes in a room on a connection, if either side has used it there.
pub(crate) fn channel(
    sessions: &mut BTreeMap<PeerId, Box<Session>>,
    peer: PeerId,
    room: RoomId,
) -> Option<&mut Channel> {
    sessions.get_mut(&peer)?.channels.get_mut(&room).map(Box::as_mut)
}

fn load(peer: PeerId, room: RoomId, what: Select) -> Effect {
    Effect::Load(Load {
        peer,
        room,
        what,
        bytes_max: limits::BATCH_BYTES,
        ops_max: limits::BATCH_OPS_MAX,
    })
}
