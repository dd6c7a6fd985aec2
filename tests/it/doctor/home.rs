//! What is looked at in a home and beside it: mark, key, configuration, disk.

use std::fs;
use std::process::Command;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::program;

use super::{Report, init};

#[test]
fn what_is_noted_of_the_chain_is_held_against_the_store() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let url = cluster.url();
    init(&cluster, "alice", &[&url]);
    let send = |text: &str| assert!(cluster.command("send", "alice", &[text]).status.success());
    send("one");
    cluster.copy("alice", "old");
    send("two");
    cluster.carry("alice", "elsewhere");
    let report = Report::of(&cluster, "old", &[]);
    assert_eq!((report.code(), report.wrong()), (0, vec!["home", "mark"]), "{}", report.0);
    report.assert("mark", "warning", "signed 2 ops in room main, the store holds 1");
    let report = Report::of(&cluster, "elsewhere", &[]);
    report.assert("mark", "warning", "nothing here says how many");
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.event("ready");
    let report = Report::of(&cluster, "old", &[]);
    assert_eq!(report.code(), 9);
    report.assert("lock", "error", "another process signs with the key");
    alice.stop();
    relayer.stop();
}

#[test]
fn a_key_is_opened_and_compared_with_its_public_half() {
    let cluster = Cluster::new();
    let secret = |text: &str| {
        let path = cluster.path().join(text);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (right, wrong) = (secret("correct horse"), secret("battery staple"));
    cluster.json("init", "alice", &["--passphrase-file", &right]);
    let with = |file: &str| Report::of(&cluster, "alice", &["--passphrase-file", file]);
    Report::of(&cluster, "alice", &[]).assert("key", "ok", "is encrypted, not opened");
    with(&right).assert("key", "ok", "key.pem opens");
    with(&wrong).assert("key", "error", "the passphrase does not open");
    cluster.init("bob");
    let public = |name: &str| cluster.home(name).join("key.pub");
    fs::copy(public("alice"), public("bob")).unwrap();
    let report = Report::of(&cluster, "bob", &[]);
    assert_eq!(report.code(), 3);
    report.assert("key", "error", "is not the key of");
    fs::remove_file(public("bob")).unwrap();
    let report = Report::of(&cluster, "bob", &[]);
    let fix = report.of_all("key", "key.pub")["fix"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", fix]).status().unwrap().success(), "{fix}");
    Report::of(&cluster, "bob", &[]).assert("key", "ok", "key.pem opens");
}

#[test]
fn a_configuration_or_address_that_cannot_be_used_is_named() {
    let cluster = Cluster::new();
    let report = Report::of(&cluster, "nobody", &[]);
    assert_eq!((report.code(), report.checks().len()), (3, 1));
    report.assert_fix("home", "crdt-node init nobody");
    cluster.init("alice");
    let config = cluster.home("alice").join("config.toml");
    let with = |text: &str| {
        fs::write(&config, format!("name = \"alice\"\n{text}")).unwrap();
        Report::of(&cluster, "alice", &[])
    };
    let report = with("relays = [\"ws://x/websocket\", \"ws://h:port/\"]\nrooms = [\"main\"]\n");
    assert_eq!((report.code(), report.wrong()), (3, vec!["relay.tls", "relay.address"]));
    report.assert("relay.tls", "error", "plain text to another machine");
    report.assert("relay.address", "error", "ws://h:port/ is no websocket address");
    let report = with("relays = []\nrooms = [\"main\"]\n");
    assert_eq!(report.code(), 0);
    report.assert("config", "warning", "no relay is configured");
    for bad in ["relays = []\nrooms = [\"Not A Room\"]\n", "relays = []\nroms = []\n", "relays"] {
        let report = with(bad);
        assert_eq!(report.code(), 3, "{bad}");
        report.assert("config", "error", "config.toml: ");
    }
}

#[test]
fn a_disk_without_room_is_told() {
    let cluster = Cluster::new();
    cluster.init("alice");
    // A file system of 32 mebibytes, seen by this one shell only.
    let script = r#"
        set -e
        cp -a "$1" "$1.copy"
        mount -t tmpfs -o size=32m,mode=700 none "$1"
        cp -a "$1.copy/." "$1/"
        exec "$2" doctor alice --home "$1"
    "#;
    let output = Command::new("unshare")
        .env("XDG_STATE_HOME", cluster.machine())
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([cluster.home("alice").as_os_str(), program("crdt-node").as_os_str()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let disk = text.lines().find(|line| line.starts_with("error    disk")).unwrap();
    assert!(disk.contains("31 MiB free") || disk.contains("32 MiB free"), "{disk}");
}
