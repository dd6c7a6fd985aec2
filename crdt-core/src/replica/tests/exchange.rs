//! Two replicas that hold nearly the same and have no cursor of each other's store: what they say
//! until both hold all of it, in bytes and rounds.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::net::{Disk, Net, Node, hello};
use crate::effect::{Command, Effect, Input, Link, PeerId, Record};
use crate::fixtures::{Author, entry, room};
use crate::id::{OpId, Position, RoomName, SetDigest, StoreId};
use crate::limits;
use crate::message::{Message, Received, encode_ops};
use crate::op::Op;
use crate::time::Timestamp;

fn disk_with<'o>(ops: impl IntoIterator<Item = &'o Arc<Op>>) -> Disk {
    let name = RoomName::parse("main").ok();
    let mut records = alloc::vec![Record::Room { id: room("main"), name }];
    for (index, op) in ops.into_iter().enumerate() {
        let position = Position::of_len(index + 1);
        // From a store that neither of the two is.
        let source = Some(StoreId::from_bytes([77; 32]));
        records.push(Record::Op { position, source, op: Arc::clone(op) });
    }
    Disk(records)
}

/// One author's chain of `length` ops and `loose` ops by others, scattered over its depth, on which
/// nothing depends.
fn history(length: usize, loose: usize) -> Vec<Arc<Op>> {
    let author = Author::new(9);
    let mut ops: Vec<Arc<Op>> = alloc::vec![Arc::new(entry(&author, &[], "0"))];
    let mut last = Arc::clone(&ops[0]);
    for number in 1..length {
        last = Arc::new(author.after(&last, &[], "1"));
        ops.push(Arc::clone(&last));
        let every = length / loose.max(1);
        if loose > 0 && number % every == every - 1 {
            let other = Author::new(u8::try_from(100 + number / every).unwrap());
            ops.push(Arc::new(entry(&other, &[&last], "2")));
        }
    }
    ops
}

fn is_loose(op: &Arc<Op>) -> bool {
    op.data() == "[2]"
}

fn bytes_of(ops: &[Arc<Op>]) -> usize {
    ops.iter().map(|op| alloc::string::ToString::to_string(&**op).len()).sum()
}

/// Joins a node that holds `ours` and one that holds `theirs` until neither says anything more.
fn meet(ours: Disk, theirs: Disk) -> Net {
    let mut net = Net::new(2);
    net.nodes[1] = Node::start(1, ours);
    net.nodes[2] = Node::start(2, theirs);
    (net.bytes, net.sent) = (0, Vec::new());
    net.link(1, 2);
    net.quiet();
    net
}

/// Bytes of messages of these types, and how many of the first.
fn said(net: &Net, kinds: &[&str]) -> (usize, usize) {
    let of = |kind: &str| {
        let start = alloc::format!("{{\"type\":\"{kind}\"");
        net.sent.iter().filter(move |frame| frame.starts_with(&start)).collect::<Vec<_>>()
    };
    let bytes = kinds.iter().flat_map(|kind| of(kind)).map(|frame| frame.len()).sum();
    (bytes, of(kinds[0]).len())
}

#[track_caller]
fn assert_same(net: &mut Net) {
    let (a, b) = (net.status(1), net.status(2));
    assert_eq!((a.set, a.ops, a.parked), (b.set, b.ops, b.parked));
    assert_eq!(
        net.nodes[1].replica.log_digest(room("main")),
        net.nodes[2].replica.log_digest(room("main"))
    );
}

#[test]
fn where_nothing_is_missing_less_than_a_kilobyte_is_said() {
    let ops = history(1_000, 0);
    let mut net = meet(disk_with(&ops), disk_with(&ops));
    assert_same(&mut net);
    let (bytes, subs) = said(&net, &["sub", "heads", "reconcile", "settled", "get", "ops"]);
    assert!(bytes <= 1_000 && subs == 2, "{bytes} bytes");
    net.settle();
    assert_eq!(said(&net, &["reconcile", "ops"]), (0, 0));
}

#[test]
fn a_hundred_scattered_ops_of_a_hundred_thousand_cost_little_more_than_themselves() {
    let ops = history(99_900, 100);
    assert_eq!(ops.iter().filter(|op| is_loose(op)).count(), 100);
    let lacking = || disk_with(ops.iter().filter(|op| !is_loose(op)));
    for swapped in [false, true] {
        let (ours, theirs) = (lacking(), disk_with(&ops));
        let mut net = if swapped { meet(theirs, ours) } else { meet(ours, theirs) };
        assert_same(&mut net);
        let (bytes, messages) = said(&net, &["reconcile"]);
        assert!((2..=12).contains(&messages), "{messages} messages are at most six rounds");
        assert!(bytes <= 200_000, "{bytes} bytes to find them");
        assert!(net.bytes <= 250_000, "{} bytes in all", net.bytes);
    }
}

