#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "tests name the cases they are about"
)]

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use core::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::effect::{Load, Loaded, Select};
use crate::fixtures::{Author, entry, id_of, room};
use crate::message::{Frame, Received, encode_ops};
use crate::op::Op;

/// A disk: what survives a crash.
#[derive(Clone, Default)]
struct Disk(Vec<Record>);

impl Disk {
    fn ops(&self, room: RoomId) -> impl Iterator<Item = (Position, Option<StoreId>, &Arc<Op>)> {
        self.0.iter().filter_map(move |record| match record {
            Record::Op { position, source, op } if op.head().room == room => {
                Some((*position, *source, op))
            }
            _ => None,
        })
    }

    fn load(&self, load: &Load) -> Loaded {
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
                let at = |p: &Position| self.ops(load.room).find(|(q, ..)| q == p);
                for (_, _, op) in positions.iter().filter_map(at) {
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

struct Node {
    replica: Replica,
    disk: Disk,
    key: u8,
    events: Vec<Event>,
}

/// Replicas joined by links that are cut and mended; time moves only when told.
struct Net {
    now: Timestamp,
    nodes: Vec<Node>,
    /// Open links: the two ends, and the number each knows the other by.
    links: Vec<[(usize, PeerId); 2]>,
    wire: VecDeque<(usize, PeerId, Frame)>,
    next_peer: u64,
    bytes: usize,
    sent: Vec<Frame>,
}

const MAIN: &str = "main";

impl Net {
    /// A relayer, number 0, and so many nodes.
    fn new(nodes: u8) -> Self {
        let now = Timestamp::from_ms(1_000);
        let nodes = (0..=nodes).map(|key| Node::start(key, Disk::default())).collect();
        let (links, wire, sent) = (Vec::new(), VecDeque::new(), Vec::new());
        let mut net = Self { now, nodes, links, wire, next_peer: 1, bytes: 0, sent };
        for node in 1..net.nodes.len() {
            net.input(node, Input::Command(Command::Join(RoomName::parse(MAIN).unwrap())));
        }
        net
    }

    fn connected(nodes: u8) -> Self {
        let mut net = Self::new(nodes);
        for node in 1..net.nodes.len() {
            net.link(0, node);
        }
        net.settle();
        net
    }

    fn link(&mut self, a: usize, b: usize) {
        let ends = [(a, PeerId(self.next_peer)), (b, PeerId(self.next_peer + 1))];
        self.next_peer += 2;
        self.links.push(ends);
        for (node, peer) in ends {
            self.input(node, Input::PeerUp(peer));
        }
    }

    fn cut(&mut self, node: usize) {
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
    fn crash(&mut self, node: usize) {
        self.cut(node);
        let Node { disk, key, .. } = &self.nodes[node];
        self.nodes[node] = Node::start(*key, disk.clone());
    }

    fn input(&mut self, node: usize, input: Input) {
        let mut effects: VecDeque<Effect> = self.nodes[node].replica.handle(self.now, input).into();
        effects.extend(self.nodes[node].replica.handle(self.now, Input::Flush));
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
                        self.wire.push_back((to, at, frame));
                    }
                }
                Effect::Close(_, _) => {}
                Effect::Notify(event) => self.nodes[node].events.push(event),
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let Some((to, peer, frame)) = self.wire.pop_front() else { return false };
        self.input(to, Input::Received(peer, frame.as_bytes().to_vec()));
        true
    }

    fn quiet(&mut self) {
        while self.deliver() {}
    }

    /// Delivers everything, lets announcements fall due, and so on until nothing changes.
    fn settle(&mut self) {
        for _ in 0..8 {
            self.quiet();
            self.now = self.now.after(limits::HEADS_EVERY);
            for node in 0..self.nodes.len() {
                self.input(node, Input::Flush);
            }
        }
        self.quiet();
    }

    fn write(&mut self, node: usize, number: u64) {
        let entry = Canonical::parse(format!("{{\"n\":{number}}}").as_bytes()).unwrap();
        let room = room(MAIN);
        let append = Command::Append { room, token: Token(number), entry };
        self.input(node, Input::Command(append));
    }

    fn status(&self, node: usize) -> RoomStatus {
        self.nodes[node].replica.status(room(MAIN)).unwrap()
    }

    fn unsent(&self, node: usize) -> usize {
        let replica = &self.nodes[node].replica;
        replica.author().map_or(0, |author| replica.unsent(room(MAIN), author))
    }

    #[track_caller]
    fn assert_converged(&self, entries: u64) {
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
    fn start(key: u8, disk: Disk) -> Self {
        let (rooms, secret) = match key {
            0 => (Rooms::OnDemand, None),
            _ => (Rooms::Joined, Some(Author::new(key).0)),
        };
        let store = StoreId::from_bytes([key; 32]);
        let config = Config { store, agent: "test".into(), rooms, key: secret, seed: 0 };
        let mut replica = Replica::new(config);
        for record in &disk.0 {
            replica.restore(record.clone()).unwrap();
        }
        Self { replica, disk, key, events: Vec::new() }
    }

    fn durable(&self) -> Vec<u64> {
        let token = |event: &Event| match event {
            Event::Durable { token, .. } => Some(token.0),
            _ => None,
        };
        self.events.iter().filter_map(token).collect()
    }
}

/// A peer that says whatever a test wants it to say to the relayer.
struct Client {
    replica: Replica,
    peer: PeerId,
    disk: Disk,
}

impl Client {
    fn unknown() -> Self {
        let Node { mut replica, disk, .. } = Node::start(0, Disk::default());
        replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(1)));
        Self { replica, peer: PeerId(1), disk }
    }

    fn new() -> Self {
        let mut client = Self::unknown();
        let hello = hello(9, limits::WINDOW_BYTES);
        client.say(&hello);
        client
    }

    fn say(&mut self, frame: &str) -> Vec<Effect> {
        self.input(Input::Received(self.peer, frame.as_bytes().to_vec()))
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let now = Timestamp::from_ms(0);
        let mut effects: VecDeque<Effect> = self.replica.handle(now, input).into();
        effects.extend(self.replica.handle(now, Input::Flush));
        let mut visible = Vec::new();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(record) => self.disk.0.push(record),
                Effect::Load(load) => {
                    let loaded = self.disk.load(&load);
                    effects.extend(self.replica.handle(now, Input::Loaded(loaded)));
                }
                Effect::Send(..) | Effect::Close(..) | Effect::Notify(_) => visible.push(effect),
            }
        }
        visible
    }
}

