//! `Replica::handle`: a tape says who signs what with which defects, what peers say, when they go,
//! when the replica is flushed and when it dies. A disk in memory plays the driver's part.

use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::{Command, Effect, Input, Link, Load, PeerId, Token};
use crdt_core::id::{Depth, OpId, Position, RoomId, SetDigest, StoreId};
use crdt_core::intake::Shortage;
use crdt_core::json::{Canonical, Value};
use crdt_core::key::EachTime;
use crdt_core::limits;
use crdt_core::log::Log;
use crdt_core::message::{Exception, Message, NotStored, Received};
use crdt_core::op::HashedOp;
use crdt_core::rejection::Rejection;
use crdt_core::replica::{Config, Rooms};
use crdt_core::time::{Span, Timestamp};

use super::disk::Disk;
use super::forge;
use super::pool::Pool;
use super::tape::Tape;
use super::witness::Witness;

/// Connections at a time, and stores they come from.
const PEERS: usize = 4;

/// Steps of one tape: more cost time and reach nothing new.
const STEPS_MAX: usize = 400;

/// Takes a tape.
pub fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut world = World::new(tape.byte());
    for _ in 0..STEPS_MAX {
        if tape.is_empty() {
            break;
        }
        world.step(&mut tape);
    }
    world.carry_out(usize::MAX);
    world.check_at_the_end();
}

/// A replica, its disk, and everybody else.
struct World {
    replica: Replica,
    disk: Disk,
    rooms: Rooms,
    now: Timestamp,
    /// The number of each connection that is open; a number is never used twice.
    peers: [Option<PeerId>; PEERS],
    connections: u64,
    tokens: u64,
    /// Effects since the last flush.
    effects: Vec<Effect>,
    loads: Vec<Load>,
    /// What other authors have made.
    pool: Pool,
    /// What the replica has said.
    witness: Witness,
}

impl World {
    fn new(choice: u8) -> Self {
        let rooms = if choice.is_multiple_of(2) { Rooms::Joined } else { Rooms::OnDemand };
        let mut world = Self {
            replica: replica(rooms),
            disk: Disk::default(),
            rooms,
            now: Timestamp::from_ms(1_000),
            peers: [None; PEERS],
            connections: 0,
            tokens: 0,
            effects: Vec::new(),
            loads: Vec::new(),
            pool: Pool::default(),
            witness: Witness::default(),
        };
        if rooms == Rooms::Joined {
            world.input(Input::Command(Command::Join(forge::room(0))));
        }
        // What every conversation starts with.
        if choice & 2 == 0 {
            for number in 0..2 {
                world.connect(number);
                world.say(number, &forge::hello(u8::try_from(number).ok()));
                let room = forge::room(0).id();
                world
                    .say(number, &Message::Sub { room, name: None, cursor: Some(Position::START) });
            }
        }
        world
    }

    fn input(&mut self, input: Input) {
        let effects = self.replica.handle(self.now, input);
        self.effects.extend(effects);
    }

    fn say(&mut self, number: usize, message: &Message) {
        self.frame(number, message.encode().as_bytes());
    }

    fn frame(&mut self, number: usize, bytes: &[u8]) {
        if let Some(peer) = self.peers[number] {
            self.input(Input::received(peer, bytes));
        }
    }

