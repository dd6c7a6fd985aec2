//! Every room and every connection of one node or relayer, as a state machine.
//!
//! [`Replica::handle`] is the one way in. It never blocks, reads no clock and does no IO: what must
//! be done comes back as effects. Source: `docs/ARCHITECTURE.md`, "One op's way".

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::effect::{
    CloseReason, Command, Effect, Event, Input, PeerId, Record, SubmitError, Token,
};
use crate::id::{AuthorId, RoomId, StoreId};
use crate::intake::{Allowed, Taking};
use crate::json::Canonical;
use crate::key::{CheckSignature, SecretKey};
use crate::limits;
use crate::message::Message;
use crate::own::Signed;
use crate::rejection::Rejection;
use crate::room::Room;
use crate::session::Session;
use crate::tally::Tally;
use crate::time::Timestamp;

mod compare;
mod hold;
mod intake;
mod introduce;
mod peers;
mod publish;
mod query;
mod repair;
mod rooms;
mod sync;

/// Who decides which rooms a replica takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rooms {
    /// Its user, with [`Command::Join`].
    Joined,
    /// Its peers: a room exists once somebody uses it.
    OnDemand,
}

/// What a replica is made with.
#[derive(Debug)]
pub struct Config {
    /// Its store.
    pub store: StoreId,
    /// Its software, for people on the other side.
    pub agent: String,
    /// Who decides about rooms.
    pub rooms: Rooms,
    /// Signs own transactions; a relayer has none.
    pub key: Option<SecretKey>,
    /// Secret and random, new at each start: hash tables and nonces come from it.
    pub seed: [u8; 32],
    /// If only some may connect: their keys. Whom this replica connects to itself need not prove
    /// one.
    pub allowed: Option<Allowed>,
    /// Says which signatures are good: [`EachTime`](crate::key::EachTime), as a rule.
    pub signatures: Arc<dyn CheckSignature>,
}

/// One node or relayer without its IO.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    rooms: BTreeMap<RoomId, Room>,
    /// Boxed, so that the places of the tree that are free are small.
    sessions: BTreeMap<PeerId, Box<Session>>,
    effects: Vec<Effect>,
    /// Rooms to look at in the next flush.
    dirty: BTreeSet<RoomId>,
    /// Who asked for rooms that were made since.
    awaited: Vec<(PeerId, RoomId)>,
    /// How much is taken of others.
    taking: Taking,
    /// Bytes of parked ops in all rooms.
    parked_bytes: usize,
    tally: Tally,
    /// Whose chain is the own one where there is no key.
    follows: Option<AuthorId>,
    /// What the key is known to have signed; `None` if the store is taken at its word.
    signed: Option<Signed>,
    /// Connections that are granted more later, by when.
    grants: BTreeSet<(Timestamp, PeerId)>,
    /// The time of the input at hand.
    now: Timestamp,
    timers: BTreeMap<RoomId, Timestamp>,
    timer_order: BTreeSet<(Timestamp, RoomId)>,
}

impl Replica {
    /// A replica that holds nothing yet. Give back what its store kept with [`Replica::restore`]
    /// before the first [`Replica::handle`].
    pub fn new(config: Config) -> Self {
        Self {
            config,
            rooms: BTreeMap::new(),
            sessions: BTreeMap::new(),
            effects: Vec::new(),
            dirty: BTreeSet::new(),
            awaited: Vec::new(),
            taking: Taking::default(),
            parked_bytes: 0,
            tally: Tally::default(),
            follows: None,
            signed: None,
            grants: BTreeSet::new(),
            now: Timestamp::default(),
            timers: BTreeMap::new(),
            timer_order: BTreeSet::new(),
        }
    }

    /// Takes the chain of this author for the own one though there is no key to continue it:
    /// nothing is signed, and what is signed and what others have of it is accounted for as if it
    /// were.
    ///
    /// Call it before the first [`Replica::restore`].
    pub fn follow(&mut self, author: AuthorId) {
        self.follows = Some(author);
    }

    /// Puts back one record of the store: rooms first, then ops in order of arrival.
    ///
    /// # Errors
    /// The rule that a stored op breaks: the store is damaged.
    pub fn restore(&mut self, record: Record) -> Result<(), Rejection> {
        let (id, name) = match &record {
            Record::Room { id, name } => (*id, name.clone()),
            Record::Op { op, .. } => (op.head().room, None),
            Record::Pulled { room, .. } | Record::Acked { room, .. } => (*room, None),
        };
        if !self.rooms.contains_key(&id) {
            self.rooms.insert(id, self.new_room(id, name));
        }
        self.rooms.get_mut(&id).map_or(Ok(()), |room| room.restore(record))
    }

    /// Tells what the key is known to have signed. In each room where the store may be older than
    /// that, nothing is signed until the own chain is learnt from peers. Returns whether there is
    /// such a room: then the replica goes on as the store `fresh`, because places after the last op
    /// of the old one may have been given to other ops before.
    ///
    /// Call it after the last [`Replica::restore`] and before the first [`Replica::handle`].
    pub fn doubt_if_behind(&mut self, signed: Signed, fresh: StoreId) -> bool {
        // A store that knows nothing of a room may be older than its key's first op there; and one
        // that starts on a machine for the first time may have a twin elsewhere.
        let behind = |(room, ops): (&RoomId, &u64)| *ops > self.own_ops(*room);
        let first_start = signed.others.is_none() && signed.rooms.is_empty();
        let mut doubted = first_start || signed.rooms.iter().any(behind);
        self.signed = Some(signed);
        let ids: Vec<RoomId> = self.rooms.keys().copied().collect();
        for id in ids {
            doubted |= self.doubt_room(id);
        }
        if doubted {
            self.config.store = fresh;
        }
        doubted
    }

