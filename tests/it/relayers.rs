//! Several relayers: nodes on any of them end with the same history, and no op goes in circles.

use std::thread;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;
use crdt_tests::tap::{Passed, Tap};

use crate::convergence::{assert_converged, lines};

/// Starts nodes, each on these relays, and waits until each is in sync with one.
fn start(cluster: &Cluster, nodes: &[(&str, &[&str])]) -> Vec<Process> {
    let started = nodes.iter().map(|(name, relays)| {
        cluster.init(name);
        let mut node = cluster.node_at(name, relays, &["--headless"]);
        node.event("synced");
        node
    });
    started.collect()
}

/// Waits until each node holds so many entries and a relay says that it holds the same.
fn all_hold(nodes: &mut [Process], entries: usize) {
    for node in nodes {
        node.synced(entries);
    }
}

#[test]
fn either_of_two_relayers_may_be_lost_for_good() {
    for lost in [0, 1] {
        let cluster = Cluster::new();
        let (first, a) = cluster.relayer_with("first", &[]);
        let (second, b) = cluster.relayer_with("second", &[]);
        // Only carol is on both.
        let names = ["alice", "bob", "carol", "dave"];
        let mut nodes = start(
            &cluster,
            &[("alice", &[&a]), ("bob", &[&a]), ("carol", &[&a, &b]), ("dave", &[&b])],
        );
        for (node, name) in nodes.iter_mut().zip(names) {
            node.try_write(&lines(name, 0, 100));
        }
        all_hold(&mut nodes, 400);
        let mut relayers = vec![first, second];
        relayers.remove(lost).kill();
        // Who is left on the other relay goes on; carol writes to both in vain or not.
        let left: &[usize] = if lost == 0 { &[2, 3] } else { &[0, 1, 2] };
        for number in left {
            nodes[*number].try_write(&lines(names[*number], 100, 200));
        }
        let entries = 400 + 100 * left.len();
        let mut going_on: Vec<Process> = Vec::new();
        for (number, node) in nodes.into_iter().enumerate() {
            if left.contains(&number) {
                going_on.push(node);
            } else {
                node.stop();
            }
        }
        all_hold(&mut going_on, entries);
        for node in going_on {
            node.stop();
        }
        let left: Vec<&str> = left.iter().map(|number| names[*number]).collect();
        assert_converged(&cluster, &left, entries);
    }
}

#[track_caller]
fn assert_once(passed: &Passed, way: &str) {
    let twice = passed.ops.iter().find(|(_, times)| **times > 1);
    assert_eq!(twice, None, "{way}");
}

#[test]
fn three_relayers_in_a_triangle_pass_each_op_at_most_once_each_way() {
    let cluster = Cluster::new();
    let (first, a) = cluster.relayer_with("first", &[]);
    let from_second = Tap::to(&a);
    let (second, b) = cluster.relayer_with("second", &["--peer", &from_second.url()]);
    let (from_third, third_to_second) = (Tap::to(&a), Tap::to(&b));
    let peers = [from_third.url(), third_to_second.url()];
    let (third, c) = cluster.relayer_with("third", &["--peer", &peers[0], "--peer", &peers[1]]);
    let taps = [&from_second, &from_third, &third_to_second];
    for tap in taps {
        tap.wait_for("hello", [1, 1]);
    }

    let names: Vec<String> = (0..12).map(|number| format!("node{number}")).collect();
    let relays = [[a.as_str()], [b.as_str()], [c.as_str()]];
    let plan: Vec<(&str, &[&str])> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (name.as_str(), relays[number % 3].as_slice()))
        .collect();
    let nodes = start(&cluster, &plan);
    let writers: Vec<_> = nodes
        .into_iter()
        .zip(names.clone())
        .map(|(mut node, name)| {
            thread::spawn(move || {
                node.try_write(&lines(&name, 0, 2_500));
                node.synced(30_000);
                node
            })
        })
        .collect();
    let nodes: Vec<Process> = writers.into_iter().map(|node| node.join().unwrap()).collect();
    for tap in taps {
        let [there, back] = tap.passed();
        assert_once(&there, "there");
        assert_once(&back, "back");
        assert!(!there.ops.is_empty() && !back.ops.is_empty());
    }

    // From now on nothing passes but announcements: one each way, then see what came with it.
    let quiet = taps.map(Tap::passed);
    let heads = |passed: &Passed| passed.messages.get("heads").copied().unwrap_or_default();
    for (tap, before) in taps.into_iter().zip(quiet) {
        let wanted = [heads(&before[0]) + 1, heads(&before[1]) + 1];
        let after = tap.wait_for("heads", wanted);
        for (after, before) in after.iter().zip(&before) {
            assert_eq!(after.messages.get("ops"), before.messages.get("ops"));
            assert!(after.bytes - before.bytes < 8_000, "{} bytes", after.bytes - before.bytes);
        }
    }
    for node in nodes {
        node.stop();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_converged(&cluster, &names, 30_000);
    for relayer in [first, second, third] {
        relayer.stop();
    }
}

/// Relayers that were given each other keep one connection between two, and a room that only one
/// of them was asked for is kept by both.
#[test]
fn relayers_that_were_given_each_other_keep_all_rooms_though_one_is_away_for_a_while() {
    let cluster = Cluster::new();
    // Only an address that is used again can be given before it is listened on.
    let (first, a) = cluster.relayer_with("first", &[]);
    let address = a.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).unwrap();
    let (second, b) = cluster.relayer_with("second", &["--peer", &a]);
    first.stop();
    let (mut first, _) = cluster.relayer_on(address, "first", &["--peer", &b]);
    first.event_with("link", |event| event["state"] == "connected");
    let mut nodes = start(&cluster, &[("alice", &[&a])]);
    nodes[0].try_write(&lines("alice", 0, 50));
    all_hold(&mut nodes, 50);
    // The first relayer dies for good: the second has all of it.
    cluster.init("bob");
    let mut bob = cluster.node_at("bob", &[&b], &["--headless"]);
    bob.synced(50);
    first.kill();
    bob.try_write(&lines("bob", 0, 50));
    bob.synced(100);
    // It comes back, and so does what it missed.
    let (first, _) = cluster.relayer_on(address, "first", &["--peer", &b]);
    all_hold(&mut nodes, 100);
    for node in nodes.into_iter().chain([bob]) {
        node.stop();
    }
    assert_converged(&cluster, &["alice", "bob"], 100);
    first.stop();
    second.stop();
}
