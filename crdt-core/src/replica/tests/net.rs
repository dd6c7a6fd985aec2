//! Replicas on links that are cut and mended, and disks that survive crashes.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::effect::{
    Command, Effect, Event, Input, Link, Load, Loaded, PeerId, Record, Select, Token,
};
use crate::fixtures::{Author, room};
use crate::id::{OpId, Position, RoomId, RoomName, StoreId};
use crate::json::Canonical;
use crate::key::EachTime;
use crate::limits;
use crate::message::{Frame, Received};
use crate::op::Op;
use crate::replica::{Config, Replica, Rooms};
use crate::status::RoomStatus;
use crate::time::{Span, Timestamp};

/// A disk: what survives a crash.
#[derive(Clone, Default)]
pub(super) struct Disk(pub(super) Vec<Record>);

impl Disk {
    pub(super) fn ops(
        &self,
        room: RoomId,
    ) -> impl Iterator<Item = (Position, Option<StoreId>, &Arc<Op>)> {
        self.0.iter().filter_map(move |record| match record {
            Record::Op { position, source, op } if op.head().room == room => {
                Some((*position, *source, op))
            }
            _ => None,
        })
    }

    pub(super) fn load(&self, load: &Load) -> Loaded {
        let is_kept =
            |record: &Record| matches!(record, Record::Room { id, .. } if *id == load.room);
        assert!(self.0.iter().any(is_kept), "only what is on disk is read from it");
        let mut ops: Vec<Op> = Vec::new();
        let mut through = Position::START;
        let full = |ops: &[Op]| {
            let bytes: usize = ops.iter().map(|op| op.to_string().len()).sum();
            ops.len() == load.ops_max || bytes >= load.bytes_max
        };
        match &load.what {
            Select::After(after, skip) => {
                through = *after;
                for (position, source, op) in self.ops(load.room).filter(|(p, ..)| p > after) {
                    if full(&ops) {
                        break;
                    }
                    if skip.is_none() || source != *skip {
                        ops.push((**op).clone());
                    }
                    through = position;
                }
            }
            Select::At(positions) => {
                for (_, _, op) in
                    self.ops(load.room).filter(|(p, ..)| positions.binary_search(p).is_ok())
                {
                    if full(&ops) {
                        break;
                    }
                    ops.push((**op).clone());
                }
            }
        }
        Loaded { load: load.clone(), ops, through }
    }
}

pub(super) struct Node {
    pub(super) replica: Replica,
    pub(super) disk: Disk,
    pub(super) key: u8,
    pub(super) events: Vec<Event>,
}

/// Replicas joined by links that are cut and mended; time moves only when told.
pub(super) struct Net {
    pub(super) now: Timestamp,
    pub(super) nodes: Vec<Node>,
    /// Open links: the two ends, and the number each knows the other by.
    pub(super) links: Vec<[(usize, PeerId); 2]>,
    pub(super) wire: VecDeque<(usize, PeerId, Frame)>,
    pub(super) next_peer: u64,
    pub(super) bytes: usize,
    pub(super) sent: Vec<Frame>,
    /// How often each op was sent from an end of a link to a node.
    pub(super) crossed: BTreeMap<(PeerId, usize, OpId), usize>,
}

pub(super) const MAIN: &str = "main";

impl Net {
    /// A relayer, number 0, and so many nodes.
    pub(super) fn new(nodes: u8) -> Self {
        let now = Timestamp::from_ms(1_000);
        let nodes = (0..=nodes).map(|key| Node::start(key, Disk::default())).collect();
        let (links, wire, sent) = (Vec::new(), VecDeque::new(), Vec::new());
        let crossed = BTreeMap::new();
        let mut net = Self { now, nodes, links, wire, next_peer: 1, bytes: 0, sent, crossed };
        for node in 1..net.nodes.len() {
            net.input(node, Input::Command(Command::Join(RoomName::parse(MAIN).unwrap())));
        }
        net
    }