    fn doubt_room(&mut self, id: RoomId) -> bool {
        let known = self.own_ops(id);
        let Some(signed) = self.signed.as_ref().map(|signed| signed.in_room(id)) else {
            return false;
        };
        let own = self.rooms.get_mut(&id).and_then(|room| room.own.as_mut());
        match own.filter(|_| signed.is_none_or(|signed| signed > known)) {
            Some(own) => {
                own.doubt(signed);
                true
            }
            None => false,
        }
    }

    /// When [`Input::Flush`] is due though nothing else happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let rooms = self.timer_order.first().map(|(at, _)| *at);
        let grants = self.grants.first().map(|(at, _)| *at);
        rooms.into_iter().chain(grants).min()
    }

    /// Takes one input and returns what to do about it. See [`Effect`] for the order.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::PeerUp(peer, link) => self.peer_up(peer, link),
            Input::PeerDown(peer) => self.peer_down(peer),
            Input::Received(peer, frame) => self.received(peer, frame),
            Input::ReceivedBinary(peer) => self.strike(peer, "binary", "send text frames"),
            Input::Loaded(loaded) => self.loaded(loaded),
            Input::Command(Command::Join(name)) => self.join(name),
            Input::Command(Command::Append { room, token, entry }) => {
                if let Err(error) = self.append(room, token, entry) {
                    self.effects.push(Effect::Notify(Event::Refused { token, error }));
                }
            }
            Input::Command(Command::Withdraw) => {
                for room in self.rooms.values_mut() {
                    room.withdraw(&mut self.effects);
                }
            }
            Input::Intake(intake) => self.take_in(intake),
            Input::Flush => self.flush(now),
        }
        core::mem::take(&mut self.effects)
    }

    fn append(&mut self, id: RoomId, token: Token, entry: Canonical) -> Result<(), SubmitError> {
        if self.config.key.is_none() {
            return Err(SubmitError::NoKey);
        }
        let room = self.rooms.get_mut(&id).ok_or(SubmitError::Room)?;
        if entry.as_str().len() + 2 > limits::DATA_BYTES_MAX {
            return Err(SubmitError::Size);
        }
        if entry.depth() >= limits::DATA_DEPTH_MAX {
            return Err(SubmitError::Depth);
        }
        if !room.write(token, entry) {
            return Err(SubmitError::Busy);
        }
        self.dirty.insert(id);
        Ok(())
    }

    fn flush(&mut self, now: Timestamp) {
        while let Some((at, room)) = self.timer_order.first().copied() {
            if at > now {
                break;
            }
            self.timer_order.remove(&(at, room));
            self.timers.remove(&room);
            self.dirty.insert(room);
        }
        self.answer_awaited();
        self.grant_due();
        for id in core::mem::take(&mut self.dirty) {
            self.sign(id);
            self.publish(id);
            self.settle_due(id);
            self.give_up_filling(id);
            self.resume_due(id);
            self.free_items(id);
            self.caught_up(id);
            self.announce(id);
            self.fetch_due(id);
            if let Some(room) = self.rooms.get_mut(&id) {
                room.note_missing(now);
            }
            self.set_timer(id);
            self.forget_if_unused(id);
        }
    }

    /// Signs what waits to be signed, unless the own chain is still to be learnt.
    fn sign(&mut self, id: RoomId) {
        let now = self.now;
        let Some(key) = &self.config.key else { return };
        let asked = self.signed.as_ref().map_or(0, |signed| signed.peers);
        let teachers = || self.sessions.values().filter(|session| self.teaches(session));
        let complete = teachers().filter(|session| session.is_complete(id)).count();
        let all_complete = complete >= asked.max(teachers().count());
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.learn(now, all_complete, &mut self.effects);
        room.sign_writes(now, key, &mut self.effects);
    }

    /// Whether what a peer holds tells how far the own chain goes. While any is to be asked, it is
    /// those that the user chose: whoever connects could end the learning before they have told.
    fn teaches(&self, session: &Session) -> bool {
        let asked = self.signed.as_ref().map_or(0, |signed| signed.peers);
        let listed = self.config.allowed.is_some() && session.proved.is_some();
        asked == 0 || session.chosen || listed
    }

    fn set_timer(&mut self, id: RoomId) {
        let now = self.now;
        if let Some(old) = self.timers.remove(&id) {
            self.timer_order.remove(&(old, id));
        }
        if let Some(at) = self.rooms.get(&id).and_then(|room| room.wake_at(now)) {
            self.timers.insert(id, at);
            self.timer_order.insert((at, id));
        }
    }

    fn send(&mut self, peer: PeerId, message: &Message) {
        self.effects.push(Effect::Send(peer, message.encode()));
    }

    /// Tells a peer what it did wrong; the sixteenth time ends the connection.
    fn strike(&mut self, peer: PeerId, code: &'static str, message: &str) {
        self.blame(peer, code, message);
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.strikes += 1;
            if session.strikes >= limits::STRIKES_MAX {
                self.close(peer, CloseReason::Strikes);
            }
        }
    }

    fn blame(&mut self, peer: PeerId, code: &'static str, message: &str) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let news = is_news(&mut session.blames);
        self.send(peer, &Message::Err { code: code.to_string(), message: message.to_string() });
        if news {
            self.effects.push(Effect::Notify(Event::Blamed { peer, code }));
        }
    }

    fn close(&mut self, peer: PeerId, reason: CloseReason) {
        self.effects.push(Effect::Close(peer, reason));
        self.peer_down(peer);
    }
}

/// Counts once more what the user is told about a peer; `false` once that was often enough.
fn is_news(told: &mut u32) -> bool {
    *told = told.saturating_add(1);
    *told <= limits::STRIKES_MAX
}

#[cfg(test)]
mod tests;