fn hello(store: u8, window: u64) -> Frame {
    let store = StoreId::from_bytes([store; 32]);
    Message::Hello { agent: "test".into(), store, window }.encode()
}

/// What an effect tells the peer, in one word or two.
fn said(effects: &[Effect]) -> Vec<String> {
    let describe = |effect: &Effect| match effect {
        Effect::Send(_, frame) => match Received::decode(frame.as_bytes()).unwrap() {
            Received::Message(Message::Err { code, .. }) => Some(format!("err {code}")),
            Received::Message(_) => None,
            Received::Acked { .. } => frame.split("\"code\":\"").nth(1).map_or_else(
                || Some("ack".to_string()),
                |rest| Some(format!("ack {}", rest.split('"').next().unwrap())),
            ),
            Received::Ops(_) => Some("ops".into()),
        },
        Effect::Close(_, reason) => Some(format!("close {}", reason.as_str())),
        _ => None,
    };
    effects.iter().filter_map(describe).collect()
}

fn ops(ops: &[&Op]) -> Frame {
    encode_ops(room(MAIN), ops.iter().copied(), None, &[])
}

fn sub(cursor: u64) -> Frame {
    let cursor = Position::new(cursor).unwrap();
    Message::Sub { room: room(MAIN), name: None, cursor }.encode()
}

#[test]
fn what_one_writes_all_hold_and_know_to_be_held() {
    let mut net = Net::connected(3);
    for number in 0..30 {
        net.write(1 + (number as usize % 3), number);
    }
    net.settle();
    net.assert_converged(30);
    for node in 1..=3 {
        assert_eq!(net.nodes[node].durable().len(), 10);
        let events = &net.nodes[node].events;
        assert!(events.iter().any(|event| matches!(event, Event::Acked { .. })));
        let last = events.iter().rev().find_map(|event| match event {
            Event::Synced { set, .. } => Some(*set),
            _ => None,
        });
        assert_eq!(last, Some(net.status(0).set));
    }
}