    pub(super) fn connected(nodes: u8) -> Self {
        let mut net = Self::new(nodes);
        for node in 1..net.nodes.len() {
            net.link(0, node);
        }
        net.settle();
        net
    }

    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.link_as(a, b, Link::ACCEPTED);
    }

    /// The same for a purpose, which both ends know.
    pub(super) fn link_as(&mut self, a: usize, b: usize, link: Link) {
        let ends = [(a, PeerId(self.next_peer)), (b, PeerId(self.next_peer + 1))];
        self.next_peer += 2;
        self.links.push(ends);
        for (node, peer) in ends {
            self.input(node, Input::PeerUp(peer, link));
        }
    }

    pub(super) fn cut(&mut self, node: usize) {
        let (gone, left) = core::mem::take(&mut self.links)
            .into_iter()
            .partition(|ends| ends.iter().any(|(end, _)| *end == node));
        self.links = left;
        for (end, peer) in Vec::into_iter(gone).flatten() {
            self.wire.retain(|(to, at, _)| (*to, *at) != (end, peer));
            self.input(end, Input::PeerDown(peer));
        }
    }

    /// Loses everything but the disk.
    pub(super) fn crash(&mut self, node: usize) {
        self.cut(node);
        let Node { disk, key, .. } = &self.nodes[node];
        self.nodes[node] = Node::start(*key, disk.clone());
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let mut effects = self.nodes[node].replica.handle(self.now, input);
        effects.extend(self.nodes[node].replica.handle(self.now, Input::Flush));
        self.carry_out(node, effects);
    }

    /// Does what a node wants done.
    pub(super) fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(record) => self.nodes[node].disk.0.push(record),
                Effect::Load(load) => {
                    let loaded = self.nodes[node].disk.load(&load);
                    let more = self.nodes[node].replica.handle(self.now, Input::Loaded(loaded));
                    effects.extend(more);
                }
                Effect::Send(peer, frame) => {
                    let end = (node, peer);
                    let other = self.links.iter().find_map(|ends| match ends {
                        [a, b] if *a == end => Some(*b),
                        [a, b] if *b == end => Some(*a),
                        _ => None,
                    });
                    self.bytes += frame.len();
                    self.sent.push(frame.clone());
                    if let Some((to, at)) = other {
                        if let Ok(Received::Ops(batch)) = Received::decode(frame.as_bytes()) {
                            for op in batch.ops.into_iter().flatten() {
                                *self.crossed.entry((peer, to, op.id())).or_default() += 1;
                            }
                        }
                        self.wire.push_back((to, at, frame));
                    }
                }
                Effect::Close(_, _) => {}
                Effect::Notify(event) => self.nodes[node].events.push(event),
            }
        }
    }

    pub(super) fn deliver(&mut self) -> bool {
        let Some((to, peer, frame)) = self.wire.pop_front() else { return false };
        self.input(to, Input::received(peer, frame.as_bytes()));
        true
    }

    pub(super) fn quiet(&mut self) {
        while self.deliver() {}
    }

    /// Delivers everything, lets announcements fall due, and so on until nothing changes.
    pub(super) fn settle(&mut self) {
        for _ in 0..8 {
            self.quiet();
            self.now = self.now.after(limits::HEADS_EVERY);
            for node in 0..self.nodes.len() {
                self.input(node, Input::Flush);
            }
        }
        self.quiet();
    }

    /// Moves time by so many seconds, a tenth at a time; `each` happens before anybody wakes.
    pub(super) fn pass(&mut self, seconds: u32, mut each: impl FnMut(&mut Self)) {
        for _ in 0..10 * seconds {
            self.now = self.now.after(Span::from_ms(100));
            each(self);
            for node in 0..self.nodes.len() {
                self.input(node, Input::Flush);
            }
            self.quiet();
        }
    }

    /// A node that has lost everything, and is not connected yet.
    pub(super) fn begin_anew(&mut self, node: usize) {
        self.cut(node);
        self.crash(node);
        self.nodes[node] = Node::start(self.nodes[node].key, Disk::default());
        self.input(node, Input::Command(Command::Join(RoomName::parse(MAIN).unwrap())));
    }

    pub(super) fn write(&mut self, node: usize, number: u64) {
        let entry = Canonical::parse(format!("{{\"n\":{number}}}").as_bytes()).unwrap();
        let room = room(MAIN);
        let append = Command::Append { room, token: Token(number), entry };
        self.input(node, Input::Command(append));
    }

    pub(super) fn status(&self, node: usize) -> RoomStatus {
        self.nodes[node].replica.status(room(MAIN)).unwrap()
    }

    pub(super) fn unsent(&self, node: usize) -> usize {
        let replica = &self.nodes[node].replica;
        replica.author().map_or(0, |author| replica.unsent(room(MAIN), author))
    }

    #[track_caller]
    pub(super) fn assert_converged(&self, entries: u64) {
        let first = self.status(0);
        for node in 0..self.nodes.len() {
            let status = self.status(node);
            assert_eq!(status.entries, entries, "node {node}");
            let log = |node: usize| self.nodes[node].replica.log_digest(room(MAIN));
            assert_eq!((status.set, log(node)), (first.set, log(0)), "node {node}");
            assert_eq!((status.parked, self.unsent(node)), (0, 0), "node {node}");
        }
    }
}

impl Node {
    pub(super) fn start(key: u8, disk: Disk) -> Self {
        let (rooms, secret) = match key {
            0 => (Rooms::OnDemand, None),
            _ => (Rooms::Joined, Some(Author::new(key).0)),
        };
        let store = StoreId::from_bytes([key; 32]);
        let config = Config {
            store,
            agent: "test".into(),
            rooms,
            key: secret,
            seed: [0; 32],
            allowed: None,
            signatures: Arc::new(EachTime),
        };
        let mut replica = Replica::new(config);
        for record in &disk.0 {
            replica.restore(record.clone()).unwrap();
        }
        Self { replica, disk, key, events: Vec::new() }
    }

    pub(super) fn durable(&self) -> Vec<u64> {
        let token = |event: &Event| match event {
            Event::Durable { token, .. } => Some(token.0),
            _ => None,
        };
        self.events.iter().filter_map(token).collect()
    }
}
