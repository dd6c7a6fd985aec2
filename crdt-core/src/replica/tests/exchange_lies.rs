//! Whom this replica compares with says what it likes, as often as it likes.

use alloc::vec::Vec;

use super::client::{Client, hello, question};
use super::exchange::{disk_with, history};
use super::net::Node;
use crate::effect::{Command, Effect, Input, Link, PeerId};
use crate::fixtures::{Author, entry, room};
use crate::id::{OpId, Position, RoomName, SetDigest};
use crate::limits;
use crate::message::{Message, encode_ops};
use crate::time::Timestamp;

/// A peer that answers comparisons with ids nobody has, for ever, gets a bounded number of messages
/// and keeps nothing from others.
#[test]
fn who_compares_without_end_or_names_ids_that_do_not_exist_is_not_followed() {
    let ops = history(500, 0);
    let Node { mut replica, .. } = Node::start(1, disk_with(&ops));
    replica.handle(
        Timestamp::from_ms(0),
        Input::Command(Command::Join(RoomName::parse("main").unwrap())),
    );
    let liar = PeerId(5);
    replica.handle(Timestamp::from_ms(0), Input::PeerUp(liar, Link::ACCEPTED));
    let mut say = |now: i64, frame: &str| {
        let now = Timestamp::from_ms(now);
        let mut effects = replica.handle(now, Input::received(liar, frame.as_bytes()));
        effects.extend(replica.handle(now, Input::Flush));
        let frames = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send(_, frame) => Some(frame),
            _ => None,
        });
        frames.collect::<Vec<_>>()
    };
    say(0, &hello(66, limits::WINDOW_BYTES));
    say(0, &Message::Sub { room: room("main"), name: None, cursor: None }.encode());
    // 0x61: version 1; an infinite bound; a list of 3,000 ids.
    let mut phantom = alloc::vec![0x61, 0, 0, 2, 0x97, 0x38];
    for number in 0..3_000_u32 {
        phantom.extend(number.to_be_bytes());
        phantom.extend([0xee; 28]);
    }
    let (mut asked, mut bytes, mut number) = (0, 0, 0);
    for round in 0..200_i64 {
        let heads = Message::Heads {
            room: room("main"),
            set: SetDigest::from_bytes([u8::try_from(round % 250).unwrap(); 32]),
            count: 3,
            heads: Vec::new(),
            cursor: Position::new(3).unwrap(),
        };
        let mut said = say(round, &heads.encode());
        number = said.iter().find_map(|frame| question(frame)).unwrap_or(number);
        let (main, frame) = (room("main"), phantom.clone());
        let answer = Message::Reconcile { room: main, answer: true, number, frame };
        said.extend(say(round, &answer.encode()));
        let ask = Message::Reconcile {
            room: room("main"),
            answer: false,
            number: 1,
            frame: alloc::vec![0x61, 0, 0, 2, 0],
        };
        said.extend(say(round, &ask.encode()));
        bytes += said.iter().map(|frame| frame.len()).sum::<usize>();
        asked += said.iter().filter(|frame| frame.starts_with("{\"type\":\"get\"")).count();
    }
    assert!(asked <= 5 * 12, "{asked} requests for ids that do not exist");
    assert!(bytes < 4_000_000, "{bytes} bytes");
    let status = replica.status(room("main")).unwrap();
    assert_eq!(status.ops, 500);
}

/// Messages that are none of a comparison: one to be answered, and an answer while this side
/// compares.
#[test]
fn what_is_no_message_of_a_comparison_is_a_strike() {
    for answer in [false, true] {
        let ops = history(3, 0);
        let Node { mut replica, .. } = Node::start(1, disk_with(&ops));
        let (now, peer) = (Timestamp::from_ms(0), PeerId(5));
        replica.handle(now, Input::PeerUp(peer, Link::ACCEPTED));
        let mut say = |frame: &str| {
            let mut effects = replica.handle(now, Input::received(peer, frame.as_bytes()));
            effects.extend(replica.handle(now, Input::Flush));
            effects
        };
        say(&hello(66, limits::WINDOW_BYTES));
        // It claims to hold all, so nothing is on its way to it.
        let cursor = Position::new(3);
        say(&Message::Sub { room: room("main"), name: None, cursor }.encode());
        let heads = Message::Heads {
            room: room("main"),
            set: SetDigest::from_bytes([7; 32]),
            count: 1,
            heads: Vec::new(),
            cursor: Position::START,
        };
        let asks = |effect: &Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with("{\"type\":\"reconcile\""));
        assert!(say(&heads.encode()).iter().any(asks), "it is compared with");
        let room = room("main");
        let malformed = Message::Reconcile { room, answer, number: 1, frame: alloc::vec![9] };
        let told = super::client::said(&say(&malformed.encode()));
        assert_eq!(told, ["err reconcile"], "answer: {answer}");
    }
}