#[test]
fn one_signature_covers_what_is_written_at_once() {
    let mut net = Net::connected(1);
    let room = room(MAIN);
    let entry = Canonical::parse(b"1").unwrap();
    for token in 0..300 {
        let append = Command::Append { room, token: Token(token), entry: entry.clone() };
        net.nodes[1].replica.handle(net.now, Input::Command(append));
    }
    net.input(1, Input::Flush);
    net.settle();
    assert_eq!((net.status(0).ops, net.status(0).entries), (2, 300));
    assert_eq!(net.nodes[1].durable(), (0..300).collect::<Vec<_>>());
}

#[test]
fn large_transactions_are_split_over_ops() {
    let mut net = Net::connected(1);
    let entry = Canonical::parse(format!("\"{}\"", "x".repeat(30_000)).as_bytes()).unwrap();
    for token in 0..5 {
        let (room, entry) = (room(MAIN), entry.clone());
        let append = Command::Append { room, token: Token(token), entry };
        net.nodes[1].replica.handle(net.now, Input::Command(append));
    }
    net.input(1, Input::Flush);
    net.settle();
    assert_eq!((net.status(0).ops, net.status(0).entries), (3, 5));
}

#[test]
fn a_transaction_that_never_fits_is_refused_and_loses_nothing() {
    let mut net = Net::connected(1);
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    let mut outcome = |data: &str| {
        let entry = Canonical::parse(data.as_bytes()).unwrap();
        net.nodes[1].events.clear();
        let append = Command::Append { room: room(MAIN), token: Token(1), entry };
        net.input(1, Input::Command(append));
        let refused = |event: &Event| match event {
            Event::Refused { error, .. } => Some(*error),
            _ => None,
        };
        net.nodes[1].events.iter().find_map(refused)
    };
    let max = limits::DATA_BYTES_MAX - 2;
    assert_eq!(outcome(&text(max)), None);
    assert_eq!(outcome(&text(max + 1)), Some(SubmitError::Size));
    assert_eq!(outcome(&nested(31)), None);
    assert_eq!(outcome(&nested(32)), Some(SubmitError::Depth));
    assert_eq!(net.status(1).entries, 2);
    let append =
        |room, token| Command::Append { room, token, entry: Canonical::parse(b"1").unwrap() };
    net.input(1, Input::Command(append(room("other"), Token(2))));
    net.input(0, Input::Command(append(room(MAIN), Token(3))));
    let last = |node: usize| net.nodes[node].events.last().cloned();
    assert!(matches!(last(1), Some(Event::Refused { error: SubmitError::Room, .. })));
    assert!(matches!(last(0), Some(Event::Refused { error: SubmitError::NoKey, .. })));
}

#[test]
fn writes_made_offline_arrive_after_the_link_is_back() {
    let mut net = Net::new(2);
    for number in 0..600 {
        net.write(1, number);
    }
    assert_eq!((net.unsent(1), net.nodes[1].durable().len()), (600, 600));
    net.link(0, 1);
    net.link(0, 2);
    net.settle();
    net.assert_converged(600);
}

#[test]
fn a_node_that_was_away_gets_only_what_it_lacks() {
    let mut net = Net::connected(2);
    for number in 0..1_000 {
        net.write(1, number);
    }
    net.settle();
    net.cut(2);
    for number in 1_000..1_010 {
        net.write(1, number);
    }
    net.settle();
    let lacked: usize =
        net.nodes[0].disk.ops(room(MAIN)).skip(1_000).map(|(.., op)| op.weight()).sum();
    net.bytes = 0;
    net.link(0, 2);
    net.quiet();
    assert!(net.bytes < lacked + 3_000, "{} bytes for {lacked}", net.bytes);
    net.assert_converged(1_010);
}

