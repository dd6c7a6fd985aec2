//! A home that takes a file and is killed meanwhile, is old, or meets others later.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use crdt_tests::cluster::{Cluster, NOWHERE};
use crdt_tests::flood::Author;
use crdt_tests::process::WAIT_MAX;

use super::{counts, export, file, import, lines, piped, write};
use crate::command_line::assert_fails;
use crate::convergence::assert_converged;

#[test]
fn an_import_that_is_killed_is_completed_by_the_next() {
    let cluster = Cluster::new();
    cluster.init("bob");
    let ops = Author::new(1, "main").chain(3_000);
    let text = lines(&ops);
    let mut import = piped(&cluster, "bob");
    import.try_write(&lines(&ops[..1_500]));
    let deadline = Instant::now() + WAIT_MAX;
    while cluster.room("bob")["ops"].as_u64().unwrap_or_default() < 256 {
        assert!(Instant::now() < deadline, "nothing is taken");
    }
    import.kill();
    let held = cluster.room("bob")["ops"].as_u64().unwrap();
    assert!((256..3_000).contains(&held), "{held}");
    let carried = file(&cluster, "whole.jsonl", &text);
    let report = cluster.json("import", "bob", &[carried.to_str().unwrap()]);
    assert_eq!(counts(&report), [3_000, 3_000 - held, held, 0, 0, 0], "{report}");
    assert_eq!(export(&cluster, "bob"), text);
    cluster.output("verify", "bob", &[]);
}

/// A file brings an old copy of a home up to date as a relay does.
#[test]
fn an_old_copy_that_is_given_its_own_ops_in_a_file_goes_on_from_them() {
    let cluster = Cluster::new();
    cluster.init("alice");
    write(&cluster, "alice", &["1", "2"]);
    cluster.copy("alice", "backup");
    write(&cluster, "alice", &["3", "4"]);
    let (all, start) = (export(&cluster, "alice"), export(&cluster, "backup"));
    fs::remove_dir_all(cluster.home("alice")).unwrap();
    cluster.copy("backup", "alice");
    let (report, output) = import(&cluster, "alice", &all, &[]);
    assert_eq!(counts(&report), [4, 2, 2, 0, 0, 0]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    write(&cluster, "alice", &["5"]);
    let room = cluster.room("alice");
    assert_eq!((&room["ops"], &room["evidence"]), (&5.into(), &0.into()));

    // A file that may not hold all does not make a carried home sure of itself.
    cluster.carry("backup", "elsewhere");
    let (report, _) = import(&cluster, "elsewhere", &start, &[]);
    assert_eq!(counts(&report), [2, 0, 2, 0, 0, 0]);
    let more = ["not yet", "--relay", NOWHERE, "--timeout", "0"];
    assert_fails(&cluster.command("send", "elsewhere", &more), 7, "not recorded: 1 line");
    // One that shows that the key signs elsewhere says so.
    write(&cluster, "alice", &["6"]);
    cluster.copy("alice", "twin");
    write(&cluster, "alice", &["7"]);
    let seven = export(&cluster, "alice");
    let own: BTreeSet<String> = cluster.notes("alice", None).into_iter().collect();
    assert_eq!(own.len(), 7);
    let (report, _) = import(&cluster, "twin", &seven, &[]);
    assert_eq!(counts(&report), [7, 1, 6, 0, 0, 0]);
    assert_converged_files(&cluster, &["alice", "twin"]);
}

fn assert_converged_files(cluster: &Cluster, names: &[&str]) {
    let first = cluster.room(names[0]);
    for name in names {
        let room = cluster.room(name);
        assert_eq!((&room["set"], &room["log"]), (&first["set"], &first["log"]), "{name}");
    }
}

#[test]
fn what_was_imported_reaches_others_from_the_next_run() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    for name in ["alice", "bob", "carol"] {
        cluster.init(name);
    }
    write(&cluster, "carol", &["c1", "c2"]);
    let (report, _) = import(&cluster, "alice", &export(&cluster, "carol"), &[]);
    assert_eq!(counts(&report), [2, 2, 0, 0, 0, 0]);
    cluster.node("alice", &[]).end_well();
    cluster.node("bob", &[]).end_well();
    cluster.node("carol", &[]).end_well();
    relayer.stop();
    assert_converged(&cluster, &["alice", "bob", "carol"], 2);
}