    fn connect(&mut self, number: usize) {
        if self.peers[number].is_none() {
            let peer = PeerId(self.connections);
            self.connections += 1;
            self.peers[number] = Some(peer);
            self.input(Input::PeerUp(peer, Link::ACCEPTED));
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        let step = tape.below(24);
        let number = if step < 4 { 0 } else { tape.below(PEERS) };
        let room = forge::room(usize::from(number > 2)).id();
        match step {
            0 => self.make(tape),
            1 => self.append(tape),
            2 => self.flush(tape),
            3 => self.crash(),
            4..8 => self.send_ops(number, tape),
            8 => {
                self.make(tape);
                self.send(number, &self.pool.newest(&[0]), Position::START);
            }
            9 => self.connect(number),
            10 => {
                if let Some(peer) = self.peers[number].take() {
                    self.witness.gone(peer);
                    self.input(Input::PeerDown(peer));
                }
            }
            11 => {
                self.connect(number);
                let store = tape.byte() % 5;
                self.say(number, &forge::hello((store < 4).then_some(store)));
            }
            12 => {
                let name = (tape.below(2) == 0).then(|| forge::room(usize::from(number > 2)));
                let cursor = self.position(tape);
                self.say(number, &Message::Sub { room, name, cursor: Some(cursor) });
            }
            13 => self.say(number, &Message::Unsub { room }),
            14 => self.say_heads(number, room, tape),
            15 => {
                let ids = self.ids(tape);
                self.say(number, &Message::Get { room, ids });
            }
            16 => {
                let stored = u64::from(tape.byte());
                let whys = [
                    NotStored::Parked,
                    NotStored::Rejected(Rejection::Id),
                    NotStored::Later(Shortage::Disk),
                ];
                let why = whys[usize::from(stored % 3 == 0) + usize::from(stored % 2 == 0)];
                let exception = |index| Exception { index, why };
                let except = (0..tape.below(4) as u64).map(exception).collect();
                self.say(number, &Message::Ack { room, stored, except });
            }
            17 => self.say(number, &Message::Credit { bytes: 1 << tape.below(50) }),
            18 => {
                let code = ["busy", "room", "size"][tape.below(3)].into();
                self.say(number, &Message::Err { code, message: String::new() });
            }
            19 => {
                let length = tape.below(64);
                let bytes = tape.take(length);
                self.frame(number, bytes);
            }
            20 => {
                if let Some(peer) = self.peers[number] {
                    self.input(Input::ReceivedBinary(peer));
                }
            }
            21 => self.input(Input::Command(Command::Join(forge::room(tape.below(2))))),
            22 => self.answer(number),
            _ => self.carry_out(tape.below(3)),
        }
    }

    /// Somebody signs something, with all that the replica has shown in sight.
    fn make(&mut self, tape: &mut Tape<'_>) {
        let own: Vec<(OpId, Depth)> = self
            .disk
            .rooms()
            .flat_map(|room| self.disk.ops(room))
            .filter(|op| op.head().author == forge::own())
            .map(|op| (op.id(), op.head().depth))
            .collect();
        self.pool.make(tape, &own);
    }

    fn append(&mut self, tape: &mut Tape<'_>) {
        let token = Token(self.tokens);
        self.tokens += 1;
        let text = match tape.below(8) {
            0 => format!("\"{}\"", "x".repeat(tape.number())),
            1 => "[".repeat(tape.below(40)) + "]",
            _ => tape.byte().to_string(),
        };
        let entry = Canonical::parse(text.as_bytes()).unwrap_or(Canonical::of(&Value::Null));
        let room = forge::room(tape.below(2)).id();
        self.input(Input::Command(Command::Append { room, token, entry }));
    }

    fn send_ops(&mut self, number: usize, tape: &mut Tape<'_>) {
        let places: Vec<usize> = (0..tape.below(6)).map(|_| tape.below(256)).collect();
        let cursor = self.position(tape);
        self.send(number, &self.pool.newest(&places), cursor);
    }

    /// A peer gives what the replica asked for, as far as anybody made it.
    fn answer(&mut self, number: usize) {
        let wanted = self.witness.take_wanted();
        self.send(number, &self.pool.with_ids(&wanted), Position::START);
    }

    /// A peer sends ops: each an id and an envelope.
    fn send(&mut self, number: usize, ops: &[(OpId, String)], cursor: Position) {
        let Some(peer) = self.peers[number] else { return };
        let envelopes: Vec<&str> = ops.iter().map(|(_, envelope)| envelope.as_str()).collect();
        let (room, cursor, ops_text) = (forge::room(0).id(), cursor.number(), envelopes.join(","));
        let frame =
            format!(r#"{{"type":"ops","room":"{room}","cursor":{cursor},"ops":[{ops_text}]}}"#);
        // A number beyond the profile in one op makes the whole message no JSON.
        if Received::decode(frame.as_bytes()).is_ok() {
            self.witness.sent(peer, ops.iter().map(|(id, _)| *id).collect());
        }
        self.frame(number, frame.as_bytes());
    }

    fn say_heads(&mut self, number: usize, room: RoomId, tape: &mut Tape<'_>) {
        let own = self.replica.status(room).map(|status| status.set);
        let set = own.filter(|_| tape.below(2) == 0);
        let set = set.unwrap_or(SetDigest::from_bytes([tape.byte(); 32]));
        let (heads, cursor) = (self.ids(tape), self.position(tape));
        let count = cursor.number();
        self.say(number, &Message::Heads { room, set, count, heads, cursor });
    }

    fn ids(&self, tape: &mut Tape<'_>) -> Vec<OpId> {
        let known: Vec<OpId> = self.pool.ids().chain(self.witness.own()).collect();
        let pick = |tape: &mut Tape<'_>| {
            tape.pick(&known).copied().unwrap_or_else(|| OpId::from_bytes([7; 32]))
        };
        let mut ids: Vec<OpId> = (0..tape.below(8)).map(|_| pick(tape)).collect();
        if tape.below(8) == 0 {
            ids.push(forge::phantom(tape));
        }
        ids
    }

    fn position(&self, tape: &mut Tape<'_>) -> Position {
        let number = match tape.below(8) {
            0 => (1 << 53) - 1,
            1 => u64::from(tape.byte()),
            _ => self.pool.len(),
        };
        Position::new(number).unwrap()
    }

    /// Time passes, and the batch ends.
    fn flush(&mut self, tape: &mut Tape<'_>) {
        let span = [0, 1, 300, 3_000, 30_000, 90_000][tape.below(6)];
        self.now = self.now.after(Span::from_ms(span));
        self.carry_out(tape.below(9));
    }

    /// What the driver does at the end of a batch: read at most so many pages, write, then the
    /// rest.
    fn carry_out(&mut self, loads: usize) {
        let due = loads.min(self.loads.len());
        for load in self.loads.drain(..due).collect::<Vec<_>>() {
            let loaded = self.disk.load(load);
            self.input(Input::Loaded(loaded));
        }
        self.input(Input::Flush);
        let effects = core::mem::take(&mut self.effects);
        for effect in &effects {
            if let Effect::Persist(record) = effect {
                self.disk.persist(record);
            }
        }
        for effect in effects {
            self.check_effect(effect);
        }
        self.check();
    }

    /// Nothing is said of what is not on disk.
    fn check_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Load(load) => self.loads.push(load),
            Effect::Send(peer, frame) => {
                if self.peers.contains(&Some(peer)) {
                    self.witness.frame(&self.disk, peer, &frame);
                }
            }
            Effect::Close(peer, _) => {
                for open in &mut self.peers {
                    open.take_if(|open| *open == peer);
                }
                self.loads.retain(|load| load.peer != peer);
                self.witness.gone(peer);
            }
            Effect::Notify(event) => self.witness.event(&self.disk, &self.pool, &event),
        }
    }

    /// What holds after every batch.
    fn check(&self) {
        assert!(self.replica.rooms().count() <= limits::ROOMS_MAX);
        for room in self.replica.rooms() {
            let status = self.replica.status(room).unwrap();
            assert!(status.parked <= limits::PARKED_OPS_MAX);
            assert_eq!(status.ops, self.disk.ops(room).count() as u64, "memory and disk agree");
        }
    }

    /// The process dies: what was not persisted is gone, and so is every connection.
    fn crash(&mut self) {
        self.effects.clear();
        self.loads.clear();
        self.witness.all_gone();
        self.peers = [None; PEERS];
        self.replica = self.reopened();
    }

    fn reopened(&self) -> Replica {
        let mut replica = replica(self.rooms);
        self.disk.restore(&mut replica);
        replica
    }

    /// The log is a function of the set of ops alone: given to another log backwards, they make the
    /// same; and a replica opened on this disk holds what this one does.
    fn check_at_the_end(&self) {
        let reopened = self.reopened();
        for room in self.disk.rooms() {
            let mut log = Log::new(room, 1);
            let mut admitted = Vec::new();
            let source = StoreId::from_bytes([9; 32]);
            for op in self.disk.ops(room).rev() {
                let op: HashedOp = op.as_ref().clone().unproven();
                log.receive(op, source, &mut admitted);
            }
            let Some(status) = self.replica.status(room) else {
                assert!(admitted.is_empty(), "a room with ops is not forgotten");
                continue;
            };
            assert_eq!(log.parked(), 0, "the disk holds every dependency");
            assert_eq!(log.set_digest(), status.set);
            assert_eq!(Some(log.log_digest()), self.replica.log_digest(room));
            assert_eq!(log.graph().equivocations().len(), status.equivocations);
            assert_eq!(log.graph().entries(), status.entries);
            let heads: Vec<OpId> = log.graph().heads().iter().copied().collect();
            assert_eq!(heads, status.heads);
            assert_eq!(reopened.status(room).map(|again| again.set), Some(status.set));
            assert_eq!(reopened.log_digest(room), self.replica.log_digest(room));
        }
    }
}

fn replica(rooms: Rooms) -> Replica {
    let key = (rooms == Rooms::Joined).then(|| forge::key(forge::AUTHORS));
    Replica::new(Config {
        store: forge::OWN_STORE,
        agent: "fuzz".into(),
        rooms,
        key,
        seed: [0; 32],
        allowed: None,
        signatures: Arc::new(EachTime),
    })
}