#[test]
fn an_idle_room_sends_heads_every_thirty_seconds_and_nothing_else() {
    let mut net = Net::connected(1);
    net.write(1, 1);
    net.settle();
    net.sent.clear();
    for _ in 0..10 {
        net.now = net.now.after(limits::HEADS_EVERY);
        net.input(0, Input::Flush);
        net.input(1, Input::Flush);
        net.quiet();
    }
    assert_eq!(net.sent.len(), 20);
    assert!(net.sent.iter().all(|frame| frame.contains("\"heads\"")));
}

#[test]
fn a_published_frame_is_built_once_for_all() {
    let mut net = Net::connected(5);
    net.sent.clear();
    net.write(1, 1);
    net.quiet();
    let pushed: Vec<&Frame> =
        net.sent.iter().filter(|frame| frame.starts_with("{\"type\":\"ops\"")).collect();
    assert_eq!(pushed.len(), 5, "one up, four down, none back to its author");
    assert!(pushed[1..].iter().all(|frame| Arc::ptr_eq(frame, pushed[1])));
}

#[test]
fn a_crashed_node_goes_on_from_its_tip() {
    let mut net = Net::connected(2);
    net.write(1, 1);
    net.write(1, 2);
    net.crash(1);
    net.write(1, 3);
    net.link(0, 1);
    net.settle();
    net.assert_converged(3);
    assert_eq!(net.status(0).equivocations, 0);
}

#[test]
fn a_relayer_that_lost_its_store_gets_everything_back() {
    let mut net = Net::connected(2);
    for number in 0..700 {
        net.write(1 + (number as usize % 2), number);
    }
    net.settle();
    net.cut(0);
    net.nodes[0] = Node::start(0, Disk::default());
    let config = &mut net.nodes[0].replica.config;
    config.store = StoreId::from_bytes([200; 32]);
    net.link(0, 1);
    net.settle();
    net.link(0, 2);
    net.settle();
    net.assert_converged(700);
}

#[test]
fn a_relayer_restored_from_an_old_copy_gets_the_rest_back() {
    let mut net = Net::connected(2);
    net.write(1, 1);
    net.settle();
    let old = net.nodes[0].disk.clone();
    for number in 2..500 {
        net.write(1 + (number as usize % 2), number);
    }
    net.settle();
    net.cut(0);
    net.nodes[0] = Node::start(0, old);
    net.link(0, 1);
    net.link(0, 2);
    net.settle();
    net.assert_converged(499);
}

#[test]
fn a_false_cursor_in_a_nodes_name_is_found_out_by_its_heads() {
    let mut net = Net::connected(2);
    net.cut(1);
    for number in 0..10 {
        net.write(1, number);
    }
    // Somebody who learnt node 1's store id pretends that its ops were pulled already.
    let mut effects = Vec::new();
    let relayer = net.nodes[0].replica.rooms.get_mut(&room(MAIN)).unwrap();
    let all = Position::new(10).unwrap();
    relayer.set_pulled(StoreId::from_bytes([1; 32]), all, &mut effects);
    net.link(0, 1);
    net.settle();
    net.assert_converged(10);
}

#[test]
fn without_a_relayer_two_nodes_replicate_directly() {
    let mut net = Net::new(2);
    net.write(1, 1);
    net.write(2, 2);
    net.link(1, 2);
    net.settle();
    assert_eq!(net.status(1).set, net.status(2).set);
    assert_eq!(net.status(1).entries, 2);
}

