//! Everybody ends with the same history.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Numbered notes of a node.
pub(crate) fn lines(name: &str, from: usize, to: usize) -> String {
    (from..to).fold(String::new(), |mut text, number| {
        writeln!(text, "{name} {number}").unwrap();
        text
    })
}

/// The log of every node is the same, whole, and withstands a verification.
pub(crate) fn assert_converged(cluster: &Cluster, names: &[&str], entries: usize) {
    let first = cluster.room(names[0]);
    assert_eq!(first["entries"], entries);
    assert_eq!((&first["evidence"], &first["parked"]), (&0.into(), &0.into()));
    let export = cluster.output("export", names[0], &[]);
    for name in names {
        let room = cluster.room(name);
        assert_eq!((&room["set"], &room["log"]), (&first["set"], &first["log"]), "{name}");
        assert_eq!(room["unsent"], 0, "{name}");
        assert_eq!(cluster.output("export", name, &[]), export, "{name}");
        let verified = cluster.json("verify", name, &[]);
        assert_eq!((&verified["ok"], &verified["ops"]), (&true.into(), &room["ops"]), "{name}");
    }
    let file = cluster.path().join("export.jsonl");
    std::fs::write(&file, export).unwrap();
    cluster.output("verify", file.to_str().unwrap(), &[]);
}

#[test]
fn three_nodes_with_ten_thousand_lines_each_end_with_the_same_bytes() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    // All take part before the first line, so that none can be done before another starts.
    let nodes: Vec<Process> = NAMES
        .iter()
        .map(|name| {
            cluster.init(name);
            let mut node = cluster.node(name, &[]);
            node.event("synced");
            node
        })
        .collect();
    let writers: Vec<_> = NAMES
        .into_iter()
        .zip(nodes)
        .map(|(name, mut node)| {
            thread::spawn(move || {
                node.try_write(&lines(name, 0, 10_000));
                node.end_well();
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    relayer.stop();
    assert_converged(&cluster, &NAMES, 30_000);
}

#[test]
fn a_newcomer_gets_a_hundred_thousand_entries_and_knows_it_has_all() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    alice.try_write(&lines("alice", 0, 100_000));
    alice.end_well();
    cluster.init("late");
    let mut late = cluster.node("late", &["--headless"]);
    let synced = late.event("synced");
    assert_eq!(synced["entries"], 100_000);
    assert_eq!(synced["set"], cluster.room("alice")["set"]);
    late.stop();
    relayer.stop();
    assert_converged(&cluster, &["alice", "late"], 100_000);
}

#[test]
fn rooms_stay_apart_on_one_connection() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    cluster.init("bob");
    let mut alice = cluster.node("alice", &["--room", "one", "--room", "two"]);
    alice.line("in one");
    alice.line("/join two");
    alice.line("in two");
    alice.line("/join three");
    alice.line("in three");
    alice.end_well();
    let bob = cluster.node("bob", &["--room", "two", "--room", "three"]);
    bob.end_well();
    relayer.stop();
    let status = cluster.json("status", "bob", &[]);
    let rooms: Vec<(&str, u64)> = status["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| (room["room"].as_str().unwrap(), room["entries"].as_u64().unwrap()))
        .collect();
    assert!(rooms.contains(&("two", 1)) && rooms.contains(&("three", 1)), "{rooms:?}");
    let log = cluster.output("log", "bob", &["--room", "two", "--json"]);
    assert!(log.contains("in two") && !log.contains("in one") && !log.contains("in three"));
}

#[test]
fn nobody_works_while_nothing_happens() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let mut nodes: Vec<Process> = NAMES
        .iter()
        .map(|name| {
            cluster.init(name);
            cluster.node(name, &["--headless"])
        })
        .collect();
    nodes[0].line("hello");
    for node in &mut nodes {
        node.synced(1);
    }
    let before: Vec<u64> = nodes.iter().chain([&relayer]).map(Process::ticks).collect();
    // Waiting is the point: for ten seconds nothing is said, and no processor used.
    let silence = Instant::now() + Duration::from_secs(10);
    assert_eq!(nodes[0].next_before(silence), None);
    for (process, before) in nodes.iter().chain([&relayer]).zip(before) {
        let used = process.ticks() - before;
        assert!(used < 10, "{used} ticks of 10 ms in 10 s");
    }
    nodes.into_iter().for_each(Process::stop);
    relayer.stop();
}
