//! Comparisons and streams of a peer that takes nothing, or takes something again.

use alloc::format;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Effect, Input, Link, PeerId};
use crate::exchange::{Exchange, Stage};
use crate::fixtures::{Author, entry, room};
use crate::id::{Position, StoreId};
use crate::intake::Intake;
use crate::limits;
use crate::log::Log;
use crate::message::{Message, Received};
use crate::op::Op;
use crate::order::set_digest;
use crate::reconcile::Items;
use crate::session::{Channel, channel};
use crate::time::Timestamp;

/// What a peer that holds these ops says to a comparison.
fn answer(ops: &[&Op], question: &Message) -> Option<Message> {
    let Message::Reconcile { room, answer: false, number, frame } = question else { return None };
    let mut log = Log::new(*room, 0);
    for op in ops {
        log.receive((*op).clone().unproven(), StoreId::from_bytes([9; 32]), &mut Vec::new());
    }
    let mut items = Items::default();
    items.update(log.graph());
    let frame = items.answer(frame)?;
    Some(Message::Reconcile { room: *room, answer: true, number: *number, frame })
}

fn message(effect: &Effect) -> Option<Message> {
    let Effect::Send(_, frame) = effect else { return None };
    match Received::decode(frame.as_bytes()) {
        Ok(Received::Message(message)) => Some(message),
        _ => None,
    }
}

/// A relayer with two ops and a peer with another one and no cursor, up to the answer to the
/// question of their comparison.
fn compared(theirs: &Op) -> (Client, Message) {
    let mut client = Client::new();
    let here = [1, 2].map(|author| entry(&Author::new(author), &[], "1"));
    client.as_another(5, Link::ACCEPTED);
    client.say(&ops(&[&here[0], &here[1]]));
    client.peer = PeerId(1);
    client.say(&Message::Sub { room: room(MAIN), name: None, cursor: None }.encode());
    let (heads, cursor) = (alloc::vec![theirs.id()], Position::new(1).unwrap());
    let set = set_digest(&heads);
    let said =
        client.say(&Message::Heads { room: room(MAIN), set, count: 1, heads, cursor }.encode());
    let answer = said.iter().filter_map(message).find_map(|said| answer(&[theirs], &said));
    (client, answer.expect("whoever holds more begins"))
}

fn says(effects: &[Effect], kind: &str) -> bool {
    let kind = format!("{{\"type\":\"{kind}\"");
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with(&kind)))
}

#[test]
fn a_comparison_that_left_something_out_does_not_settle_though_there_is_room_again() {
    let theirs = entry(&Author::new(3), &[], "3");
    let (mut client, answer) = compared(&theirs);
    let channel = channel_of(&mut client);
    // As after a first answer that came while nothing was taken.
    let Some(Exchange { stage: Stage::Comparing { refused, .. }, .. }) = &mut channel.exchange
    else {
        panic!("{:?}", channel.exchange)
    };
    *refused = true;
    let mut moved = client.say(&answer.encode());
    assert!(says(&moved, "ops") && !says(&moved, "get"));
    let ack = Message::Ack { room: room(MAIN), stored: 2, except: Vec::new() };
    moved.extend(client.say(&ack.encode()));
    assert!(!says(&moved, "settled"), "{moved:?}");
    let channel = channel_of(&mut client);
    assert!(channel.outgoing.as_ref().is_some_and(|outgoing| outgoing.filling.is_none()));
}

fn channel_of(client: &mut Client) -> &mut Channel {
    channel(&mut client.replica.sessions, client.peer, room(MAIN)).unwrap()
}

#[test]
fn a_comparison_does_not_wait_for_what_is_put_off_when_it_comes() {
    let theirs = entry(&Author::new(3), &[], "3");
    let (mut client, answer) = compared(&theirs);
    let moved = client.say(&answer.encode());
    assert!(says(&moved, "ops") && says(&moved, "get"));
    client.input(Input::Intake(Intake { disk_full: true, ..Intake::default() }));
    client.say(&ops(&[&theirs]));
    let ack = Message::Ack { room: room(MAIN), stored: 2, except: Vec::new() };
    let ended = client.say(&ack.encode());
    assert!(!says(&ended, "settled"), "{ended:?}");
    let channel = channel_of(&mut client);
    assert!(channel.exchange.is_none());
    assert!(channel.outgoing.as_ref().is_some_and(|outgoing| outgoing.filling.is_none()));
}

#[test]
fn what_is_acknowledged_of_a_stream_says_nothing_of_the_one_that_took_its_place() {
    let mut client = Client::new();
    client.as_another(5, Link::ACCEPTED);
    client.say(&ops(&[&entry(&Author::new(1), &[], "1")]));
    client.peer = PeerId(1);
    assert!(says(&client.say(&sub(0)), "ops"));
    assert!(says(&client.say(&sub(0)), "ops"));
    let ack = Message::Ack { room: room(MAIN), stored: 1, except: Vec::new() }.encode();
    let later = ack.replace(
        "\"except\":[]",
        "\"except\":[{\"index\":0,\"verdict\":\"later\",\"code\":\"disk\"}]",
    );
    client.say(&ack);
    client.say(&later);
    let later = Timestamp::from_ms(0).after(limits::PUT_OFF_WAIT);
    let flushed = client.replica.handle(later, Input::Flush);
    assert!(says(&client.carry_out(flushed), "ops"), "it is sent once more");
}