/// An answer leaves out what earlier ones have found. It comes late, to a comparison that was given
/// up, while the next one waits for its first.
#[test]
fn an_answer_to_a_comparison_that_was_given_up_does_not_end_the_next() {
    let mut client = Client::new();
    let author = Author::new(1);
    let first = entry(&author, &[], "1");
    client.input(Input::PeerUp(PeerId(2), Link::ACCEPTED));
    let second = author.after(&first, &[], "2");
    let ops = encode_ops(room("main"), [&first, &second], None, &[]);
    for frame in [hello(8, limits::WINDOW_BYTES), ops] {
        client.input(Input::received(PeerId(2), frame.as_bytes()));
    }
    let cursor = Position::new(2);
    client.say(&Message::Sub { room: room("main"), name: None, cursor }.encode());
    let mut told = 0;
    let mut heads = |client: &mut Client| {
        told += 1;
        let (set, count) = (SetDigest::from_bytes([told; 32]), 1);
        let (heads, cursor) = (Vec::new(), Position::START);
        let effects =
            client.say(&Message::Heads { room: room("main"), set, count, heads, cursor }.encode());
        effects.iter().find_map(|effect| match effect {
            Effect::Send(_, frame) => question(frame),
            _ => None,
        })
    };
    let given_up = heads(&mut client).unwrap();
    // Nothing moves, so it begins anew.
    let begun = (0..3).find_map(|_| heads(&mut client)).unwrap();
    assert!(begun > given_up);
    // The first range is all the same, in the second there is one more id.
    let mut frame = alloc::vec![0x61, 0x87, 0x69, 0, 0, 0, 0, 2, 1];
    frame.extend([8; 32]);
    let mut gets = |number: u64| {
        let frame = frame.clone();
        let answer = Message::Reconcile { room: room("main"), answer: true, number, frame };
        let asks = |effect: &&Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with("{\"type\":\"get\""));
        client.say(&answer.encode()).iter().filter(asks).count()
    };
    assert_eq!((gets(given_up), gets(begun)), (0, 1));
}

/// Each answer costs the asker a pass over all its ids, so a peer that never lets it come to an end
/// is asked a bounded number of times.
#[test]
fn who_answers_that_all_differs_is_not_asked_without_end() {
    let ops = history(500, 0);
    let Node { mut replica, .. } = Node::start(1, disk_with(&ops));
    let liar = PeerId(5);
    let now = Timestamp::from_ms(0);
    let main = RoomName::parse("main").unwrap();
    replica.handle(now, Input::Command(Command::Join(main)));
    replica.handle(now, Input::PeerUp(liar, Link::ACCEPTED));
    let mut say = |frame: &str| {
        let mut effects = replica.handle(now, Input::received(liar, frame.as_bytes()));
        effects.extend(replica.handle(now, Input::Flush));
        let asks = |effect: &Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with("{\"type\":\"reconcile\""));
        effects.iter().filter(|effect| asks(effect)).count()
    };
    say(&hello(66, limits::WINDOW_BYTES));
    // It claims to hold all, so nothing is on its way to it and nothing to be waited for.
    let cursor = Position::new(500);
    say(&Message::Sub { room: room("main"), name: None, cursor }.encode());
    // One infinite range with a fingerprint that fits nothing.
    let mut differs = alloc::vec![0x61, 0, 0, 1];
    differs.extend([7; 16]);
    let answer = |number: usize, frame: &[u8]| {
        let (number, frame) = (number as u64, frame.to_vec());
        Message::Reconcile { room: room("main"), answer: true, number, frame }.encode()
    };
    let mut asked = 0;
    // All the same up to depth 1,000, and beyond it one id, which is said to be missing when it is
    // asked for: that looks like progress.
    let mut lists = alloc::vec![0x61, 0x87, 0x69, 0, 0, 0, 0, 2, 1];
    lists.extend([8; 32]);
    let denied = encode_ops(room("main"), [], None, &[OpId::from_bytes([8; 32])]);
    for (number, rounds) in (0..100_u8).zip([20, 0, 1, 7].into_iter().cycle()) {
        let heads = Message::Heads {
            room: room("main"),
            set: SetDigest::from_bytes([number; 32]),
            count: 1,
            heads: Vec::new(),
            cursor: Position::START,
        };
        asked += say(&heads.encode());
        for _ in 0..rounds {
            asked += say(&answer(asked, &differs));
        }
        asked += say(&answer(asked, &lists));
        asked += say(&denied);
    }
    assert_eq!(asked, 2 * limits::RECONCILE_ROUNDS_MAX as usize, "as many as are allowed");
}
