//! One key in two places: nobody can prevent it, everybody sees it.

use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;

use crate::convergence::lines;

/// Lines that each copy writes.
const LINES: usize = 20;

/// Everybody holds both branches and knows that they are two.
fn assert_forked_alike(cluster: &Cluster, names: &[&str], entries: usize) {
    let export = cluster.output("export", names[0], &[]);
    let first = cluster.room(names[0]);
    for name in names {
        let room = cluster.room(name);
        assert_eq!((&room["entries"], &room["parked"]), (&entries.into(), &0.into()), "{name}");
        assert_eq!((&room["set"], &room["log"]), (&first["set"], &first["log"]), "{name}");
        assert_eq!(cluster.output("export", name, &[]), export, "{name}");
        assert_eq!(room["evidence"], 1, "{name}: {room}");
        let evidence = cluster.json("evidence", name, &[]);
        assert_eq!(evidence, cluster.json("evidence", names[0], &[]), "{name}");
        assert_eq!(cluster.command("verify", name, &[]).status.code(), Some(6), "{name}");
        cluster.output("verify", name, &["--allow-forks"]);
    }
}

#[test]
fn two_copies_of_a_key_that_write_at_once_are_seen_by_everybody() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let (other, other_url) = cluster.relayer_with("other", &[]);
    let author = cluster.init("alice");
    cluster.carry("alice", "twin");
    for name in ["bob", "carol", "dave"] {
        cluster.init(name);
    }
    let mut alice = cluster.node("alice", &["--headless"]);
    let mut twin = cluster.node_at("twin", &[&other_url], &["--headless"]);
    let bob = cluster.node("bob", &["--headless"]);
    let dave = cluster.node_at("dave", &[&other_url], &["--headless"]);
    for copy in [&mut alice, &mut twin] {
        copy.event("synced");
    }
    alice.try_write(&lines("alice", 0, LINES));
    twin.try_write(&lines("twin", 0, LINES));
    for copy in [&mut alice, &mut twin] {
        copy.event_with("durable", |event| event["line"] == LINES);
        copy.event("relayed");
    }

    // Only through carol do the two relayers hear of one another.
    let mut carol = cluster.node_at("carol", &[&cluster.url(), &other_url], &["--headless"]);
    let seen = carol.event("evidence");
    assert_eq!(seen["author"], author);
    // Once carol has all, one more line tells everybody how much that is.
    carol.synced(2 * LINES);
    carol.line("the end");
    let nodes = [("alice", alice), ("twin", twin), ("bob", bob), ("carol", carol), ("dave", dave)];
    let names = nodes.each_ref().map(|(name, _)| *name);
    let entries = 2 * LINES + 1;
    for (_, mut node) in nodes {
        node.synced(entries);
        node.stop();
    }
    relayer.stop();
    other.stop();
    assert_forked_alike(&cluster, &names, entries);
}

#[test]
fn a_copy_from_before_gets_what_its_original_wrote_since() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    cluster.copy("alice", "twin");
    let mut alice = cluster.node("alice", &[]);
    alice.try_write(&lines("alice", 0, LINES));
    alice.end_well();
    let mut twin: Process = cluster.node("twin", &["--headless"]);
    // The relayer leaves out what it has from a store of this id, until it is asked for it.
    twin.event_with("entry", |event| event["data"]["text"] == format!("alice {}", LINES - 1));
    twin.line("goes on");
    twin.event("relayed");
    twin.stop();
    relayer.stop();
    assert_eq!(cluster.room("twin")["evidence"], 0);
    let notes = cluster.notes("twin", None);
    assert_eq!((notes.len(), notes.last().map(String::as_str)), (LINES + 1, Some("goes on")));
}
