//! The own chain: restored copies, copied keys, forks that happened all the same.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::net::{Disk, MAIN, Net, Node};
use crate::effect::{Event, Input, Link};
use crate::evidence::Equivocation;
use crate::fixtures::room;
use crate::id::StoreId;
use crate::limits;
use crate::own::Signed;

const FRESH: StoreId = StoreId::from_bytes([200; 32]);

/// Replaces a node by a copy of its disk as it was. Returns whether the copy doubts itself.
fn restore(net: &mut Net, node: usize, copy: &Node, signed: Option<u64>) -> bool {
    net.cut(node);
    net.nodes[node] = Node::start(copy.key, copy.disk.clone());
    let rooms = signed.map(|signed| (room(MAIN), signed)).into_iter().collect();
    net.nodes[node].replica.doubt_if_behind(Signed { rooms, others: None, peers: 1 }, FRESH)
}

/// Connects two, each of which chose the other.
fn dial(net: &mut Net, a: usize, b: usize) {
    net.link_as(a, b, Link::DIALLED);
}

fn copy(net: &Net, node: usize) -> Node {
    Node::start(net.nodes[node].key, net.nodes[node].disk.clone())
}

fn evidence(net: &Net, node: usize) -> Vec<Equivocation> {
    net.nodes[node].replica.equivocations(room(MAIN)).collect()
}

fn is_learning(net: &Net, node: usize) -> bool {
    net.status(node).learning.is_some()
}

#[test]
fn a_restored_copy_learns_its_chain_before_it_signs() {
    for signed in [None, Some(4)] {
        let mut net = Net::connected(2);
        (1..=2).for_each(|number| net.write(1, number));
        net.settle();
        let old = copy(&net, 1);
        (3..=4).for_each(|number| net.write(1, number));
        net.write(2, 5);
        net.settle();

        assert!(restore(&mut net, 1, &old, signed));
        (6..=7).for_each(|number| net.write(1, number));
        assert!(is_learning(&net, 1), "alone it cannot know");
        assert_eq!((net.status(1).unsigned, net.status(1).ops), (2, 2));
        net.settle();
        assert!(is_learning(&net, 1), "time alone teaches nothing");

        dial(&mut net, 0, 1);
        net.settle();
        assert_eq!(net.nodes[1].durable(), [6, 7], "all that was typed is recorded");
        net.assert_converged(7);
        assert!((0..3).all(|node| evidence(&net, node).is_empty()));
        let learnt = |event: &&Event| matches!(event, Event::Learnt { signed: 4, .. });
        assert_eq!(net.nodes[1].events.iter().filter(learnt).count(), 1);
    }
}

#[test]
fn a_store_that_holds_all_its_key_signed_signs_at_once() {
    let mut net = Net::connected(1);
    net.write(1, 1);
    net.settle();
    let now = copy(&net, 1);
    net.cut(1);
    net.nodes[1] = now;
    let signed = Signed { rooms: BTreeMap::from([(room(MAIN), 1)]), others: Some(0), peers: 1 };
    assert!(!net.nodes[1].replica.doubt_if_behind(signed, FRESH));
    net.write(1, 2);
    assert_eq!(net.nodes[1].durable(), [2], "offline");
    dial(&mut net, 0, 1);
    net.settle();
    net.assert_converged(2);
}

#[test]
fn what_was_signed_and_is_nowhere_keeps_the_chain_in_doubt() {
    let mut net = Net::connected(1);
    net.write(1, 1);
    net.settle();
    let old = copy(&net, 1);
    assert!(restore(&mut net, 1, &old, Some(2)));
    dial(&mut net, 0, 1);
    net.write(1, 3);
    net.settle();
    assert_eq!(net.status(1).learning.unwrap().signed, Some(2));
    assert_eq!((net.nodes[1].durable().len(), net.status(1).unsigned), (0, 1));
}

#[test]
fn a_peer_that_claims_to_know_more_is_waited_for_and_not_for_ever() {
    let mut net = Net::connected(2);
    net.write(1, 1);
    net.settle();
    let old = copy(&net, 1);
    net.write(1, 2);
    net.settle();
    restore(&mut net, 1, &old, None);
    // Of two peers, one is as old as the copy and one knows the second op, but is slow to tell.
    net.cut(0);
    let stale = Node::start(0, old.disk.clone());
    net.nodes.push(stale);
    dial(&mut net, 3, 1);
    net.quiet();
    dial(&mut net, 2, 1);
    net.wire.retain(|(to, _, frame)| *to != 1 || !frame.contains("\"ops\""));
    net.write(1, 3);
    net.now = net.now.after(limits::LEARN_WAIT);
    net.input(1, Input::Flush);
    assert!(is_learning(&net, 1), "the other peer announced nothing yet");
    net.now = net.now.after(limits::LEARN_WAIT_MAX);
    net.input(1, Input::Flush);
    assert!(!is_learning(&net, 1));
}

