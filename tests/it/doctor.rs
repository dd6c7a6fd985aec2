//! What `doctor` finds, what it says of it, and how it ends.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crdt_tests::cluster::{Cluster, NOWHERE};
use serde_json::Value;

mod home;

const DAY: Duration = Duration::from_hours(24);

/// What one run of `doctor` printed, and its exit code, which the report repeats.
pub(crate) struct Report(Value);

impl Report {
    pub(crate) fn of(cluster: &Cluster, name: &str, more: &[&str]) -> Self {
        let more: Vec<&str> = more.iter().copied().chain(["--json"]).collect();
        let output = cluster.command("doctor", name, &more);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["schema"], "crdt-node/doctor/1");
        assert_eq!(report["code"], output.status.code().unwrap(), "{report}");
        assert_eq!(report["ok"], output.status.success());
        Self(report)
    }

    pub(crate) fn code(&self) -> u64 {
        self.0["code"].as_u64().unwrap()
    }

    fn checks(&self) -> &[Value] {
        self.0["checks"].as_array().unwrap()
    }

    /// The one check of this name that speaks of something.
    #[track_caller]
    pub(crate) fn of_all(&self, check: &str, about: &str) -> &Value {
        let message = |found: &Value| found["message"].as_str().unwrap().contains(about);
        let fits = |found: &&Value| found["check"] == check && message(found);
        let found: Vec<&Value> = self.checks().iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{check} {about}: {}", self.0);
        found[0]
    }

    #[track_caller]
    pub(crate) fn assert(&self, check: &str, verdict: &str, about: &str) {
        let found = self.of_all(check, about);
        assert_eq!(found["verdict"], verdict, "{found}");
        assert_eq!(found["fix"].is_string(), verdict != "ok", "{found}");
    }

    #[track_caller]
    fn assert_fix(&self, check: &str, fix: &str) {
        let found = self.of_all(check, "");
        assert!(found["fix"].as_str().unwrap().contains(fix), "{found}");
    }

    /// What is not as it should be. The disk of the machine the tests run on is not asked about.
    pub(crate) fn wrong(&self) -> Vec<&str> {
        let wrong = |check: &&Value| check["verdict"] != "ok" && check["check"] != "disk";
        self.checks().iter().filter(wrong).map(|check| check["check"].as_str().unwrap()).collect()
    }
}

/// Makes a node that is to connect to these relays.
fn init(cluster: &Cluster, name: &str, relays: &[&str]) {
    let flags: Vec<&str> = relays.iter().flat_map(|url| ["--relay", url]).collect();
    cluster.json("init", name, &flags);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A program that listens like a relay. Returns its websocket. It ends with the tests.
fn listener(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/websocket", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    url
}

/// One that answers over HTTP with this clock and protocol.
fn relay_with(clock: SystemTime, protocol: u32) -> String {
    listener(move |stream| {
        let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = request.next().unwrap().unwrap();
        while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let body = if first.starts_with("GET /version ") {
            format!("{{\"name\":\"x\",\"version\":\"9\",\"protocol\":{protocol}}}")
        } else {
            "ok\n".to_owned()
        };
        let (date, length) = (httpdate::fmt_http_date(clock), body.len());
        let head = format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: {length}\r\n\r\n");
        (&stream).write_all((head + &body).as_bytes()).unwrap();
    })
}

#[test]
fn a_healthy_home_and_relay_are_all_ok() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    init(&cluster, "alice", &[&cluster.url()]);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (0, Vec::new()), "{}", report.0);
    let names: Vec<&str> =
        report.checks().iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(names[..7], ["home", "key", "config", "disk", "lock", "store", "mark"]);
    let relay = ["address", "tls", "reach", "health", "version", "clock"];
    assert_eq!(names[7..], relay.map(|check| format!("relay.{check}")));
    let text = cluster.output("doctor", "alice", &[]);
    assert!(text.lines().any(|line| line.starts_with("ok       relay.version")), "{text}");
    assert!(text.contains("13 checks: errors 0"), "{text}");
    relayer.stop();
}

#[test]
fn permissions_are_told_with_the_command_and_mended_if_asked() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    init(&cluster, "alice", &[&cluster.url()]);
    let (home, key) = (cluster.home("alice"), cluster.home("alice").join("key.pem"));
    set_mode(&home, 0o755);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (0, vec!["home"]), "a warning");
    report.assert("home", "warning", "other users may look into");
    report.assert_fix("home", &format!("chmod 700 {}", home.display()));
    set_mode(&key, 0o644);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 3);
    report.assert("key", "error", "readable by other users (mode 0644)");
    report.assert_fix("key", &format!("chmod 600 {}", key.display()));
    assert_eq!((mode(&home), mode(&key)), (0o755, 0o644), "nothing was changed");
    let report = Report::of(&cluster, "alice", &["--fix"]);
    assert_eq!((report.code(), report.wrong()), (0, Vec::new()));
    report.assert("home", "ok", "mode was 0755, mended to 0700");
    report.assert("key", "ok", "mode was 0644, mended to 0600");
    assert_eq!((mode(&home), mode(&key)), (0o700, 0o600));
    set_mode(&home, 0o777);
    assert_eq!(Report::of(&cluster, "alice", &[]).code(), 3, "others could replace the key");
    relayer.stop();
}