#[test]
fn a_tail_costs_hardly_more_than_its_own_bytes() {
    let ops = history(12_000, 0);
    let tail = bytes_of(&ops[2_000..]);
    for swapped in [false, true] {
        let (ours, theirs) = (disk_with(&ops[..2_000]), disk_with(&ops));
        let mut net = if swapped { meet(theirs, ours) } else { meet(ours, theirs) };
        assert_same(&mut net);
        assert!(net.bytes <= tail + tail / 10, "{} bytes for {tail}", net.bytes);
    }
}

#[test]
fn a_newcomer_is_streamed_to() {
    let ops = history(1_000, 10);
    let mut net = meet(disk_with(&[]), disk_with(&ops));
    assert_same(&mut net);
    assert_eq!(said(&net, &["reconcile", "get"]), (0, 0));
}

#[test]
fn both_get_what_they_lack_and_go_on_from_there_with_cursors() {
    let ops = history(3_000, 30);
    let loose: Vec<&Arc<Op>> = ops.iter().filter(|op| is_loose(op)).collect();
    let without = |left_out: &[&Arc<Op>]| {
        disk_with(ops.iter().filter(|op| !left_out.iter().any(|out| out.id() == op.id())))
    };
    let mut net = meet(without(&loose[..15]), without(&loose[15..]));
    assert_same(&mut net);
    assert_eq!(net.status(1).ops, ops.len() as u64);
    // Both know now how far they pulled: the next time nothing is compared.
    net.settle();
    net.crash(1);
    (net.bytes, net.sent) = (0, Vec::new());
    net.write(2, 1);
    net.link(1, 2);
    net.quiet();
    assert_same(&mut net);
    assert_eq!(said(&net, &["reconcile"]), (0, 0));
    assert!(net.bytes < 8_000, "{} bytes", net.bytes);
}

/// What is written while two compare is neither lost nor acknowledged too early.
#[test]
fn writing_goes_on_while_two_compare() {
    let ops = history(2_000, 20);
    let mut net = Net::new(2);
    net.nodes[1] = Node::start(1, disk_with(&ops));
    net.nodes[2] = Node::start(2, disk_with(ops.iter().filter(|op| !is_loose(op))));
    net.link(1, 2);
    let mut number = 0;
    while net.deliver() {
        if number < 200 {
            number += 1;
            net.write(1 + usize::try_from(number % 2).unwrap(), number);
        }
    }
    net.settle();
    assert_same(&mut net);
    assert_eq!((net.unsent(1), net.unsent(2)), (0, 0));
    assert_eq!(net.status(1).entries, ops.len() as u64 + 200);
}

#[test]
fn a_store_that_lost_its_last_ops_gets_them_back_without_a_whole_stream() {
    let ops = history(2_000, 0);
    let mut net = meet(disk_with(&ops), disk_with(&ops));
    net.settle();
    net.cut(1);
    net.nodes[2] = Node::start(2, disk_with(&ops[..1_990]));
    (net.bytes, net.sent) = (0, Vec::new());
    net.link(1, 2);
    net.quiet();
    assert_same(&mut net);
    assert!(net.bytes < 30_000, "{} bytes", net.bytes);
}

/// What is too much to be moved at once is compared for again. While that goes well, a head that is
/// announced meanwhile is not asked for: with all it depends on it comes by itself.
#[test]
fn three_comparisons_that_move_much_are_not_taken_for_vain_ones() {
    let before = 500;
    let ops = history(2 * limits::SERVED_MAX + before + 5_000, 0);
    let mut net = Net::new(2);
    net.nodes[1] = Node::start(1, disk_with(&ops[..before]));
    net.nodes[2] = Node::start(2, disk_with(&ops));
    net.link(1, 2);
    let moved_twice = (2 * limits::SERVED_MAX + before) as u64;
    let mut written = false;
    while net.deliver() {
        if !written && net.status(1).ops > moved_twice {
            written = true;
            assert!(net.status(1).ops < ops.len() as u64, "the third is under way");
            net.write(1, 1);
            net.now = net.now.after(limits::HEADS_AFTER);
            net.input(1, Input::Flush);
        }
    }
    assert!(written);
    assert_same(&mut net);
    assert_eq!(net.status(1).ops, ops.len() as u64 + 1);
    assert_eq!(said(&net, &["get"]).1, 0, "requests for single ops");
}

