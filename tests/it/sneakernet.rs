//! Ops carried in files: between nodes that never met, damaged, out of order, twice, beside a
//! running node, into a home that is killed meanwhile.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crdt_core::head::Kind;
use crdt_core::id::Depth;
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_core::op::{Draft, Op};
use crdt_core::time::Timestamp;
use crdt_tests::client::room_id;
use crdt_tests::cluster::{Cluster, NOWHERE};
use crdt_tests::flood::Author;
use crdt_tests::process::Process;
use serde_json::Value;

mod homes;

use crate::command_line::assert_fails;

/// Records notes at a node that reaches nobody.
pub(crate) fn write(cluster: &Cluster, name: &str, notes: &[&str]) {
    for note in notes {
        let sent = cluster.command("send", name, &[note, "--relay", NOWHERE, "--timeout", "0"]);
        assert_fails(&sent, 4, "no relay or peer acknowledged within 0 s");
    }
}

fn export(cluster: &Cluster, name: &str) -> String {
    cluster.output("export", name, &[])
}

fn file(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let path = cluster.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// An import's report, and its output with the exit code.
fn import(cluster: &Cluster, name: &str, text: &str, more: &[&str]) -> (Value, Output) {
    let path = file(cluster, "carried.jsonl", text);
    let more: Vec<&str> =
        [path.to_str().unwrap(), "--json"].into_iter().chain(more.iter().copied()).collect();
    let output = cluster.command("import", name, &more);
    (serde_json::from_slice(&output.stdout).unwrap(), output)
}

/// Lines, new, known, parked, refused, and the exit code.
fn counts(report: &Value) -> [u64; 6] {
    ["lines", "new", "known", "parked", "refused", "code"]
        .map(|field| report[field].as_u64().unwrap())
}

fn lines(ops: &[Op]) -> String {
    ops.iter().fold(String::new(), |mut text, op| {
        writeln!(text, "{op}").unwrap();
        text
    })
}

#[test]
fn nodes_that_never_met_are_equal_after_an_exchange_of_files() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    write(&cluster, "alice", &["a1", "a2", "a3"]);
    write(&cluster, "bob", &["b1", "b2"]);
    let (to_bob, to_alice) = (export(&cluster, "alice"), export(&cluster, "bob"));
    let (report, _) = import(&cluster, "bob", &to_bob, &[]);
    assert_eq!(counts(&report), [3, 3, 0, 0, 0, 0], "{report}");
    assert_eq!((&report["schema"], &report["ok"]), (&"crdt-node/import/1".into(), &true.into()));
    let (report, _) = import(&cluster, "alice", &to_alice, &[]);
    assert_eq!(counts(&report), [2, 2, 0, 0, 0, 0], "{report}");
    assert_eq!(export(&cluster, "alice"), export(&cluster, "bob"));

    // Nothing is known twice, and what was carried is built on.
    let (report, _) = import(&cluster, "alice", &export(&cluster, "bob"), &[]);
    assert_eq!(counts(&report), [5, 0, 5, 0, 0, 0], "{report}");
    let carried = file(&cluster, "again.jsonl", &export(&cluster, "bob"));
    let told = cluster.output("import", "alice", &[carried.to_str().unwrap()]);
    assert!(told.contains("5 ops: all known before, nothing changed"), "{told}");
    write(&cluster, "alice", &["after"]);
    let (report, _) = import(&cluster, "bob", &export(&cluster, "alice"), &[]);
    assert_eq!(counts(&report), [6, 1, 5, 0, 0, 0], "{report}");
    for name in ["alice", "bob"] {
        assert_eq!(cluster.room(name)["heads"].as_array().unwrap().len(), 1);
        assert_eq!(cluster.json("verify", name, &[])["ok"], true);
    }
    assert_eq!(cluster.room("alice")["log"], cluster.room("bob")["log"]);
}

