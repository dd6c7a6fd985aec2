//! Two replicas that hold nearly the same and have no cursor of each other's store: what they say
//! until both hold all of it, in bytes and rounds.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::client::question;
use super::net::{Disk, Net, Node};
use crate::effect::{Input, Record};
use crate::fixtures::{Author, entry, room};
use crate::id::{Position, RoomName, StoreId};
use crate::limits;
use crate::op::Op;

pub(super) fn disk_with<'o>(ops: impl IntoIterator<Item = &'o Arc<Op>>) -> Disk {
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
pub(super) fn history(length: usize, loose: usize) -> Vec<Arc<Op>> {
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

/// Ids say nothing of what comes first, so a chain of which very much is lacking could only be
/// asked for with gaps. Here whoever holds more never begins.
#[test]
fn who_lacks_very_much_and_has_to_begin_itself_is_streamed_to() {
    let before = 500;
    let ops = history(limits::SERVED_MAX + before + 5_000, 0);
    let mut net = Net::new(2);
    net.nodes[1] = Node::start(1, disk_with(&ops[..before]));
    net.nodes[2] = Node::start(2, disk_with(&ops));
    net.link(1, 2);
    // Something is written there before this side's stream is given up as standing still.
    let waits = [limits::RECONCILE_WAIT, limits::HEADS_AFTER, limits::HEADS_EVERY];
    for wait in waits.into_iter().chain([limits::HEADS_EVERY; 6]) {
        while let Some((to, peer, frame)) = net.wire.pop_front() {
            if to != 1 || question(&frame).is_none() {
                net.input(to, Input::received(peer, frame.as_bytes()));
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
