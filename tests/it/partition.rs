//! Without a relayer everything goes on; with one again everything arrives.

use crdt_tests::cluster::Cluster;

use crate::convergence::{assert_converged, lines};

#[test]
fn what_is_written_without_a_relayer_arrives_when_it_is_back() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    cluster.init("bob");
    let mut alice = cluster.node("alice", &["--headless"]);
    let mut bob = cluster.node("bob", &["--headless"]);
    alice.event("synced");
    bob.event("synced");
    relayer.kill();
    alice.event_with("link", |event| event["state"].as_str().unwrap().starts_with("down"));
    for line in lines("alice", 0, 100).lines() {
        alice.line(line);
    }
    alice.event_with("durable", |event| event["line"] == 100);
    let room = cluster.room("alice");
    assert_eq!(room["entries"], 100);
    assert_eq!(room["unsent"], room["ops"]);
    assert_eq!(cluster.room("bob")["entries"], 0);

    let relayer = cluster.relayer();
    alice.event("relayed");
    bob.synced(100);
    alice.stop();
    bob.stop();
    relayer.stop();
    assert_converged(&cluster, &["alice", "bob"], 100);
}

#[test]
fn a_relayer_that_lost_its_disk_gets_everything_back() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    cluster.init("bob");
    let mut alice = cluster.node("alice", &["--headless"]);
    let mut bob = cluster.node("bob", &["--headless"]);
    alice.line("from alice");
    bob.synced(1);
    bob.line("from bob");
    alice.synced(2);
    bob.stop();
    relayer.kill();
    std::fs::remove_dir_all(cluster.path().join("relayer")).unwrap();

    let relayer = cluster.relayer();
    alice.synced(2);
    cluster.init("carol");
    let mut carol = cluster.node("carol", &["--headless"]);
    carol.synced(2);
    alice.stop();
    carol.stop();
    relayer.stop();
    assert_converged(&cluster, &["alice", "bob", "carol"], 2);
}
