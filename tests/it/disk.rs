//! Disks that are full, files that are damaged, lost or half written.

use std::fs;
use std::process::Command;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::{program, run};
use serde_json::Value;

use crate::command_line::assert_fails;

#[test]
fn a_damaged_store_is_noticed_before_anything_is_signed() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let output = cluster.command("send", "alice", &["hello", "--relay", &cluster.url()]);
    assert!(output.status.success());
    relayer.stop();
    let store = cluster.home("alice").join("log.sqlite");
    let sqlite = |sql: &str| {
        let done = Command::new("sqlite3").arg(&store).arg(sql).status().unwrap();
        assert!(done.success());
    };
    let log = Command::new("sqlite3").arg(&store).arg("SELECT data FROM log").output().unwrap();
    assert!(String::from_utf8_lossy(&log.stdout).contains("hello"), "an auditor can read it");

    sqlite("UPDATE ops SET data = replace(data, 'hello', 'hullo')");
    for command in ["run", "status", "log", "export"] {
        assert_fails(&cluster.command(command, "alice", &[]), 5, "the store is damaged");
    }
    let verified = cluster.command("verify", "alice", &["--json"]);
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&report["ok"], &report["code"]), (&false.into(), &5.into()));
    assert_fails(&verified, 5, "verification failed");

    sqlite("UPDATE ops SET data = replace(data, 'hullo', 'hello'), sig = zeroblob(64)");
    assert_fails(&cluster.command("verify", "alice", &[]), 5, "the signature is not by the author");
    fs::write(&store, "this is no database, and it is long enough to be looked at").unwrap();
    assert_fails(&cluster.command("run", "alice", &[]), 5, "the store is damaged");
}

#[test]
fn an_altered_export_is_noticed() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let url = cluster.url();
    for text in ["one", "two"] {
        assert!(cluster.command("send", "alice", &[text, "--relay", &url]).status.success());
    }
    relayer.stop();
    let export = cluster.output("export", "alice", &[]);
    let file = cluster.path().join("export.jsonl");
    let verify = |text: &str| {
        fs::write(&file, text).unwrap();
        cluster.command("verify", file.to_str().unwrap(), &[])
    };
    assert!(verify(&export).status.success());
    assert_fails(&verify(&export.replace("two", "twa")), 5, "the data does not match");
    let twice = cluster.command("export", "alice", &["-o", file.to_str().unwrap()]);
    assert_fails(&twice, 3, "exists already; it was kept");
    let nothing = cluster.path().join("nothing.jsonl");
    let unknown = ["--room", "nope", "-o", nothing.to_str().unwrap()];
    assert_fails(&cluster.command("export", "alice", &unknown), 3, "nope");
    assert!(!nothing.exists());
    let backwards: Vec<&str> = export.lines().rev().collect();
    assert_fails(&verify(&backwards.join("\n")), 5, "a dependency does not come before it");
    assert_fails(&verify(export.lines().next_back().unwrap()), 5, "a dependency does not come");
    assert_fails(&verify(""), 5, "the file is empty");
}

#[test]
fn a_full_disk_stops_the_node_with_a_sentence_and_keeps_what_was_durable() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    // A file system of one mebibyte, seen by this one shell only.
    let script = r#"
        set -e
        home=$1 node=$2 url=$3
        cp -a "$home" "$home.copy"
        mount -t tmpfs -o size=1m,mode=700 none "$home"
        cp -a "$home.copy/." "$home/"
        echo first | "$node" run alice --home "$home" --relay "$url" --json > "$home.out" 2> "$home.err"
        i=0; while [ $i -lt 400 ]; do i=$((i+1)); printf '%04d%10000s\n' $i x; done \
            | "$node" run alice --home "$home" --relay "$url" --json >> "$home.out" 2> "$home.err" && code=0 || code=$?
        "$node" verify alice --home "$home" > "$home.verified"
        "$node" log alice --home "$home" --json > "$home.log"
        exit $code
    "#;
    let home = cluster.home("alice");
    let run = Command::new("unshare")
        .env("XDG_STATE_HOME", cluster.machine())
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([home.as_os_str(), program("crdt-node").as_os_str(), cluster.url().as_ref()])
        .output()
        .unwrap();
    let read = |suffix: &str| {
        fs::read_to_string(format!("{}.{suffix}", home.display())).unwrap_or_default()
    };
    let errors = read("err");
    assert_eq!(run.status.code(), Some(3), "{errors} {}", String::from_utf8_lossy(&run.stderr));
    assert!(
        errors.contains("the disk is full; everything acknowledged so far is safe"),
        "{errors}"
    );
    let durable = read("out").lines().filter(|line| line.contains("\"event\":\"durable\"")).count();
    let kept = read("log").lines().count();
    assert!(durable > 0 && durable < 400, "{durable}");
    assert!(kept >= durable, "{durable} were durable, {kept} are there");
    relayer.stop();
}

#[test]
fn a_key_without_its_store_does_not_sign() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let url = cluster.url();
    assert!(cluster.command("send", "alice", &["one", "--relay", &url]).status.success());
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        fs::remove_file(cluster.home("alice").join(file)).unwrap_or_default();
    }
    let refused = cluster.command("send", "alice", &["two", "--relay", &url]);
    assert_fails(&refused, 3, "log.sqlite is missing");
    relayer.stop();
}

#[test]
fn an_init_that_was_interrupted_can_be_repeated() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let home = cluster.home("alice");
    fs::rename(home.join("key.pem"), home.join("key.new")).unwrap();
    let author = cluster.init("alice");
    assert!(!home.join("key.new").exists());
    let shown = run("crdt-node", ["key", "show", "alice", "--home", home.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), author);
}