#[test]
fn bad_lines_are_named_and_the_others_taken() {
    let cluster = Cluster::new();
    cluster.init("bob");
    let ops = Author::new(1, "main").chain(4);
    let good: Vec<String> = ops.iter().map(ToString::to_string).collect();
    let other = Author::new(2, "main").chain(1)[0].to_string();
    let altered = other.replace("flood 0", "flood 9");
    let sig = other.rsplit('"').nth(1).unwrap();
    let first = if sig.starts_with('0') { "1" } else { "0" };
    let forged_sig: String = first.chars().chain(sig.chars().skip(1)).collect();
    let forged = other.replace(sig, &forged_sig);
    let too_long = format!("{}{}", good[3], " ".repeat(131_072));
    let spelled_otherwise = good[3].replace("\"id\"", " \"\\u0069d\" ") + "\r";
    let text = [
        &good[0],
        "no JSON",
        &good[1],
        &altered,
        &forged,
        "",
        &good[1],
        &too_long,
        &good[2],
        "{\"id\":1}",
        &spelled_otherwise,
        "{\"data\":",
    ]
    .join("\n");
    let (report, output) = import(&cluster, "bob", &text, &[]);
    assert_fails(&output, 5, "7 of 12 lines failed verification");
    assert_eq!(counts(&report), [12, 4, 1, 0, 7, 5], "{report}");
    let named: Vec<(u64, &str)> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["line"].as_u64().unwrap(), problem["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (2, "json"),
        (4, "data"),
        (5, "sig"),
        (6, "json"),
        (8, "size"),
        (10, "field"),
        (12, "json"),
    ];
    assert_eq!(named, expected);
    assert_eq!(export(&cluster, "bob"), lines(&ops));
    // A known op does not make a forged spelling of it good.
    let (report, _) = import(&cluster, "bob", &(other.clone() + "\n"), &[]);
    assert_eq!(counts(&report), [1, 1, 0, 0, 0, 0]);
    let (report, output) = import(&cluster, "bob", &forged, &[]);
    assert_eq!(counts(&report), [1, 0, 0, 0, 1, 5]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Hint: "));
    let told = cluster.command("import", "bob", &[file(&cluster, "f", &forged).to_str().unwrap()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("line 1: the signature is not by the author over this id (sig)"),
        "{told}"
    );
}

#[test]
fn more_invalid_ops_than_a_connection_survives_are_all_judged() {
    let cluster = Cluster::new();
    cluster.init("bob");
    // Lines of two rooms in turns: each is a message of its own, and each bad one a strike.
    let chain = Author::new(1, "side").chain(40);
    let text = chain.iter().enumerate().fold(String::new(), |mut text, (number, good)| {
        let seed = [u8::try_from(number).unwrap() + 1; 32];
        let draft = Draft {
            room: room_id("main"),
            tip: None,
            preds: Vec::new(),
            refs: Vec::new(),
            depth: Depth::new(7).unwrap(),
            ts: Timestamp::from_ms(0),
            kind: Kind::entry(),
            data: Canonical::parse(b"[1]").unwrap(),
        };
        let bad = draft.sign(&SecretKey::from_seed(&seed)).unwrap();
        writeln!(text, "{good}\n{bad}").unwrap();
        text
    });
    let (report, output) = import(&cluster, "bob", &text, &["--room", "side"]);
    assert_fails(&output, 5, "40 of 80 lines failed verification");
    assert_eq!(counts(&report), [80, 40, 0, 0, 40, 5], "{report}");
    let problems = report["problems"].as_array().unwrap();
    assert!(problems.iter().all(|problem| problem["code"] == "depth"), "{report}");
    assert_eq!(
        problems[0]["message"],
        "the depth is not one more than that of the deepest dependency"
    );
}

#[test]
fn a_file_in_any_order_is_taken_whole() {
    let cluster = Cluster::new();
    cluster.init("bob");
    cluster.init("carol");
    // More than are parked of one author.
    let mut ops = Author::new(1, "main").chain(2_500);
    ops.reverse();
    let (report, _) = import(&cluster, "bob", &lines(&ops), &[]);
    assert_eq!(counts(&report), [2_500, 2_500, 0, 0, 0, 0], "{report}");
    // What cannot be read twice is taken as far as it is kept.
    ops.drain(1_000..);
    let mut import = piped(&cluster, "carol");
    import.try_write(&lines(&ops));
    import.end_input();
    let report = import.next_event();
    assert_eq!(counts(&report), [1_000, 0, 0, 1_000, 0, 7], "{report}");
    ops = Author::new(1, "main").chain(2_500);
    ops[1_500..].reverse();
    let mut import = piped(&cluster, "carol");
    import.try_write(&lines(&ops));
    import.end_input();
    let report = import.next_event();
    assert_eq!(counts(&report), [2_500, 2_500, 0, 0, 0, 0], "{report}");
    assert_eq!(export(&cluster, "bob"), export(&cluster, "carol"));
}

/// An import from standard input.
fn piped(cluster: &Cluster, name: &str) -> Process {
    let mut program = cluster.program(name);
    program.args(["import", name, "-", "--json", "--home"]).arg(cluster.home(name));
    Process::spawn(program)
}

#[test]
fn what_waits_for_ops_that_are_not_in_the_file_is_counted_and_comes_with_them() {
    let cluster = Cluster::new();
    cluster.init("bob");
    let ops = Author::new(1, "main").chain(5);
    let (report, output) = import(&cluster, "bob", &lines(&ops[2..]), &[]);
    assert_fails(&output, 7, "3 lines wait for ops that are not in the file");
    assert_eq!(counts(&report), [3, 0, 0, 3, 0, 7], "{report}");
    assert_eq!(report["missing"], serde_json::json!([ops[1].id().to_string()]));
    assert_eq!(cluster.room("bob")["ops"], 0, "nothing is kept");
    let (report, _) = import(&cluster, "bob", &lines(&ops[..2]), &[]);
    assert_eq!(counts(&report), [2, 2, 0, 0, 0, 0]);
    let (report, _) = import(&cluster, "bob", &lines(&ops[1..]), &[]);
    assert_eq!(counts(&report), [4, 3, 1, 0, 0, 0]);
}

#[test]
fn ops_of_a_room_that_was_not_joined_are_left_out_until_it_is_named() {
    let cluster = Cluster::new();
    cluster.init("bob");
    let (here, there) = (Author::new(1, "main").chain(2), Author::new(1, "side").chain(3));
    let text = lines(&here) + &lines(&there);
    let (report, output) = import(&cluster, "bob", &text, &[]);
    assert_fails(&output, 10, "3 lines are ops of rooms this node does not take part in");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--room NAME"));
    assert_eq!(counts(&report), [5, 2, 0, 0, 3, 10], "{report}");
    let room = &report["rooms"][0];
    assert_eq!(room["room"], room_id("side").to_string());
    assert_eq!((&room["lines"], &room["first_line"]), (&3.into(), &3.into()));
    assert_eq!(cluster.json("status", "bob", &[])["rooms"].as_array().unwrap().len(), 1);
    let (report, _) = import(&cluster, "bob", &text, &["--room", "side"]);
    assert_eq!(counts(&report), [5, 3, 2, 0, 0, 0], "{report}");
    assert_eq!(cluster.output("export", "bob", &["--room", "side"]), lines(&there));
}

#[test]
fn files_that_cannot_be_read_change_nothing() {
    let cluster = Cluster::new();
    cluster.init("bob");
    let folder = cluster.path().to_str().unwrap();
    assert_fails(&cluster.command("import", "bob", &["/nowhere/at/all"]), 3, "/nowhere/at/all");
    assert_fails(&cluster.command("import", "bob", &[folder]), 3, folder);
    let (report, output) = import(&cluster, "bob", "", &[]);
    assert_fails(&output, 5, "the file is empty");
    assert_eq!(counts(&report), [0, 0, 0, 0, 0, 5]);
    assert_fails(&cluster.command("import", "nobody", &[folder]), 3, "holds no key");
}

#[test]
fn a_running_node_takes_a_file_and_passes_it_on() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    for name in ["alice", "bob", "carol"] {
        cluster.init(name);
    }
    write(&cluster, "carol", &["c1", "c2"]);
    let mut alice = cluster.node("alice", &["--headless"]);
    let mut bob = cluster.node("bob", &["--headless"]);
    alice.event("synced");
    bob.event("synced");
    let (report, _) = import(&cluster, "alice", &export(&cluster, "carol"), &[]);
    assert_eq!(counts(&report), [2, 2, 0, 0, 0, 0], "{report}");
    bob.synced(2);

    // The same at its console; a room is joined as with /join.
    write(&cluster, "carol", &["c3"]);
    let carried = file(&cluster, "carried.jsonl", &export(&cluster, "carol"));
    let is_import = |event: &Value| event["command"] == "import";
    alice.line(&format!("/import {}", carried.display()));
    let answer = alice.event_with("answer", is_import);
    assert_eq!(counts(&answer), [3, 1, 2, 0, 0, 0], "{answer}");
    bob.synced(3);
    alice.line("/import /nowhere/at/all");
    assert_eq!(alice.event_with("answer", is_import)["ok"], false);

    let orphan = Author::new(1, "side").orphan(1).to_string();
    let (report, _) = import(&cluster, "alice", &orphan, &[]);
    assert_eq!(counts(&report), [1, 0, 0, 0, 1, 10]);
    let (report, _) = import(&cluster, "alice", &orphan, &["--room", "side"]);
    assert_eq!(counts(&report), [1, 0, 0, 1, 0, 7]);
    let rooms = cluster.json("status", "alice", &[])["rooms"].clone();
    let side = rooms.as_array().unwrap().iter().find(|room| room["room"] == "side").unwrap();
    assert_eq!(side["parked"], 1, "a node that runs keeps it");
    alice.stop();
    bob.stop();
    relayer.stop();
    let (report, _) = import(&cluster, "carol", &export(&cluster, "alice"), &[]);
    assert_eq!(counts(&report), [3, 0, 3, 0, 0, 0]);
    for name in ["bob", "carol"] {
        assert_eq!(cluster.room(name)["log"], {
            let rooms = cluster.json("status", "alice", &[])["rooms"].clone();
            rooms.as_array().unwrap().iter().find(|room| room["room"] == "main").unwrap()["log"]
                .clone()
        });
    }
}
