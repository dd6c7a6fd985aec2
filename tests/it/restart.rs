//! Whatever is killed, nothing that was reported durable is lost and nothing is doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;

use crate::convergence::{assert_converged, lines};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const LINES: usize = 10_000;
const CHUNK: usize = 250;

/// Reads events until a line of this run is durable. Notes every line reported durable.
fn until_durable(node: &mut Process, first: usize, line: usize, durable: &mut BTreeSet<usize>) {
    loop {
        let event = node.next_event();
        assert_ne!(event["event"], "refused", "{event}");
        if event["event"] == "durable" {
            // A process counts its own lines from 1.
            let number = first + usize::try_from(event["line"].as_u64().unwrap()).unwrap() - 1;
            durable.insert(number);
            if number == line {
                return;
            }
        }
    }
}

/// Writes all lines of a node, killing it twice in the middle of some, and going on each time from
/// what its log holds. Returns the lines reported durable.
fn write_through_kills(cluster: &Cluster, name: &str, written: &Sender<usize>) -> BTreeSet<usize> {
    let mut durable = BTreeSet::new();
    let mut node = cluster.node(name, &["--headless"]);
    let (mut first, mut next) = (0, 0);
    let mut kills = BTreeSet::from([LINES / 3, 2 * LINES / 3]);
    while next < LINES {
        let end = (next + CHUNK).min(LINES);
        node.try_write(&lines(name, next, end));
        if kills.first().is_some_and(|at| *at < end) {
            kills.pop_first();
            // Somewhere in the middle of what was just written.
            until_durable(&mut node, first, next, &mut durable);
            node.kill();
            let held =
                cluster.notes(name, None).iter().filter(|note| note.starts_with(name)).count();
            assert!(durable.last().is_none_or(|last| *last < held), "{name} lost a durable line");
            (first, next) = (held, held);
            node = cluster.node(name, &["--headless"]);
        } else {
            until_durable(&mut node, first, end - 1, &mut durable);
            next = end;
        }
        written.send(CHUNK).unwrap();
    }
    node.end_input();
    node.synced(NAMES.len() * LINES);
    node.stop();
    durable
}

#[test]
fn kills_of_relayer_and_nodes_lose_and_double_nothing() {
    let cluster = Cluster::new();
    for name in NAMES {
        cluster.init(name);
    }
    let mut relayer = Some(cluster.relayer());
    let durable: BTreeMap<&str, BTreeSet<usize>> = thread::scope(|scope| {
        // A writer that fails drops its sender; once all have, receiving ends.
        let (written, written_by_all) = channel();
        let mut chunks = 0;
        let shared = &cluster;
        let writers = NAMES.map(|name| {
            let written = written.clone();
            (name, scope.spawn(move || write_through_kills(shared, name, &written)))
        });
        drop(written);
        for kill in 1..=5 {
            let mark = kill * NAMES.len() * LINES / 6;
            while chunks < mark {
                chunks += written_by_all.recv().unwrap();
            }
            relayer.take().unwrap().kill();
            relayer = Some(cluster.relayer());
        }
        writers.into_iter().map(|(name, writer)| (name, writer.join().unwrap())).collect()
    });
    relayer.unwrap().stop();
    assert_converged(&cluster, &NAMES, NAMES.len() * LINES);
    let notes: Vec<String> = cluster.notes("alice", None);
    let distinct: BTreeSet<&String> = notes.iter().collect();
    assert_eq!(distinct.len(), notes.len(), "no line is twice");
    for name in NAMES {
        assert!(durable[name].iter().all(|line| distinct.contains(&format!("{name} {line}"))));
        assert!((0..LINES).all(|line| distinct.contains(&format!("{name} {line}"))), "{name}");
    }
}

#[test]
fn a_stopped_node_goes_on_where_it_was() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let author = cluster.init("alice");
    for round in 0..3 {
        let mut alice = cluster.node("alice", &["--headless"]);
        assert_eq!(alice.event("ready")["entries"], round);
        alice.line(&format!("round {round}"));
        alice.event("relayed");
        alice.stop();
    }
    relayer.stop();
    assert_eq!(cluster.notes("alice", Some(&author)), ["round 0", "round 1", "round 2"]);
    assert_eq!(cluster.room("alice")["heads"].as_array().unwrap().len(), 1);
}