/// Two machines with one key that write at the same time: the one thing that cannot be prevented.
#[test]
fn a_copied_key_forks_once_and_both_branches_go_on() {
    let mut net = Net::connected(2);
    net.write(1, 1);
    net.settle();
    // Node 3 is a second node 1, on a store of its own.
    let twin = copy(&net, 1);
    net.nodes.push(twin);
    assert!(
        net.nodes[3].replica.doubt_if_behind(Signed::default(), FRESH),
        "it takes an id of its own"
    );
    dial(&mut net, 0, 3);
    net.settle();
    assert!(!is_learning(&net, 3));
    net.cut(1);
    net.cut(3);
    for round in 0..3 {
        net.write(1, 10 + round);
        net.write(3, 20 + round);
    }
    dial(&mut net, 0, 1);
    dial(&mut net, 0, 3);
    net.settle();
    for round in 0..3 {
        net.write(1, 30 + round);
        net.write(3, 40 + round);
        net.settle();
    }
    // What the other wrote last is not where one's own branch goes on.
    net.write(1, 50);
    net.settle();
    net.write(1, 51);
    net.write(3, 52);
    net.settle();
    let found = evidence(&net, 0);
    assert_eq!(found.len(), 1, "one fork, however long the branches");
    for node in 0..4 {
        assert_eq!(evidence(&net, node), found, "node {node}");
    }
    let statuses: Vec<_> =
        (0..4).map(|node| (net.status(node).set, net.status(node).entries)).collect();
    assert!(statuses.iter().all(|status| *status == statuses[0]));
    assert_eq!(statuses[0].1, 16);
    let told = |event: &&Event| matches!(event, Event::SignedElsewhere { .. });
    for node in [1, 3] {
        assert_eq!(
            net.nodes[node].events.iter().filter(told).count(),
            1,
            "node {node} is told once"
        );
    }
}

/// A carried home: nothing says how long the chain is.
fn carried(net: &mut Net, node: usize, old: &Node, peers: usize) {
    net.cut(node);
    net.nodes[node] = Node::start(old.key, old.disk.clone());
    let signed = Signed { peers, ..Signed::default() };
    assert!(net.nodes[node].replica.doubt_if_behind(signed, FRESH));
}

fn later(net: &mut Net, node: usize, wait: crate::time::Span) {
    net.now = net.now.after(wait);
    net.input(node, Input::Flush);
}

#[test]
fn while_fewer_peers_have_told_all_than_are_asked_the_chain_is_not_known() {
    let mut net = Net::connected(1);
    net.write(1, 1);
    net.settle();
    let old = copy(&net, 1);
    net.write(1, 2);
    net.settle();
    carried(&mut net, 1, &old, 2);
    // The first of two peers is empty, or says that it is.
    net.nodes.push(Node::start(0, Disk::default()));
    dial(&mut net, 2, 1);
    net.quiet();
    net.write(1, 3);
    later(&mut net, 1, limits::LEARN_WAIT);
    assert!(is_learning(&net, 1), "the other may know more");
    dial(&mut net, 0, 1);
    net.settle();
    assert!(!is_learning(&net, 1));
    net.quiet();
    assert_eq!(net.nodes[1].durable(), [3]);
    assert!(evidence(&net, 0).is_empty());
}

#[test]
fn what_a_slow_peer_still_tells_keeps_the_chain_in_doubt() {
    let mut net = Net::connected(2);
    for number in 0..600 {
        net.write(1, number);
    }
    net.settle();
    let old = Node::start(1, Disk(net.nodes[1].disk.0[..3].to_vec()));
    carried(&mut net, 1, &old, 2);
    net.nodes.push(Node::start(0, Disk::default()));
    dial(&mut net, 3, 1);
    net.quiet();
    dial(&mut net, 0, 1);
    net.write(1, 1_000);
    // Its stream is slow, but it does not stop.
    while net.status(1).ops < 600 {
        assert!(is_learning(&net, 1), "released at {} ops", net.status(1).ops);
        net.deliver();
        later(&mut net, 1, crate::time::Span::from_ms(6_000));
    }
    net.settle();
    assert_eq!(net.nodes[1].durable(), [1_000]);
    assert!((0..3).all(|node| evidence(&net, node).is_empty()));
}

/// Whoever connects to a node that has somebody to ask cannot end its learning: with a room that is
/// as old as the copy, it has nothing more to tell.
#[test]
fn a_stranger_who_connects_does_not_end_the_learning_of_a_chain() {
    let mut net = Net::connected(2);
    net.write(1, 1);
    net.settle();
    let old = copy(&net, 1);
    net.write(1, 2);
    net.settle();
    restore(&mut net, 1, &old, None);
    net.cut(0);
    net.nodes.push(Node::start(0, old.disk.clone()));
    net.write(1, 3);
    // The stranger is known to hold what the copy holds; the time for others to tell passes.
    net.link(3, 1);
    net.settle();
    net.now = net.now.after(limits::LEARN_WAIT_MAX);
    net.input(1, Input::Flush);
    net.settle();
    assert!(is_learning(&net, 1));
    dial(&mut net, 2, 1);
    net.settle();
    net.now = net.now.after(limits::LEARN_WAIT_MAX);
    net.input(1, Input::Flush);
    net.settle();
    assert!(!is_learning(&net, 1));
    assert_eq!(net.nodes[1].durable(), [3]);
    assert!((1..3).all(|node| evidence(&net, node).is_empty()), "no fork");
}
