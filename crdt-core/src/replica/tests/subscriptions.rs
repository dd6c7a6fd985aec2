//! Which rooms a peer may ask for, how often, and what it gets.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use crate::effect::{Command, Effect, Input, Link, PeerId, Token};
use crate::fixtures::{Author, entry, id_of, room};
use crate::id::{Position, RoomName};
use crate::json::Canonical;
use crate::limits;
use crate::message::{Frame, Message, encode_ops};

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
        net.input(1, Input::Received(PeerId(70), frame.as_bytes().to_vec()));
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
