//! Floods: what each may take, that it takes no more, and that nothing honest is lost by it.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Command, Effect, Input, Link, PeerId, Token};
use crate::fixtures::{Author, entry, room};
use crate::id::{OpId, Position, RoomName, SetDigest, StoreId};
use crate::json::Canonical;
use crate::key::EachTime;
use crate::limits;
use crate::message::{Hello, Message};
use crate::op::Op;
use crate::replica::{Config, Replica, Rooms};
use crate::status::Bounds;
use crate::time::Timestamp;

/// A liar's connection to a replica.
const LIAR: PeerId = PeerId(1_000_000);

fn connect_liar(net: &mut Net, node: usize) {
    net.input(node, Input::PeerUp(LIAR, Link::ACCEPTED));
    net.input(node, Input::received(LIAR, hello(66, limits::WINDOW_BYTES).as_bytes()));
}

fn say(net: &mut Net, node: usize, frame: &str) {
    net.input(node, Input::received(LIAR, frame.as_bytes()));
}

fn bounds(net: &Net, node: usize) -> Bounds {
    net.status(node).bounds
}

fn heads(ids: Vec<OpId>) -> alloc::string::String {
    let set = SetDigest::from_bytes([9; 32]);
    let (count, cursor) = (ids.len() as u64, Position::START);
    Message::Heads { room: room(MAIN), set, count, heads: ids, cursor }.encode().to_string()
}

