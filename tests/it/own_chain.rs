//! Honest users never become liars: restored copies, carried homes, a key in two places.

use std::fs;

use crdt_tests::cluster::Cluster;
use serde_json::Value;

use crate::command_line::assert_fails;
use crate::convergence::lines;

fn record(cluster: &Cluster, name: &str, from: usize, to: usize) {
    let mut node = cluster.node(name, &[]);
    node.try_write(&lines(name, from, to));
    node.end_well();
}

#[test]
fn a_home_replaced_by_an_old_copy_learns_its_chain_and_records_every_line() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let author = cluster.init("alice");
    record(&cluster, "alice", 0, 1_000);
    cluster.copy("alice", "backup");
    record(&cluster, "alice", 1_000, 2_000);

    fs::remove_dir_all(cluster.home("alice")).unwrap();
    cluster.copy("backup", "alice");
    assert_eq!(cluster.room("alice")["entries"], 1_000);
    let mut alice = cluster.node("alice", &[]);
    alice.try_write(&lines("alice", 2_000, 2_500));
    assert!(alice.event("learning")["signed"].as_u64().unwrap() > 0);
    alice.event("learnt");
    alice.end_well();

    let room = cluster.room("alice");
    assert_eq!((&room["entries"], &room["evidence"]), (&2_500.into(), &0.into()));
    let notes = cluster.notes("alice", Some(&author));
    let expected: Vec<String> = (0..2_500).map(|number| format!("alice {number}")).collect();
    assert_eq!(notes, expected);
    assert!(cluster.command("verify", "alice", &[]).status.success());

    // The chain is known again: the next start is an ordinary one, and signs without a relayer.
    relayer.stop();
    let mut alice = cluster.node("alice", &[]);
    alice.line("offline");
    alice.event("durable");
    alice.signal("TERM");
    alice.end_well();
}

/// A disk that loses bytes it had said were safe makes an old copy of a store.
#[test]
fn a_store_that_lost_its_last_bytes_learns_them_again() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &["--headless"]);
    for number in 0..5 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    alice.kill();
    let wal = cluster.home("alice").join("log.sqlite-wal");
    let bytes = fs::read(&wal).unwrap();
    fs::write(&wal, &bytes[..bytes.len() / 2]).unwrap();
    assert!(cluster.room("alice")["entries"].as_u64() < Some(5));
    let mut alice = cluster.node("alice", &[]);
    alice.try_write(&lines("alice", 5, 7));
    alice.event("learnt");
    alice.end_well();
    let room = cluster.room("alice");
    assert_eq!((&room["entries"], &room["evidence"]), (&7.into(), &0.into()));
    relayer.stop();
}

#[test]
fn a_copy_that_reaches_nobody_keeps_its_lines_unsigned() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    record(&cluster, "alice", 0, 3);
    cluster.copy("alice", "backup");
    record(&cluster, "alice", 3, 6);
    fs::remove_dir_all(cluster.home("alice")).unwrap();
    cluster.copy("backup", "alice");
    relayer.stop();

    let mut alice = cluster.node("alice", &["--timeout", "1"]);
    alice.try_write(&lines("alice", 6, 8));
    let (status, errors) = alice.end();
    assert_eq!(status.code(), Some(7), "{errors}");
    assert!(errors.contains("not recorded: 2 lines"), "{errors}");
    let unsigned = fs::read_to_string(cluster.home("alice").join("unsigned-1.txt")).unwrap();
    assert_eq!(unsigned.lines().next(), Some("/join main"));
    assert_eq!(unsigned.lines().count(), 3);
    assert_eq!(cluster.room("alice")["entries"], 3, "nothing was signed");

    // As the hint says, with a relayer.
    let relayer = cluster.relayer();
    let mut alice = cluster.node("alice", &[]);
    alice.try_write(&unsigned);
    alice.end_well();
    let room = cluster.room("alice");
    assert_eq!((&room["entries"], &room["evidence"]), (&8.into(), &0.into()));
    relayer.stop();
}