/// Ids say nothing of what comes first, so a chain of which very much is lacking could only be asked for
/// with gaps. Here whoever holds more never begins.
#[test]
fn who_lacks_very_much_and_has_to_begin_itself_is_streamed_to() {
    let before = 500;
    let ops = history(limits::SERVED_MAX + before + 5_000, 0);
    let mut net = Net::new(2);
    net.nodes[1] = Node::start(1, disk_with(&ops[..before]));
    net.nodes[2] = Node::start(2, disk_with(&ops));
    net.link(1, 2);
    let question = |frame: &str| {
        let frame = Received::decode(frame.as_bytes());
        matches!(frame, Ok(Received::Message(Message::Reconcile { answer: false, .. })))
    };
    // Something is written there before this side's stream is given up as standing still.
    let waits = [limits::RECONCILE_WAIT, limits::HEADS_AFTER, limits::HEADS_EVERY];
    for wait in waits.into_iter().chain([limits::HEADS_EVERY; 6]) {
        while let Some((to, peer, frame)) = net.wire.pop_front() {
            let unheard =
                to == 1 && frame.starts_with("{\"type\":\"reconcile\"") && question(&frame);
            if !unheard {
                net.input(to, Input::Received(peer, frame.as_bytes().to_vec()));
            }
        }
        net.now = net.now.after(wait);
        if wait == limits::RECONCILE_WAIT {
            net.write(2, 1);
        }
        for node in [1, 2] {
            net.input(node, Input::Flush);
        }
    }
    assert!(said(&net, &["reconcile"]).1 > 1, "it has begun");
    assert_same(&mut net);
    let streamed = bytes_of(&ops);
    assert!(net.bytes < 2 * streamed, "{} bytes for {streamed}", net.bytes);
}

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
        let mut effects = replica.handle(now, Input::Received(liar, frame.as_bytes().to_vec()));
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
    let (mut asked, mut bytes) = (0, 0);
    for round in 0..200_i64 {
        let heads = Message::Heads {
            room: room("main"),
            set: SetDigest::from_bytes([u8::try_from(round % 250).unwrap(); 32]),
            count: 3,
            heads: Vec::new(),
            cursor: Position::new(3).unwrap(),
        };
        let mut said = say(round, &heads.encode());
        let answer =
            Message::Reconcile { room: room("main"), answer: true, frame: phantom.clone() };
        said.extend(say(round, &answer.encode()));
        let ask = Message::Reconcile {
            room: room("main"),
            answer: false,
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

/// Messages that are none of a comparison: one to be answered, and an answer while this side compares.
#[test]
fn what_is_no_message_of_a_comparison_is_a_strike() {
    for answer in [false, true] {
        let ops = history(3, 0);
        let Node { mut replica, .. } = Node::start(1, disk_with(&ops));
        let (now, peer) = (Timestamp::from_ms(0), PeerId(5));
        replica.handle(now, Input::PeerUp(peer, Link::ACCEPTED));
        let mut say = |frame: &str| {
            let mut effects = replica.handle(now, Input::Received(peer, frame.as_bytes().to_vec()));
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
        let malformed = Message::Reconcile { room, answer, frame: alloc::vec![9] };
        let told = super::net::said(&say(&malformed.encode()));
        assert_eq!(told, ["err reconcile"], "answer: {answer}");
    }
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
        let mut effects = replica.handle(now, Input::Received(liar, frame.as_bytes().to_vec()));
        effects.extend(replica.handle(now, Input::Flush));
        let asks = |effect: &Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with("{\"type\":\"reconcile\""));
        effects.iter().filter(|effect| asks(effect)).count()
    };
    say(&hello(66, limits::WINDOW_BYTES));
    // It claims to hold all, so nothing is on its way to it and nothing to be waited for.
    let cursor = Position::new(500);
    say(&Message::Sub { room: room("main"), name: None, cursor }.encode());
    // One infinite range with a fingerprint that fits nothing.
    let mut frame = alloc::vec![0x61, 0, 0, 1];
    frame.extend([7; 16]);
    let answer = Message::Reconcile { room: room("main"), answer: true, frame }.encode();
    let mut asked = 0;
    // All the same up to depth 1,000, and beyond it one id, which is said to be missing when it is
    // asked for: that looks like progress.
    let mut frame = alloc::vec![0x61, 0x87, 0x69, 0, 0, 0, 0, 2, 1];
    frame.extend([8; 32]);
    let listing = Message::Reconcile { room: room("main"), answer: true, frame }.encode();
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
            asked += say(&answer);
        }
        asked += say(&listing);
        asked += say(&denied);
    }
    assert_eq!(asked, 2 * limits::RECONCILE_ROUNDS_MAX as usize, "as many as are allowed");
}