fn phantom(number: u64) -> OpId {
    let mut bytes = [0xee; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    OpId::from_bytes(bytes)
}

#[test]
fn a_chain_sent_backwards_parks_so_much_and_all_of_it_comes_in_the_end() {
    let mut net = Net::new(2);
    let total = 3_000;
    for number in 0..total {
        net.write(1, number);
    }
    let all: Vec<Op> = net.nodes[1].disk.ops(room(MAIN)).map(|(_, _, op)| (**op).clone()).collect();
    assert_eq!(all.len() as u64, total);

    net.link(0, 2);
    net.settle();
    connect_liar(&mut net, 0);
    let backwards: Vec<&Op> = all.iter().skip(1).rev().collect();
    for batch in backwards.chunks(limits::BATCH_OPS_MAX) {
        say(&mut net, 0, &ops(batch));
        assert!(net.status(0).parked <= limits::PARKED_PER_AUTHOR_MAX);
    }
    let status = net.status(0);
    assert_eq!((status.ops, status.parked), (0, limits::PARKED_PER_AUTHOR_MAX));
    let evicted = all.len() - 1 - limits::PARKED_PER_AUTHOR_MAX;
    assert_eq!(status.bounds.parked_evicted, evicted as u64);
    assert!(!status.missing.ops.is_empty() && status.missing.since.is_some());

    net.link(0, 1);
    net.settle();
    assert_eq!(net.status(0).parked, 0);
    assert_eq!(net.status(0).missing, crate::status::Missing::default());
    net.assert_converged(total);
}

#[test]
fn ops_whose_parent_never_comes_change_nothing_and_crowd_out_nobody() {
    let mut net = Net::connected(2);
    connect_liar(&mut net, 0);
    let liars: Vec<Author> = (100..110).map(Author::new).collect();
    for round in 0..25_u64 {
        let orphans: Vec<Op> = (0..250_u64)
            .map(|number| {
                let author = &liars[(number % 10) as usize];
                author.with_data(&format!("{round},{number}"), |head| {
                    head.preds = [phantom(1_000 * round + number)].into();
                    head.depth = crate::id::Depth::new(2).unwrap();
                })
            })
            .collect();
        say(&mut net, 0, &ops(&orphans.iter().collect::<Vec<_>>()));
        net.write(1, round);
    }
    let status = net.status(0);
    assert_eq!(status.parked, limits::PARKED_PER_SOURCE_MAX);
    assert_eq!(status.bounds.parked_evicted, 25 * 250 - limits::PARKED_PER_SOURCE_MAX as u64);
    assert!(status.bounds.parked_bytes <= limits::PARKED_BYTES_MAX);
    assert_eq!(status.bounds.wants, limits::WANTS_PER_PEER_MAX);
    assert!(status.bounds.wants_refused > 0);
    net.quiet();
    assert_eq!(net.status(0).entries, 25);
    assert_eq!(net.status(2).entries, 25, "honest ops all arrive");
}

#[test]
fn heads_that_nobody_has_are_given_up_and_do_not_keep_others_from_being_asked_for() {
    let mut net = Net::connected(1);
    connect_liar(&mut net, 0);
    say(&mut net, 0, &sub(0));
    for round in 0..8 {
        let ids = (0..1_000).map(|number| phantom(1_000 * round + number)).collect();
        say(&mut net, 0, &heads(ids));
    }
    assert_eq!(bounds(&net, 0).wants, limits::WANTS_PER_PEER_MAX);
    net.write(1, 1);
    net.quiet();
    assert_eq!(net.status(0).entries, 1);
    while net.nodes[0].replica.wake_at().is_some() && bounds(&net, 0).wants > 0 {
        net.now = net.nodes[0].replica.wake_at().unwrap().max(net.now);
        net.input(0, Input::Flush);
        net.quiet();
    }
    assert_eq!(bounds(&net, 0).wants_given_up, limits::WANTS_PER_PEER_MAX as u64);
    assert_eq!(net.status(0).missing.since, None);
}

#[test]
fn an_op_that_comes_again_is_looked_at_no_more() {
    let mut net = Net::connected(1);
    net.write(1, 1);
    net.quiet();
    let op = (**net.nodes[1].disk.ops(room(MAIN)).next().unwrap().2).clone();
    connect_liar(&mut net, 0);
    let (disk, sent) = (net.nodes[0].disk.0.len(), net.sent.len());
    for _ in 0..100 {
        say(&mut net, 0, &ops(&[&op; 200]));
    }
    assert_eq!(bounds(&net, 0).repeated, 20_000);
    assert_eq!(net.nodes[0].disk.0.len(), disk, "nothing is written");
    let others = net.sent.iter().skip(sent).filter(|frame| frame.contains("\"ops\""));
    assert_eq!(others.count(), 0, "nothing is passed on");
}

/// What a member is sent, in frames and bytes, while a liar says these ops.
fn passed_on(all: &[Op]) -> (usize, usize) {
    let mut net = Net::connected(1);
    connect_liar(&mut net, 0);
    let before = (net.sent.len(), net.bytes);
    for batch in all.chunks(100) {
        say(&mut net, 0, &ops(&batch.iter().collect::<Vec<_>>()));
        net.quiet();
    }
    net.settle();
    assert_eq!(net.status(1).ops, all.len() as u64);
    (net.sent.len() - before.0, net.bytes - before.1)
}

#[test]
fn a_flood_of_siblings_costs_no_more_than_as_many_honest_ops() {
    let root = |number: usize| format!("\"{number:06}\"");
    let authors: Vec<Author> = (0..200).map(Author::new).collect();
    // As many heads either way: only who signed them differs.
    let honest: Vec<Op> = (0..200).map(|n| entry(&authors[n], &[], &root(n))).collect();
    let liar = Author::new(250);
    let siblings: Vec<Op> = (0..200).map(|n| entry(&liar, &[], &root(n))).collect();
    let (frames, bytes) = passed_on(&honest);
    let (sibling_frames, sibling_bytes) = passed_on(&siblings);
    assert_eq!(sibling_frames, frames);
    assert!(sibling_bytes <= bytes + bytes / 100, "{sibling_bytes} against {bytes}");
}

#[test]
fn what_effects_are_left_of_a_flood_is_an_answer_a_batch() {
    let mut client = Client::new();
    let liar = Author::new(250);
    let siblings: Vec<Op> = (0..256).map(|n| entry(&liar, &[], &n.to_string())).collect();
    let effects = client.say(&ops(&siblings.iter().collect::<Vec<_>>()));
    let news = effects.iter().filter(|effect| {
        matches!(
            effect,
            Effect::Notify(crate::effect::Event::Admitted { equivocation: Some(_), .. })
        )
    });
    assert_eq!(news.count(), 1, "the fork is news once");
    assert_eq!(said(&effects), ["ack"]);
}

#[test]
fn acknowledgements_of_very_many_stores_crowd_out_no_later_one() {
    let key = Author::new(1);
    let author = key.id();
    let mut replica = Replica::new(Config {
        store: StoreId::from_bytes([1; 32]),
        agent: "test".into(),
        rooms: Rooms::Joined,
        key: Some(key.0),
        seed: [0; 32],
        allowed: None,
        signatures: Arc::new(EachTime),
    });
    let now = Timestamp::from_ms(0);
    let main = RoomName::parse(MAIN).unwrap();
    let id = main.id();
    replica.handle(now, Input::Command(Command::Join(main)));
    let write = |replica: &mut Replica| {
        let entry = Canonical::parse(b"1").unwrap();
        replica.handle(now, Input::Command(Command::Append { room: id, token: Token(0), entry }));
        replica.handle(now, Input::Flush);
    };
    // Each connection is another store, and claims to hold all there is.
    let claim = |replica: &mut Replica, number: u64, cursor: u64| {
        let mut store = [2; 32];
        store[..8].copy_from_slice(&number.to_be_bytes());
        let store = StoreId::from_bytes(store);
        let hello = Message::Hello(Hello::new("liar", store, limits::WINDOW_BYTES));
        replica.handle(now, Input::PeerUp(PeerId(number), Link::ACCEPTED));
        for frame in [hello.encode(), sub(cursor)] {
            replica.handle(now, Input::received(PeerId(number), frame.as_bytes()));
        }
        replica.handle(now, Input::PeerDown(PeerId(number)));
    };
    write(&mut replica);
    let stores = limits::MARKS_MAX as u64;
    for number in 0..stores {
        claim(&mut replica, number, 1);
    }
    write(&mut replica);
    assert_eq!(replica.unsent(id, author), 1);
    claim(&mut replica, stores, 2);
    assert_eq!(replica.unsent(id, author), 0);
}
