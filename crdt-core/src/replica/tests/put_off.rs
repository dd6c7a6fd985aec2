//! Ops that are not taken though nothing is wrong with them: nobody is blamed, nothing is lost.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Command, Effect, Event, Input, Record, Token};
use crate::fixtures::{Author, entry, room};
use crate::id::{Position, RoomName};
use crate::intake::{Intake, Shortage};
use crate::json::Canonical;
use crate::limits;
use crate::message::{Message, encode_ops};
use crate::op::Op;
use crate::order::set_digest;
use crate::standing::Standing;
use crate::time::{Span, Timestamp};

fn full() -> Intake {
    Intake { disk_full: true, ..Intake::default() }
}

fn intake(net: &mut Net, intake: Intake) {
    net.input(0, Input::Intake(intake));
}

/// Ops that the relayer put off, for each time.
fn put_off(net: &Net, shortage: Shortage) -> Vec<u64> {
    let ops = |event: &Event| match event {
        Event::PutOff { shortage: lacking, ops, .. } if *lacking == shortage => Some(*ops),
        _ => None,
    };
    net.nodes[0].events.iter().filter_map(ops).collect()
}

fn problems(net: &Net, node: usize) -> Vec<&str> {
    let events = net.nodes[node].events.iter();
    let codes = events.filter_map(|event| match event {
        Event::PeerProblem { code, .. } => Some(code.as_str()),
        _ => None,
    });
    codes.collect()
}

#[test]
fn what_a_full_disk_puts_off_stays_unsent_and_comes_when_there_is_room_again() {
    let mut net = Net::connected(2);
    net.write(1, 0);
    net.settle();
    intake(&mut net, full());
    for number in 1..=300 {
        net.write(1, number);
        net.write(2, 1_000 + number);
    }
    net.settle();
    assert_eq!((net.status(0).ops, net.unsent(1), net.unsent(2)), (1, 300, 300));
    assert_eq!((problems(&net, 1), problems(&net, 2)), (alloc::vec!["disk"], alloc::vec!["disk"]));
    assert!(put_off(&net, Shortage::Disk).len() > 2, "it was tried again");
    let blamed = net.nodes[0].events.iter().any(|event| matches!(event, Event::Blamed { .. }));
    assert!(!blamed, "nobody did anything wrong");

    intake(&mut net, Intake::default());
    net.settle();
    net.assert_converged(601);
}

/// A relayer with 300 ops of a node, and another node that is not connected and has nothing.
fn with_a_newcomer() -> Net {
    let mut net = Net::connected(2);
    for number in 0..300 {
        net.write(1, number);
    }
    net.settle();
    net.begin_anew(2);
    net
}

#[test]
fn what_is_there_is_read_while_nothing_is_taken() {
    let mut net = with_a_newcomer();
    intake(&mut net, full());
    net.link(0, 2);
    net.settle();
    net.assert_converged(300);
}

#[test]
fn who_has_ops_that_are_put_off_and_no_cursor_reads_what_is_there_within_seconds() {
    let mut net = with_a_newcomer();
    for number in 1_000..1_020 {
        net.write(2, number);
    }
    intake(&mut net, full());
    net.sent.clear();
    net.link(0, 2);
    net.pass(8, |_| ());
    assert_eq!(net.status(2).ops, 320);
    let compared = net.sent.iter().filter(|frame| frame.contains("\"reconcile\"")).count();
    assert!(compared <= 8, "{compared} messages of comparisons");
    net.pass(120, |_| ());
    let standings = net.nodes[0].replica.peers(net.now);
    let standings = standings.iter().flat_map(|peer| &peer.rooms).map(|room| room.standing);
    let blamed = |standing| matches!(standing, Standing::Lagging | Standing::Withholding { .. });
    assert_eq!(standings.filter(|standing| blamed(*standing)).count(), 0, "it is not their fault");
    intake(&mut net, Intake::default());
    net.settle();
    net.assert_converged(320);
}

#[test]
fn a_peer_that_takes_nothing_is_tried_ever_more_rarely() {
    let mut net = Net::connected(1);
    intake(&mut net, full());
    for number in 0..2_000 {
        net.write(1, number);
    }
    net.quiet();
    net.sent.clear();
    // An hour, a second at a time.
    for _ in 0..3_600 {
        net.now = net.now.after(Span::from_ms(1_000));
        for node in 0..2 {
            net.input(node, Input::Flush);
        }
        net.quiet();
    }
    let ops = net.sent.iter().filter(|frame| frame.contains("\"type\":\"ops\"")).count();
    // What the credit allows is under way when the first is put off: some messages each time.
    assert!((60..70 * 16).contains(&ops), "{ops} messages with ops in an hour");
    intake(&mut net, Intake::default());
    net.settle();
    net.assert_converged(2_000);
}

