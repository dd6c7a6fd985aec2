//! A stream that stands still while two compare: when it goes on, and from where.

use alloc::vec::Vec;

use super::client::{Client, hello, ops, question};
use crate::effect::{Effect, Input, Link, PeerId};
use crate::fixtures::{Author, entry, room};
use crate::id::{OpId, Position, SetDigest};
use crate::limits;
use crate::message::{Frame, Message, encode_ops};
use crate::op::Op;
use crate::order::set_digest;
use crate::time::{Span, Timestamp};

/// Who writes; not who compares.
const WRITER: PeerId = PeerId(2);

/// A client that asks for a room with one op, without a cursor: its stream stands still.
fn standing_still() -> (Client, Op) {
    let mut client = Client::new();
    client.input(Input::PeerUp(WRITER, Link::ACCEPTED));
    let first = entry(&Author::new(1), &[], "1");
    for frame in [hello(8, limits::WINDOW_BYTES), ops(&[&first])] {
        client.input(Input::received(WRITER, frame.as_bytes()));
    }
    let ask = Message::Sub { room: room("main"), name: None, cursor: None };
    assert!(!sends(&client.say(&ask.encode()), &first), "nobody knows what the client lacks");
    (client, first)
}

fn sends(effects: &[Effect], op: &Op) -> bool {
    let id = alloc::format!("\"id\":\"{}\"", op.id());
    effects.iter().any(|effect| {
        let sent = |frame: &Frame| frame.starts_with("{\"type\":\"ops\"") && frame.contains(&id);
        matches!(effect, Effect::Send(peer, frame) if *peer == PeerId(1) && sent(frame))
    })
}

fn after(span: Span) -> Timestamp {
    Timestamp::from_ms(0).after(span)
}

/// An op comes, both come to hold the same, and another op comes, all in one batch: the stream is
/// set forward to between the two, where nothing else would read on.
#[test]
fn an_op_that_comes_in_the_batch_in_which_two_come_to_agree_is_sent() {
    let (mut client, first) = standing_still();
    let second = entry(&Author::new(2), &[&first], "2");
    let third = entry(&Author::new(3), &[&second], "3");
    let heads: Vec<OpId> = [second.id()].into();
    let (set, cursor) = (set_digest(&heads), Position::new(2).unwrap());
    let heads = Message::Heads { room: room("main"), set, count: 2, heads, cursor }.encode();
    let mut effects = Vec::new();
    for (peer, frame) in [(WRITER, ops(&[&second])), (client.peer, heads), (WRITER, ops(&[&third]))]
    {
        let input = Input::received(peer, frame.as_bytes());
        effects.extend(client.replica.handle(after(Span::from_ms(0)), input));
    }
    effects.extend(client.replica.handle(after(Span::from_ms(0)), Input::Flush));
    let seen = client.carry_out(effects);
    assert!(sends(&seen, &third) && !sends(&seen, &first) && !sends(&seen, &second), "{seen:?}");
}

#[test]
fn who_lets_a_comparison_hang_is_sent_everything() {
    let (mut client, first) = standing_still();
    let soon = after(Span::from_ms(limits::FILLING_MAX.as_ms() - 1));
    let effects = client.replica.handle(soon, Input::Flush);
    assert!(!sends(&client.carry_out(effects), &first));
    let effects = client.replica.handle(after(limits::FILLING_MAX), Input::Flush);
    assert!(sends(&client.carry_out(effects), &first));
}

/// A comparison may take longer than a peer may be silent.
#[test]
fn a_comparison_that_goes_on_is_not_given_up() {
    // An infinite range with no ids: a question.
    let frame = alloc::vec![0x61, 0, 0, 2, 0];
    let question =
        Message::Reconcile { room: room("main"), answer: false, number: 1, frame }.encode();
    let moved = encode_ops(room("main"), [], None, &[]);
    for goes_on in [question, moved] {
        let (mut client, first) = standing_still();
        client.say_at(after(Span::from_ms(limits::FILLING_MAX.as_ms() - 1)), &goes_on);
        let effects = client.replica.handle(after(limits::FILLING_MAX), Input::Flush);
        assert!(!sends(&client.carry_out(effects), &first), "{goes_on}");
        let late = after(limits::FILLING_MAX).after(limits::FILLING_MAX);
        let effects = client.replica.handle(late, Input::Flush);
        assert!(sends(&client.carry_out(effects), &first), "{goes_on}");
    }
}

fn get(op: &Op) -> Frame {
    Message::Get { room: room("main"), ids: [op.id()].into() }.encode()
}

/// Announces a set that is smaller than what the replica holds, of ops that nobody has seen.
fn smaller(number: u8) -> Frame {
    let (set, heads, cursor) = (SetDigest::from_bytes([number; 32]), Vec::new(), Position::START);
    Message::Heads { room: room("main"), set, count: 1, heads, cursor }.encode()
}

/// The replica holds two ops, so it is the one that compares.
fn holding_two() -> Client {
    let (mut client, first) = standing_still();
    let second = ops(&[&entry(&Author::new(2), &[&first], "2")]);
    client.input(Input::received(WRITER, second.as_bytes()));
    client
}

/// A peer that fetches ops one by one has always one that it has not acknowledged.
#[test]
fn what_a_peer_asks_for_meanwhile_keeps_no_comparison_from_ending() {
    let mut client = holding_two();
    let first = entry(&Author::new(1), &[], "1");
    let asked = client.say(&smaller(1));
    let asked = asked.iter().find_map(|effect| match effect {
        Effect::Send(_, frame) => question(frame),
        _ => None,
    });
    // Of all ops none are here.
    let frame = alloc::vec![0x61, 0, 0, 2, 0];
    let number = asked.unwrap();
    let answer = Message::Reconcile { room: room("main"), answer: true, number, frame };
    assert!(sends(&client.say(&answer.encode()), &first), "what it lacks is sent");
    assert!(sends(&client.say(&get(&first)), &first));
    let ack = Message::Ack { room: room("main"), stored: 2, except: Vec::new() }.encode();
    let effects = client.say(&ack);
    let settled = |effect: &Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with("{\"type\":\"settled\""));
    assert!(effects.iter().any(settled), "{effects:?}");
}

#[test]
fn who_asks_for_ops_all_the_time_is_compared_with_all_the_same() {
    let compares = |effects: &[Effect]| {
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Send(_, frame) if question(frame).is_some()))
    };
    let first = entry(&Author::new(1), &[], "1");
    let mut client = holding_two();
    assert!(sends(&client.say(&get(&first)), &first));
    assert!(compares(&client.say(&smaller(1))), "though it has not acknowledged what it asked for");
    // What waits to be sent to it may be all it lacks, but not for ever.
    let mut client = holding_two();
    for _ in 0..limits::UNACKED_MAX {
        client.say(&get(&first));
    }
    assert!(!sends(&client.say(&get(&first)), &first), "it does not listen");
    assert!(!compares(&client.say(&smaller(1))));
    assert!(compares(&client.say_at(after(limits::FILLING_MAX), &smaller(2))));
}
