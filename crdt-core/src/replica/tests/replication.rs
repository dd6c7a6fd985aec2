//! What one writes, all hold.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Command, Effect, Event, Input, Link, Load, PeerId, SubmitError, Token};
use crate::fixtures::{Author, room};
use crate::id::{Position, RoomName, StoreId};
use crate::json::Canonical;
use crate::limits;
use crate::message::{Frame, Message};

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
    net.write(2, 10);
    net.quiet();
    // Somebody who learnt node 1's store id pretends that its ops were pulled already.
    let mut effects = Vec::new();
    let relayer = net.nodes[0].replica.rooms.get_mut(&room(MAIN)).unwrap();
    let all = Position::new(10).unwrap();
    relayer.set_pulled(StoreId::from_bytes([1; 32]), all, &mut effects);
    assert_eq!(effects.len(), 1);
    net.link(0, 1);
    net.settle();
    net.assert_converged(11);
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
fn asking_from_another_place_while_a_page_is_read_skips_nothing() {
    let mut net = Net::connected(1);
    for number in 0..600 {
        net.write(1, number);
    }
    net.quiet();
    let Node { replica, disk, .. } = &mut net.nodes[0];
    let now = net.now;
    let mut say = |input: Input| replica.handle(now, input);
    say(Input::PeerUp(PeerId(90), Link::ACCEPTED));
    let frame = |frame: Frame| Input::received(PeerId(90), frame.as_bytes());
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
fn a_node_takes_no_part_in_rooms_it_did_not_join() {
    let mut net = Net::new(1);
    net.input(1, Input::PeerUp(PeerId(70), Link::ACCEPTED));
    for frame in [hello(9, limits::WINDOW_BYTES), sub(0)] {
        net.input(1, Input::received(PeerId(70), frame.as_bytes()));
    }
    let other = room("other");
    let sub = Message::Sub { room: other, name: None, cursor: Some(Position::START) }.encode();
    net.sent.clear();
    net.input(1, Input::received(PeerId(70), sub.as_bytes()));
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
    relayer.admit(admitted, None, &mut effects);
    net.nodes[0].disk.0.extend(effects.into_iter().filter_map(|effect| match effect {
        Effect::Persist(record) => Some(record),
        _ => None,
    }));
    net.nodes[0].replica.dirty.insert(room(MAIN));
    net.input(0, Input::Flush);
    net.settle();
    for node in [1, 2] {
        assert_eq!(net.status(node).heads, [vote.id()], "node {node}");
        assert_eq!((net.status(node).ops, net.status(node).entries), (1, 0));
    }
}