#[test]
fn a_room_at_its_limit_puts_ops_off_and_others_go_on() {
    let mut net = Net::connected(2);
    let other = RoomName::parse("other").unwrap();
    for node in 1..=2 {
        net.input(node, Input::Command(Command::Join(other.clone())));
    }
    net.settle();
    let limit = Intake { room_bytes_max: Some(10_000), ..Intake::default() };
    intake(&mut net, limit);
    for number in 0..50 {
        net.write(1, number);
        net.quiet();
    }
    net.settle();
    let kept = net.status(0).ops;
    // Each op is counted with some 900 bytes; the last one may go beyond the limit.
    assert_eq!((kept, net.unsent(1)), (11, 39));
    assert_eq!(problems(&net, 1), ["quota"]);
    let entry = Canonical::parse(b"1").unwrap();
    net.input(2, Input::Command(Command::Append { room: other.id(), token: Token(9), entry }));
    net.settle();
    assert_eq!(net.nodes[1].replica.status(other.id()).unwrap().ops, 1);
    assert_eq!(net.status(2).ops, 11, "what was taken is read");
    intake(&mut net, Intake::default());
    net.settle();
    net.assert_converged(50);
}

#[test]
fn a_room_is_as_large_after_a_restart_as_before() {
    let mut net = Net::connected(1);
    for number in 0..50 {
        net.write(1, number);
        net.quiet();
    }
    net.settle();
    net.crash(0);
    intake(&mut net, Intake { room_bytes_max: Some(10_000), ..Intake::default() });
    net.write(1, 99);
    net.link(0, 1);
    net.settle();
    assert_eq!((net.status(0).ops, net.unsent(1)), (50, 1));
}