#[test]
fn who_does_not_read_is_sent_no_more_than_the_window_and_catches_up_later() {
    let mut client = Client::new();
    let mut all: Vec<Op> = Vec::new();
    let (alice, long) = (Author::new(1), format!("\"{}\"", "x".repeat(60_000)));
    client.say(&sub(0));
    let mut sent = 0;
    let mut frames = Vec::new();
    let mut note = |effects: Vec<Effect>| {
        for effect in effects {
            if let Effect::Send(_, frame) = effect
                && frame.starts_with("{\"type\":\"ops\"")
            {
                sent += frame.len() as u64;
                frames.push(frame);
            }
        }
        sent
    };
    client.replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(2)));
    let publisher = hello(8, limits::WINDOW_BYTES).as_bytes().to_vec();
    client.input(Input::Received(PeerId(2), publisher));
    for number in 0..60 {
        let data = format!("{long},{number}");
        let op =
            all.last().map_or_else(|| entry(&alice, &[], &data), |p| alice.after(p, &[], &data));
        let frame = ops(&[&op]).as_bytes().to_vec();
        assert!(note(client.input(Input::Received(PeerId(2), frame))) <= limits::WINDOW_BYTES);
        all.push(op);
    }
    let before = note(Vec::new());
    assert!(before > limits::WINDOW_BYTES / 2 && before <= limits::WINDOW_BYTES);
    for _ in 0..10 {
        note(client.say(&Message::Credit { bytes: limits::GRANT_BYTES }.encode()));
    }
    let come: usize = frames.iter().map(|frame| frame.matches("\"id\":").count()).sum();
    assert_eq!(come, 60, "each once, in pages from disk");
}

#[test]
fn asking_from_another_place_while_a_page_is_read_skips_nothing() {
    let mut net = Net::connected(1);
    for number in 0..600 {
        net.write(1, number);
    }
    net.quiet();
    let Node { replica, disk, .. } = &mut net.nodes[0];
    let now = net.now;
    let mut say = |input: Input| replica.handle(now, input);
    say(Input::PeerUp(PeerId(90)));
    let frame = |frame: Frame| Input::Received(PeerId(90), frame.as_bytes().to_vec());
    say(frame(hello(9, limits::WINDOW_BYTES)));
    let mut loads: VecDeque<Load> = VecDeque::new();
    let mut come = 0;
    let mut effects = say(frame(sub(300)));
    effects.extend(say(frame(sub(0))));
    loop {
        for effect in effects {
            match effect {
                Effect::Load(load) => loads.push_back(load),
                Effect::Send(_, frame) => come += frame.matches("\"sig\":").count(),
                _ => {}
            }
        }
        let Some(load) = loads.pop_front() else { break };
        effects = say(Input::Loaded(disk.load(&load)));
    }
    assert_eq!(come, 600);
}

#[test]
fn a_missing_dependency_is_asked_of_the_sender_then_of_others() {
    let mut client = Client::new();
    client.say(&sub(0));
    let first = entry(&Author::new(1), &[], "1");
    let second = Author::new(1).after(&first, &[], "2");
    let effects = client.say(&ops(&[&second]));
    assert_eq!(said(&effects), ["ack"]);
    let get = Message::Get { room: room(MAIN), ids: vec![first.id()] }.encode();
    let asks = |effects: &[Effect], who: PeerId| {
        effects
            .iter()
            .any(|e| matches!(e, Effect::Send(peer, frame) if *peer == who && *frame == get))
    };
    assert!(asks(&effects, PeerId(1)));
    let replica = &mut client.replica;
    replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(2)));
    for frame in [hello(8, limits::WINDOW_BYTES), sub(0)] {
        let frame = frame.as_bytes().to_vec();
        replica.handle(Timestamp::from_ms(0), Input::Received(PeerId(2), frame));
    }
    replica.handle(Timestamp::from_ms(0), Input::Flush);
    let later = replica.wake_at().unwrap();
    assert!(asks(&replica.handle(later, Input::Flush), PeerId(2)));
    client.say(&ops(&[&first]));
    assert_eq!(client.replica.status(room(MAIN)).unwrap().ops, 2);
}

#[test]
fn ops_are_served_by_id_and_unknown_ids_are_named() {
    let mut client = Client::new();
    let all: Vec<Op> = (0..40)
        .map(|n| entry(&Author::new(1), &[], &format!("\"{n}{}\"", "x".repeat(9_000))))
        .collect();
    client.say(&ops(&all.iter().collect::<Vec<_>>()));
    let ids = all.iter().map(Op::id).chain([id_of(1)]).collect();
    let effects = client.say(&Message::Get { room: room(MAIN), ids }.encode());
    let mut come = Vec::new();
    let mut missing = Vec::new();
    for effect in &effects {
        if let Effect::Send(_, frame) = effect
            && let Ok(Received::Ops(batch)) = Received::decode(frame.as_bytes())
        {
            come.extend(batch.ops.into_iter().map(|op| op.unwrap().id));
            missing.extend(batch.missing);
        }
    }
    assert_eq!((come.len(), missing), (40, vec![id_of(1)]));
}