#[test]
fn a_relay_that_is_not_there_is_named_and_the_others_are_looked_at() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let unknown = "wss://no-such-host.invalid/websocket";
    init(&cluster, "alice", &[NOWHERE, &cluster.url(), unknown]);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (4, vec!["relay.reach", "relay.reach"]));
    report.assert("relay.reach", "error", NOWHERE);
    report.assert("relay.reach", "error", unknown);
    report.assert("relay.clock", "ok", &cluster.url());
    let output = cluster.command("doctor", "alice", &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4));
    assert!(text.contains("fix: start it: crdt-relayer --listen 127.0.0.1:1\n"), "{text}");
    relayer.stop();
}

#[test]
fn peers_are_looked_at_like_relays() {
    let cluster = Cluster::new();
    cluster.init("bob");
    let (bob, url) = cluster.listening_node("bob", &["--headless"]);
    cluster.json("init", "alice", &["--peer", &url, "--peer", NOWHERE]);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (4, vec!["peer.reach"]));
    report.assert("peer.reach", "error", NOWHERE);
    for check in ["tls", "reach", "health", "version", "clock"] {
        report.assert(&format!("peer.{check}"), "ok", &url);
    }
    bob.stop();
}

#[test]
fn who_does_not_answer_or_speaks_another_protocol_is_no_relay() {
    let cluster = Cluster::new();
    // Held open, so that not even its end is an answer.
    let (held, holding) = std::sync::mpsc::channel();
    let silent = listener(move |stream| held.send(stream).unwrap());
    let garbage = listener(|stream| (&stream).write_all(b"220 mail.example ESMTP\r\n").unwrap());
    let other = relay_with(SystemTime::now(), 2);
    init(&cluster, "alice", &[&silent, &garbage, &other]);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 4);
    report.assert("relay.health", "error", &format!("{silent}: no answer within 5 s"));
    report.assert("relay.health", "error", &format!("{garbage}: no HTTP answer"));
    report.assert("relay.health", "ok", &other);
    report.assert("relay.version", "error", "speaks protocol 2, this one 1");
    assert_eq!(report.wrong().len(), 3);
    drop(holding);
}

#[test]
fn a_clock_that_differs_is_told_by_how_much() {
    let cluster = Cluster::new();
    let now = SystemTime::now();
    let [ahead, behind] = [relay_with(now + DAY, 1), relay_with(now - DAY, 1)];
    let [minutes, same] = [relay_with(now + DAY / 144, 1), relay_with(now, 1)];
    init(&cluster, "alice", &[&ahead, &behind, &minutes, &same]);
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 4);
    report.assert("relay.clock", "error", &format!("{ahead}: its clock is 86"));
    report.assert("relay.clock", "error", &format!("{behind}: its clock is 86"));
    report.assert("relay.clock", "warning", &minutes);
    report.assert("relay.clock", "ok", &same);
    init(&cluster, "bob", &[&minutes]);
    assert_eq!(Report::of(&cluster, "bob", &[]).code(), 0);
}

#[test]
fn a_damaged_store_counts_more_than_a_relay_that_is_away() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    init(&cluster, "alice", &[NOWHERE]);
    let sent = cluster.command("send", "alice", &["hello", "--relay", &cluster.url()]);
    assert!(sent.status.success());
    relayer.stop();
    let store = cluster.home("alice").join("log.sqlite");
    Report::of(&cluster, "alice", &[]).assert("store", "ok", "reads back whole, rooms: 1, ops: 1");
    let altered = Command::new("sqlite3")
        .arg(&store)
        .arg("UPDATE ops SET data = replace(data, 'hello', 'hullo')")
        .status();
    assert!(altered.unwrap().success());
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 5);
    report.assert("store", "error", "the store is damaged");
    fs::write(&store, "this is no database, and it is long enough to be looked at").unwrap();
    assert_eq!(Report::of(&cluster, "alice", &[]).code(), 5);
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        fs::remove_file(cluster.home("alice").join(file)).unwrap_or_default();
    }
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 3);
    report.assert("store", "error", "is missing");
}

#[test]
fn a_store_of_another_layout_is_told() {
    let cluster = Cluster::new();
    init(&cluster, "alice", &[NOWHERE]);
    let store = cluster.home("alice").join("log.sqlite");
    let altered = Command::new("sqlite3").arg(&store).arg("PRAGMA user_version = 9").status();
    assert!(altered.unwrap().success());
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 3);
    report.assert("store", "error", "layout 9");
}

#[test]
fn it_looks_beside_a_running_node_and_does_not_disturb_it() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    init(&cluster, "alice", &[&cluster.url()]);
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.event("ready");
    alice.line("before");
    alice.event("durable");
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (0, Vec::new()), "{}", report.0);
    report.assert("lock", "ok", "a node runs in");
    report.assert("store", "ok", "the node has read it back");
    alice.line("after");
    alice.event("durable");
    alice.stop();
    let report = Report::of(&cluster, "alice", &[]);
    report.assert("lock", "ok", "no node runs in");
    report.assert("mark", "ok", "signed 2 ops, says this machine; the store holds them");
    cluster.node("alice", &["--headless"]).event("ready");
    relayer.stop();
}

#[test]
fn a_node_that_is_stuck_is_told() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    init(&cluster, "alice", &[&cluster.url()]);
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.event("ready");
    alice.signal("STOP");
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (0, vec!["lock"]), "{}", report.0);
    report.assert("lock", "warning", "does not answer");
    alice.signal("CONT");
    alice.stop();
    relayer.stop();
}
