//! Which rooms a peer may ask for, how often, and what it gets.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Command, Effect, Input, Link, PeerId, Token};
use crate::fixtures::{Author, entry, id_of, room};
use crate::id::{Depth, Position, RoomId, RoomName};
use crate::json::Canonical;
use crate::limits;
use crate::message::{Frame, Message, encode_ops};
use crate::op::Op;
use crate::time::Timestamp;

#[test]
fn rooms_and_subscriptions_are_bounded() {
    let mut client = Client::new();
    let mut last = Vec::new();
    for number in 0..=limits::SUBSCRIPTIONS_MAX {
        let room = room(&format!("r{number}"));
        let cursor = Position::START;
        last = client.say(&Message::Sub { room, name: None, cursor: Some(cursor) }.encode());
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
fn asking_an_empty_room_for_ops_reads_nothing_from_disk() {
    let mut client = Client::new();
    client.say(&sub(0));
    let get = Message::Get { room: room(MAIN), ids: vec![id_of(1)] }.encode();
    let answer = client.say(&get);
    assert!(matches!(&answer[..], [Effect::Send(_, frame)] if frame.contains("\"missing\"")));
}

#[test]
fn one_connection_makes_only_so_many_rooms_and_an_empty_one_is_not_kept() {
    let mut client = Client::new();
    for number in 0..limits::SUBSCRIPTIONS_MAX + 10 {
        let name = format!("r{number}");
        let op = Author::new(1).with(|head| {
            head.room = room(&name);
            head.grant = *room(&name).as_bytes();
        });
        client.say(&encode_ops(room(&name), [&op], None, &[]));
    }
    assert_eq!(client.replica.rooms().count(), limits::SUBSCRIPTIONS_MAX);
    let mut client = Client::new();
    client.say(&sub(0));
    client.say(&encode_ops(room(MAIN), [], Position::new(7), &[]));
    assert!(client.disk.0.is_empty(), "nothing came, nothing is kept");
}

#[test]
fn asking_for_one_room_again_and_again_is_held_against_a_peer() {
    let mut client = Client::new();
    client.say(&ops(&[&entry(&Author::new(1), &[], "1")]));
    for _ in 0..limits::SUBS_PER_ROOM_MAX {
        let told = said(&client.say(&sub(0)));
        assert!(!told.contains(&"err sub".into()), "{told:?}");
    }
    assert!(said(&client.say(&sub(0))).contains(&"err sub".into()));
}

#[test]
fn every_ops_message_has_its_ack_even_if_the_room_is_not_joined() {
    let mut net = Net::new(1);
    net.input(1, Input::PeerUp(PeerId(70), Link::ACCEPTED));
    let say = |net: &mut Net, frame: &Frame| {
        net.input(1, Input::received(PeerId(70), frame.as_bytes()));
    };
    say(&mut net, &hello(9, limits::WINDOW_BYTES));
    net.sent.clear();
    let op = entry(&Author::new(1), &[], "1");
    say(&mut net, &encode_ops(room("other"), [&op], None, &[]));
    assert!(
        net.sent[0].contains("\"ack\"") && net.sent[0].contains("\"room\"}]"),
        "{:?}",
        net.sent
    );
}

#[test]
fn a_room_joined_after_a_peer_has_asked_for_it_is_exchanged_both_ways() {
    let mut net = Net::new(2);
    net.link(1, 2);
    net.settle();
    let name = RoomName::parse("side").unwrap();
    let side = name.id();
    for node in [1, 2] {
        net.input(node, Input::Command(Command::Join(name.clone())));
        let entry = Canonical::parse(b"1").unwrap();
        let append = Command::Append { room: side, token: Token(0), entry };
        net.input(node, Input::Command(append));
        net.input(node, Input::Flush);
        net.settle();
    }
    let held = [1, 2].map(|node| net.nodes[node].replica.status(side).unwrap());
    assert_eq!((held[0].entries, held[0].set), (2, held[1].set));
}

/// A room in which nothing was written may come and go among relayers as often as its readers do.
#[test]
fn an_empty_room_may_be_asked_for_as_often_as_one_likes() {
    let mut client = Client::new();
    for _ in 0..3 * limits::SUBS_PER_ROOM_MAX {
        assert!(!said(&client.say(&sub(0))).contains(&"err sub".into()));
    }
}

/// An op of a room, after one that nobody has.
fn orphan(room: RoomId) -> Op {
    Author::new(1).with(|head| {
        head.room = room;
        head.grant = *room.as_bytes();
        head.preds = [id_of(200)].into();
        head.depth = Depth::new(2).unwrap();
    })
}

#[test]
fn what_waits_in_a_room_without_ops_is_kept_though_whoever_brought_it_has_left() {
    let first = entry(&Author::new(1), &[], "1");
    let second = entry(&Author::new(2), &[&first], "2");
    let mut client = Client::new();
    assert_eq!(said(&client.say(&ops(&[&second]))), ["ack"]);
    client.input(Input::PeerDown(PeerId(1)));
    assert_eq!(client.replica.status(room(MAIN)).unwrap().parked, 1);
    client.peer = PeerId(2);
    client.input(Input::PeerUp(client.peer, Link::ACCEPTED));
    client.say(&hello(8, limits::WINDOW_BYTES));
    client.say(&ops(&[&first]));
    let status = client.replica.status(room(MAIN)).unwrap();
    assert_eq!((status.ops, status.parked), (2, 0));
}

#[test]
fn rooms_in_which_ops_only_wait_make_place_for_others_the_oldest_first() {
    let mut client = Client::new();
    for number in 0..limits::ROOMS_MAX {
        if number % limits::SUBSCRIPTIONS_MAX == 0 {
            client.input(Input::PeerDown(client.peer));
            client.peer = PeerId(2 + number as u64);
            client.input(Input::PeerUp(client.peer, Link::ACCEPTED));
            client.say(&hello(8, limits::WINDOW_BYTES));
        }
        let room = room(&format!("r{number}"));
        let frame = encode_ops(room, [&orphan(room)], None, &[]);
        let now = Timestamp::from_ms(i64::from(number > 0));
        assert_eq!(said(&client.say_at(now, &frame)), ["ack"]);
    }
    assert_eq!(client.replica.rooms().count(), limits::ROOMS_MAX);
    let before = client.replica.parked_bytes;
    client.input(Input::PeerDown(client.peer));
    client.peer = PeerId(1);
    client.input(Input::PeerUp(client.peer, Link::ACCEPTED));
    client.say(&hello(7, limits::WINDOW_BYTES));
    client.say(&ops(&[&entry(&Author::new(2), &[], "1")]));
    assert_eq!(client.replica.status(room(MAIN)).unwrap().ops, 1);
    assert_eq!(client.replica.rooms().count(), limits::ROOMS_MAX);
    assert!(client.replica.status(room("r0")).is_none(), "it had waited longest");
    assert!(client.replica.parked_bytes < before);
}
