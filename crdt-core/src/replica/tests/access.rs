//! Who is let in and which rooms are made, while that may change.

use alloc::format;
use alloc::vec;

use super::client::*;
use super::net::*;
use crate::effect::{Command, Input, Link, PeerId};
use crate::fixtures::{Author, entry, room};
use crate::id::{Position, RoomName};
use crate::intake::Intake;
use crate::message::Message;

fn allow(authors: &[u8]) -> Intake {
    let allowed = authors.iter().map(|author| Author::new(*author).id()).collect();
    Intake { allowed: Some(allowed), ..Intake::default() }
}

/// Links a node, which dials, with the relayer.
fn dial(net: &mut Net, node: usize) {
    let ends = [(0, PeerId(net.next_peer)), (node, PeerId(net.next_peer + 1))];
    net.next_peer += 2;
    net.links.push(ends);
    for ((node, peer), link) in ends.into_iter().zip([Link::ACCEPTED, Link::DIALLED]) {
        net.input(node, Input::PeerUp(peer, link));
    }
}

#[test]
fn only_keys_on_the_list_come_in_and_who_is_taken_off_it_goes() {
    let mut net = Net::new(2);
    net.input(0, Input::Intake(allow(&[1])));
    for node in 1..=2 {
        dial(&mut net, node);
        net.write(node, node as u64);
    }
    net.settle();
    assert_eq!((net.status(0).ops, net.unsent(1), net.unsent(2)), (1, 0, 1));
    let let_in = |net: &Net| -> usize {
        let peers = net.nodes[0].replica.peers(net.now);
        peers.iter().filter(|peer| peer.author.is_some()).count()
    };
    assert_eq!(let_in(&net), 1);
    net.input(0, Input::Intake(allow(&[2])));
    assert_eq!(let_in(&net), 0);
    dial(&mut net, 2);
    net.settle();
    assert_eq!((net.status(0).ops, net.unsent(2)), (2, 0));
}

#[test]
fn who_is_in_without_a_key_goes_when_one_is_demanded() {
    let mut client = Client::new();
    let effects = client.input(Input::Intake(allow(&[1])));
    assert_eq!(said(&effects), ["err auth", "close auth"]);
    let mut client = Client::new();
    client.input(Input::PeerUp(PeerId(2), Link::BROUGHT));
    client.peer = PeerId(2);
    client.input(Input::Intake(allow(&[1])));
    client.say(&hello(5, crate::limits::WINDOW_BYTES));
    assert_eq!(said(&client.say(&ops(&[&entry(&Author::new(7), &[], "1")]))), ["ack"]);
}

#[test]
fn only_rooms_on_the_list_are_made_and_those_that_are_there_stay() {
    let mut client = Client::new();
    client.say(&ops(&[&entry(&Author::new(1), &[], "1")]));
    let listed = RoomName::parse("listed").unwrap();
    let rooms = Some([listed.id()].into());
    client.input(Input::Intake(Intake { rooms, ..Intake::default() }));
    let sub = |name: &str| {
        let cursor = Some(Position::START);
        Message::Sub { room: room(name), name: None, cursor }.encode()
    };
    assert_eq!(said(&client.say(&sub("other"))), ["err room"]);
    assert!(said(&client.say(&sub("listed"))).is_empty());
    assert_eq!(said(&client.say(&ops(&[&entry(&Author::new(2), &[], "2")]))), ["ack"]);
}

#[test]
fn rooms_in_all_and_of_a_connection_are_as_many_as_was_said() {
    let said_of = |intake: Intake| {
        let mut client = Client::new();
        client.input(Input::Intake(intake));
        let mut answers = vec![];
        for number in 0..4 {
            let (room, cursor) = (room(&format!("r{number}")), Some(Position::START));
            answers.extend(said(&client.say(&Message::Sub { room, name: None, cursor }.encode())));
        }
        answers
    };
    let few = said_of(Intake { subscriptions_max: 3, ..Intake::default() });
    assert_eq!(few, ["err subscriptions"]);
    let few = said_of(Intake { rooms_max: 2, ..Intake::default() });
    assert_eq!(few, ["err room", "err room"]);
    let many = Intake { rooms_max: usize::MAX, subscriptions_max: usize::MAX, ..Intake::default() };
    assert!(said_of(many).is_empty());
    let mut net = Net::new(1);
    net.input(1, Input::Command(Command::Join(RoomName::parse("more").unwrap())));
    assert_eq!(net.nodes[1].replica.rooms().count(), 2, "what a user joins is not limited by it");
}