#[test]
fn what_is_put_off_is_told_once_and_known_ops_are_acknowledged_as_ever() {
    let mut client = Client::new();
    let (first, second) = (entry(&Author::new(1), &[], "1"), entry(&Author::new(2), &[], "2"));
    client.say(&ops(&[&first]));
    client.input(Input::Intake(full()));
    let both = client.say(&ops(&[&first, &second]));
    assert_eq!(said(&both), ["ack disk", "err disk"]);
    let told = |effects: &[Effect], text: &str| {
        effects.iter().any(|e| matches!(e, Effect::Send(_, frame) if frame.contains(text)))
    };
    assert!(told(&both, r#""stored":1,"except":[{"index":1,"verdict":"later","code":"disk"}]"#));
    for _ in 0..2 * limits::STRIKES_MAX {
        assert_eq!(said(&client.say(&ops(&[&second]))), ["ack disk"]);
    }
    client.input(Input::Intake(Intake::default()));
    assert_eq!(said(&client.say(&ops(&[&second]))), ["ack"]);
    client.input(Input::Intake(full()));
    let third = entry(&Author::new(3), &[], "3");
    assert_eq!(said(&client.say(&ops(&[&third]))), ["ack disk", "err disk"], "told anew");
}

#[test]
fn what_was_asked_for_is_not_owed_and_not_asked_for_again_while_nothing_is_taken() {
    let mut client = Client::new();
    client.say(&sub(0));
    let (room, set) = (room(MAIN), crate::id::SetDigest::from_bytes([1; 32]));
    let cursor = Position::new(2).unwrap();
    let heads = alloc::vec![crate::fixtures::id_of(1)];
    let asked = client.say(&Message::Heads { room, set, count: 2, heads, cursor }.encode());
    let gets = |effects: &[Effect]| {
        let get = |effect: &&Effect| matches!(effect, Effect::Send(_, frame) if frame.contains("\"get\""));
        effects.iter().filter(get).count()
    };
    assert_eq!(gets(&asked), 1);
    client.input(Input::Intake(full()));
    client.say(&ops(&[&entry(&Author::new(1), &[], "1")]));
    let mut now = Timestamp::from_ms(0);
    for _ in 0..40 {
        now = now.after(Span::from_ms(1_000));
        assert_eq!(gets(&client.replica.handle(now, Input::Flush)), 0);
    }
    let peers = client.replica.peers(now);
    assert!(!matches!(peers[0].rooms[0].standing, Standing::Withholding { .. }), "{peers:?}");
}

#[test]
fn who_lacks_room_however_often_is_not_left_and_its_user_is_told_so_often_only() {
    let mut client = Client::new();
    let err = |code: &str| Message::Err { code: code.into(), message: "later".into() }.encode();
    let mut told = 0;
    for _ in 0..100 {
        for code in ["disk", "quota", "rate"] {
            let effects = client.say(&err(code));
            let problem =
                |effect: &&Effect| matches!(effect, Effect::Notify(Event::PeerProblem { .. }));
            told += effects.iter().filter(problem).count();
            assert_eq!(said(&effects), [""; 0]);
        }
    }
    assert_eq!(told, limits::STRIKES_MAX as usize);
    // What it is told itself does not count against it, and what is another problem counts from
    // here.
    for _ in 0..100 {
        assert_eq!(said(&client.say(r#"{"type":"of tomorrow"}"#)), ["err unknown"]);
    }
    for _ in 0..limits::STRIKES_MAX {
        assert_eq!(said(&client.say(&err("sig"))), [""; 0]);
    }
    assert_eq!(said(&client.say(&err("sig"))), ["close strikes"]);
}

#[test]
fn a_cursor_is_not_taken_of_ops_that_were_put_off() {
    let mut client = Client::new();
    client.say(&ops(&[&entry(&Author::new(1), &[], "1")]));
    client.say(&sub(0));
    let records = client.disk.0.len();
    client.input(Input::Intake(full()));
    let second = entry(&Author::new(2), &[], "2");
    client.say(&encode_ops(room(MAIN), [&second], Position::new(7), &[]));
    assert_eq!(client.disk.0.len(), records, "nothing is written while the disk is full");
}

/// What comes after it may be taken, and if the connection ends then it must be streamed again.
#[test]
fn no_cursor_is_taken_beyond_what_was_put_off() {
    let mut client = Client::new();
    let first = entry(&Author::new(1), &[], "1");
    client.say(&ops(&[&first]));
    client.say(&sub(0));
    let heads = |ops: &[&Op], cursor: u64| {
        let mut heads: Vec<_> = ops.iter().map(|op| op.id()).collect();
        heads.sort_unstable();
        let (set, count) = (set_digest(&heads), ops.len() as u64);
        let cursor = Position::new(cursor).unwrap();
        Message::Heads { room: room(MAIN), set, count, heads, cursor }.encode()
    };
    let taken = |client: &Client| {
        let is_cursor = |record: &&Record| matches!(record, Record::Pulled { .. });
        client.disk.0.iter().filter(is_cursor).count()
    };
    client.say(&heads(&[&first], 5));
    assert_eq!(taken(&client), 1);
    client.input(Input::Intake(full()));
    let second = entry(&Author::new(2), &[], "2");
    client.say(&encode_ops(room(MAIN), [&second], Position::new(6), &[]));
    client.input(Input::Intake(Intake::default()));
    let third = entry(&Author::new(3), &[], "3");
    client.say(&encode_ops(room(MAIN), [&third], Position::new(7), &[]));
    assert_eq!(taken(&client), 1);
    // It comes again, and both hold the same.
    client.say(&encode_ops(room(MAIN), [&second], Position::new(6), &[]));
    assert_eq!(taken(&client), 1);
    client.say(&heads(&[&first, &second, &third], 7));
    assert_eq!(taken(&client), 2);
}

#[test]
fn who_asked_for_a_room_that_was_not_made_gets_it_when_it_may_be() {
    let mut client = Client::new();
    let none = Intake { rooms: Some(BTreeSet::new()), ..Intake::default() };
    client.input(Input::Intake(none));
    assert_eq!(said(&client.say(&sub(0))), ["err room"]);
    let effects = client.input(Input::Intake(Intake::default()));
    let subscribes = |effect: &Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with("{\"type\":\"sub\""));
    assert!(effects.iter().any(subscribes), "{effects:?}");
    // And when somebody else makes it.
    let mut client = Client::new();
    let full = Intake { rooms_max: 0, ..Intake::default() };
    client.input(Input::Intake(full));
    assert_eq!(said(&client.say(&sub(0))), ["err room"]);
    let effects = client.input(Input::Intake(Intake { rooms_max: 1, ..Intake::default() }));
    assert!(effects.iter().any(subscribes), "{effects:?}");
}

#[test]
fn nothing_is_asked_for_that_would_be_put_off() {
    let mut client = Client::new();
    client.say(&sub(0));
    client.input(Input::Intake(full()));
    let heads = |number: u8| {
        let cursor = Position::new(2).unwrap();
        let (room, set) = (room(MAIN), crate::id::SetDigest::from_bytes([number; 32]));
        let heads = alloc::vec![crate::fixtures::id_of(number)];
        Message::Heads { room, set, count: 2, heads, cursor }.encode()
    };
    let asks = |effects: &[Effect]| {
        let asks = |frame: &str| {
            ["get", "reconcile"]
                .map(|kind| format!("\"type\":\"{kind}\""))
                .iter()
                .any(|kind| frame.contains(kind))
        };
        effects.iter().any(|effect| matches!(effect, Effect::Send(_, frame) if asks(frame)))
    };
    for number in 1..4 {
        assert!(!asks(&client.say(&heads(number))));
    }
    client.input(Input::Intake(Intake::default()));
    assert!(asks(&client.say(&heads(4))));
}