#[test]
fn each_kind_of_nonsense_has_its_code_and_harms_nobody() {
    let good = entry(&Author::new(1), &[], "1");
    let text = ops(&[&good]).to_string();
    let id = good.id().to_string();
    let dh = good.head().data_hash.to_string();
    let foreign = Author::new(1).with(|head| head.room = room("other"));
    for (frame, answer) in [
        ("garbage".to_string(), vec!["err json"]),
        ("[".repeat(10_000), vec!["err json"]),
        ("{\"type\":\"sing\"}".into(), vec!["err unknown"]),
        ("{\"type\":\"ops\"}".into(), vec!["err field"]),
        (" ".repeat(limits::FRAME_BYTES_MAX + 1), vec!["err size", "close size"]),
        (hello(9, limits::WINDOW_BYTES).to_string(), vec!["err hello"]),
        (text.replace(&id, &"0".repeat(64)), vec!["ack id", "err id"]),
        (text.replace(&dh, &"0".repeat(64)), vec!["ack data", "err data"]),
        (text.replace("\"sig\":\"", "\"sig\":\"0"), vec!["ack field", "err field"]),
        (text.replace("\"data\":[1]", "\"data\":[2]"), vec!["ack data", "err data"]),
        (text.replace(&id, &id.to_uppercase()), vec!["ack field", "err field"]),
        (text.replace("\"v\":1", "\"v\":2"), vec!["ack version", "err version"]),
        (text.replace("\"seq\":0,", ""), vec!["ack field", "err field"]),
        (text.replace("\"seq\":0", "\"seq\":0,\"x\":0"), vec!["ack field", "err field"]),
        (ops(&[&foreign]).to_string(), vec!["ack room", "err room"]),
        (
            "{\"type\":\"ack\",\"room\":\"".to_string()
                + &"0".repeat(64)
                + "\",\"stored\":0,\"except\":[]}",
            vec!["err ack"],
        ),
    ] {
        let mut client = Client::new();
        assert_eq!(said(&client.say(&frame)), answer, "{frame:.100}");
        assert!(client.disk.ops(room(MAIN)).next().is_none(), "nothing is stored: {frame:.100}");
    }
    let mut client = Client::new();
    assert_eq!(said(&client.input(Input::ReceivedBinary(PeerId(1)))), ["err binary"]);
    let mut client = Client::unknown();
    assert_eq!(said(&client.say(&sub(0))), ["err hello", "close hello"]);
    let mut client = Client::unknown();
    let version = hello(9, limits::WINDOW_BYTES).replace("\"v\":1", "\"v\":9");
    assert_eq!(said(&client.say(&version)), ["err version", "close version"]);
    let mut client = Client::unknown();
    assert_eq!(said(&client.say(&hello(0, limits::WINDOW_BYTES))), ["close own-store"]);
}

#[test]
fn sixteen_strikes_end_a_connection() {
    let mut client = Client::new();
    for _ in 1..limits::STRIKES_MAX {
        assert_eq!(said(&client.say("x")), ["err json"]);
    }
    assert_eq!(said(&client.say("x")), ["err json", "close strikes"]);
    assert!(client.say("x").is_empty(), "after that nothing is heard");
}

#[test]
fn rooms_and_subscriptions_are_bounded() {
    let mut client = Client::new();
    let mut last = Vec::new();
    for number in 0..=limits::SUBSCRIPTIONS_MAX {
        let room = room(&format!("r{number}"));
        let cursor = Position::START;
        last = client.say(&Message::Sub { room, name: None, cursor }.encode());
    }
    assert_eq!(said(&last), ["err subscriptions"]);
    client.input(Input::PeerDown(PeerId(1)));
    assert_eq!(
        client.replica.rooms().count(),
        0,
        "a room nobody wrote to ends with its last member"
    );
}