#[test]
fn a_home_on_another_machine_learns_its_chain_first() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    record(&cluster, "alice", 0, 3);
    cluster.carry("alice", "carried");
    record(&cluster, "alice", 3, 6);
    let mut carried = cluster.node("carried", &[]);
    carried.try_write(&lines("alice", 6, 9));
    assert_eq!(carried.event("learning")["signed"], Value::Null);
    assert_eq!(carried.event("learnt")["signed"], cluster.room("alice")["ops"]);
    carried.end_well();
    relayer.stop();

    // From now on this machine knows, and offline is enough.
    let mut carried = cluster.node("carried", &[]);
    carried.line("offline");
    carried.event("durable");
    carried.stop();
    let room = cluster.room("carried");
    assert_eq!((&room["entries"], &room["evidence"]), (&10.into(), &0.into()));
}

#[test]
fn one_process_of_a_machine_signs_with_a_key() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    cluster.copy("alice", "copy");
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.event("ready");
    let second = cluster.command("run", "copy", &["--relay", &cluster.url()]);
    assert_fails(&second, 9, "another process");
    alice.stop();
    relayer.stop();
}

/// What is asked for explicitly is done, and has the consequence it was said to have.
#[test]
fn a_copy_that_is_trusted_forks_its_chain_and_everybody_can_prove_it() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let author = cluster.init("alice");
    cluster.init("bob");
    record(&cluster, "alice", 0, 3);
    cluster.copy("alice", "backup");
    record(&cluster, "alice", 3, 6);
    fs::remove_dir_all(cluster.home("alice")).unwrap();
    cluster.copy("backup", "alice");
    let mut bob = cluster.node("bob", &["--headless"]);
    let mut alice = cluster.node("alice", &["--trust-store"]);
    alice.try_write(&lines("alice", 6, 9));
    let told = alice.event("evidence");
    assert_eq!(told["author"], author.as_str());
    alice.end_well();
    let seen = bob.event("evidence");
    for field in ["id", "author", "seq", "prev", "a", "b"] {
        assert_eq!(seen[field], told[field], "{field}");
    }
    bob.event_with("entry", |entry| entry["data"]["text"] == "alice 8" && entry["liar"] == true);

    // A node that runs is asked, one that does not is read.
    assert_eq!(cluster.room("bob")["liars"][0], author.as_str());
    bob.stop();
    assert_eq!(cluster.room("bob")["liars"][0], author.as_str());

    // The branches go on without a further fork, and the log lives on.
    record(&cluster, "bob", 0, 3);
    record(&cluster, "alice", 9, 12);
    record(&cluster, "bob", 3, 3);
    for name in ["alice", "bob"] {
        let room = cluster.room(name);
        assert_eq!((&room["entries"], &room["evidence"]), (&15.into(), &1.into()), "{name}");
        let verify = cluster.command("verify", name, &[]);
        assert_fails(&verify, 6, "valid, but 1 equivocation");
        assert!(cluster.command("verify", name, &["--allow-forks"]).status.success());
    }
    relayer.stop();
    evidence_is_proof_elsewhere(&cluster, &author);
}

fn evidence_is_proof_elsewhere(cluster: &Cluster, author: &str) {
    let list = cluster.json("evidence", "bob", &[]);
    assert_eq!(list["evidence"].as_array().unwrap().len(), 1, "{list}");
    let found = &list["evidence"][0];
    assert_eq!(found["author"], author);
    let id = found["id"].as_str().unwrap();
    let file = cluster.path().join("evidence.json");
    let (home, path) = (cluster.home("bob"), file.to_str().unwrap());
    let evidence = |arguments: &[&str]| {
        let all = ["evidence", "bob", "--home", home.to_str().unwrap()];
        crdt_tests::process::run("crdt-node", all.iter().chain(arguments))
    };
    let shown = evidence(&["show", id]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("signed two different ops"));
    assert!(evidence(&["export", id, "-o", path]).status.success());
    assert_fails(&evidence(&["export", id, "-o", path]), 3, "exists already");
    assert_fails(&evidence(&["show", "ev-ffffffffffff"]), 2, "no single piece of evidence");

    // A machine that has never seen the room has nothing but the file.
    let verify = || crdt_tests::process::run("crdt-node", ["verify", path]);
    let verified = verify();
    assert!(verified.status.success());
    assert!(String::from_utf8_lossy(&verified.stdout).contains(author));
    let good = fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut altered = good.clone();
        altered[at] ^= 1;
        fs::write(&file, &altered).unwrap();
        assert_eq!(verify().status.code(), Some(5), "byte {at}");
    }
}