#[test]
fn a_node_takes_no_part_in_rooms_it_did_not_join() {
    let mut net = Net::new(1);
    net.input(1, Input::PeerUp(PeerId(70)));
    for frame in [hello(9, limits::WINDOW_BYTES), sub(0)] {
        net.input(1, Input::Received(PeerId(70), frame.as_bytes().to_vec()));
    }
    let other = room("other");
    let sub = Message::Sub { room: other, name: None, cursor: Position::START }.encode();
    net.sent.clear();
    net.input(1, Input::Received(PeerId(70), sub.as_bytes().to_vec()));
    let answered: String = net.sent.iter().map(|frame| &**frame).collect();
    assert!(answered.contains("\"code\":\"room\""), "{answered}");
    assert!(net.nodes[1].replica.status(other).is_none());
}

#[test]
fn several_rooms_share_a_connection_and_stay_apart() {
    let mut net = Net::connected(2);
    let side = RoomName::parse("side").unwrap();
    for node in [1, 2] {
        net.input(node, Input::Command(Command::Join(side.clone())));
    }
    let entry = Canonical::parse(b"\"aside\"").unwrap();
    let append = Command::Append { room: side.id(), token: Token(5), entry };
    net.input(1, Input::Command(append));
    net.write(2, 1);
    net.settle();
    net.assert_converged(1);
    for node in 0..3 {
        assert_eq!(net.nodes[node].replica.status(side.id()).unwrap().entries, 1);
    }
}

#[test]
fn unknown_kinds_pass_through() {
    let mut net = Net::connected(2);
    let vote = Author::new(9).with(|head| head.kind = crate::head::Kind::parse("vote").unwrap());
    let mut admitted = Vec::new();
    let relayer = net.nodes[0].replica.rooms.get_mut(&room(MAIN)).unwrap();
    relayer.log.insert((Arc::new(vote.clone()), None), &mut admitted);
    let mut effects = Vec::new();
    relayer.admit(admitted, &mut effects);
    net.nodes[0].replica.dirty.insert(room(MAIN));
    net.input(0, Input::Flush);
    net.settle();
    for node in [1, 2] {
        assert_eq!(net.status(node).heads, [vote.id()], "node {node}");
        assert_eq!((net.status(node).ops, net.status(node).entries), (1, 0));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Cut(usize),
    Link(usize),
    Crash(usize),
    Deliver(usize),
    Wait,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4_usize).prop_map(Step::Write),
        2 => (1..4_usize).prop_map(Step::Cut),
        3 => (1..4_usize).prop_map(Step::Link),
        2 => (0..4_usize).prop_map(Step::Crash),
        8 => (1..20_usize).prop_map(Step::Deliver),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is cut, crashed and delayed: nothing durable is lost or doubled, nobody forks, and
    /// once all are connected all hold the same.
    #[test]
    fn all_converge_after_any_faults(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut net = Net::connected(3);
        let mut durable = 0_u64;
        for (number, step) in (0_u64..).zip(&steps) {
            match *step {
                Step::Write(node) => {
                    net.write(node, number);
                    durable += 1;
                }
                Step::Cut(node) => net.cut(node),
                Step::Link(node) => {
                    net.cut(node);
                    net.link(0, node);
                }
                Step::Crash(node) => net.crash(node),
                Step::Deliver(count) => (0..count).for_each(|_| { net.deliver(); }),
                Step::Wait => net.now = net.now.after(limits::HEADS_AFTER),
            }
        }
        for node in 1..4 {
            net.cut(node);
            net.link(0, node);
        }
        net.settle();
        net.assert_converged(durable);
        prop_assert_eq!(net.status(0).equivocations, 0);
        let mut log = String::new();
        for (_, _, op) in net.nodes[0].disk.ops(room(MAIN)) {
            write!(log, "{op}").unwrap();
        }
        for (number, step) in steps.iter().enumerate() {
            let times = log.matches(&format!("{{\"n\":{number}}}")).count();
            prop_assert_eq!(times, usize::from(matches!(step, Step::Write(_))));
        }
    }
}
