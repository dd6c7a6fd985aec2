//! A relayer that has no room for more: what it has is read, what it does not take is kept by who
//! wrote it, and nothing that it acknowledged is lost.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crdt_tests::client::Client;
use crdt_tests::cluster::Cluster;
use crdt_tests::flood::{Author, Verdicts};
use crdt_tests::http::{Answer, Server};
use crdt_tests::process::{Process, WAIT_MAX, program};
use serde_json::Value;

use crate::convergence::assert_converged;

/// Time between two questions.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A relayer with this configuration. Returns its websocket and the file too.
fn relayer(cluster: &Cluster, settings: &str) -> (Process, String, PathBuf) {
    let file = cluster.path().join("relayer.toml");
    fs::write(&file, settings).unwrap();
    let (relayer, url) = cluster.relayer_with("data", &["--config", file.to_str().unwrap()]);
    (relayer, url, file)
}

fn set(relayer: &mut Process, file: &Path, settings: &str) {
    fs::write(file, settings).unwrap();
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
}

/// The same, where that changes whether there is room. Returns what is told of that.
fn set_and_hear(relayer: &mut Process, file: &Path, settings: &str) -> Value {
    fs::write(file, settings).unwrap();
    relayer.signal("HUP");
    // One may be told before the other.
    let missing = Cell::new(2);
    let told = relayer.events_until(|event| {
        missing.set(missing.get() - u8::from(event["event"] == "reread" || is_of_storage(event)));
        missing.get() == 0
    });
    told.into_iter().find(is_of_storage).unwrap()
}

fn is_of_storage(event: &Value) -> bool {
    event["event"] == "storage"
}

/// How many ops a limit has refused.
fn refused(metrics: &Answer, limit: &str) -> u64 {
    let line = format!("crdt_relayer_refused_total{{limit=\"{limit}\"}} ");
    let count = metrics.text().lines().find_map(|text| text.strip_prefix(&line));
    count.map_or(0, |count| count.parse().unwrap())
}

/// Asks until the answer fits.
async fn until(server: &Server, path: &str, fits: impl Fn(&Answer) -> bool) -> Answer {
    let started = Instant::now();
    // Connections that come too often are turned away.
    let mut turns = tokio::time::interval(ASK_EVERY);
    loop {
        turns.tick().await;
        let answer = server.get(path).await;
        if fits(&answer) {
            return answer;
        }
        assert!(started.elapsed() < WAIT_MAX, "{path} answers {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_floor_of_the_disk_nothing_new_is_taken_and_everything_is_read() {
    let cluster = Cluster::new();
    let (mut relayer, url, file) = relayer(&cluster, "");
    let server = Server::of(&url);
    cluster.init("alice");
    let mut alice = cluster.node_at("alice", &[&url], &["--headless"]);
    alice.line("before");
    alice.event("relayed");
    assert_eq!(server.get("/readyz").await.status, 200);

    let floor = "[limits]\ndisk_floor_bytes = \"1EiB\"\n";
    let told = set_and_hear(&mut relayer, &file, floor);
    assert_eq!((&told["state"], &told["level"]), (&"low".into(), &"warn".into()), "{told}");
    assert_eq!(told["floor"], 1_u64 << 60, "{told}");
    let ready = until(&server, "/readyz", |answer| answer.status != 200).await;
    assert_eq!((ready.status, &ready.json()["code"]), (503, &"disk".into()));
    assert!(ready.json()["detail"].as_str().unwrap().contains("are to stay free"), "{ready:?}");
    assert_eq!(server.get("/healthz").await.status, 200);
    alice.line("meanwhile");
    alice.event("durable");
    let told = alice.event("problem");
    let sentence = "the disk here is full; keep what is not acknowledged";
    assert!(told["message"].as_str().unwrap().contains(sentence), "{told}");
    let ops: Vec<String> =
        Author::new(7, "main").chain(2).iter().map(ToString::to_string).collect();
    let posted = server.post("main", &ops).await;
    assert_eq!((posted.status, &posted.json()["code"]), (507, &"disk".into()), "{posted:?}");
    // Somebody who comes only now is told what there is.
    cluster.init("bob");
    let mut bob = cluster.node_at("bob", &[&url], &["--headless"]);
    bob.synced(1);
    assert!(refused(&server.get("/metrics").await, "Disk") >= 3);

    let told = set_and_hear(&mut relayer, &file, "");
    assert_eq!((&told["state"], &told["level"]), (&"ample".into(), &"info".into()), "{told}");
    alice.event("relayed");
    bob.synced(2);
    assert_eq!(server.post("main", &ops).await.status, 200);
    assert_eq!(until(&server, "/readyz", |answer| answer.status == 200).await.text(), "ready\n");
    bob.synced(4);
    alice.synced(4);
    alice.stop();
    bob.stop();
    assert_converged(&cluster, &["alice", "bob"], 4);
    relayer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_at_its_limit_takes_nothing_more_and_others_do() {
    let cluster = Cluster::new();
    let (mut relayer, url, file) = relayer(&cluster, "[limits]\nroom_bytes = \"2kB\"\n");
    let server = Server::of(&url);
    cluster.init("alice");
    let mut alice = cluster.node_at("alice", &[&url], &["--headless"]);
    for number in 0..3 {
        alice.line(&format!("line {number}"));
        alice.event("relayed");
    }
    alice.line("one too many");
    let told = alice.event("problem");
    assert!(told["message"].as_str().unwrap().contains("as much as is kept of a room"), "{told}");
    let of = |room: &str| -> Vec<String> {
        Author::new(7, room).chain(2).iter().map(ToString::to_string).collect()
    };
    let posted = server.post("main", &of("main")).await;
    assert_eq!((posted.status, &posted.json()["code"]), (507, &"quota".into()), "{posted:?}");
    assert_eq!(server.post("other", &of("other")).await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200, "one room is not all");
    assert!(refused(&server.get("/metrics").await, "RoomBytes") >= 3);

    set(&mut relayer, &file, "[limits]\nroom_bytes = \"none\"\n");
    alice.event("relayed");
    alice.stop();
    relayer.stop();
}

/// A relayer whose folder is a file system of one mebibyte, half of which something else takes up.
fn cramped(cluster: &Cluster) -> (Process, String, PathBuf) {
    let data = cluster.path().join("cramped");
    fs::create_dir(&data).unwrap();
    let script = r#"
        set -e
        mount -t tmpfs -o size=1m,mode=700 none "$1"
        head -c 524288 /dev/zero > "$1/filler"
        exec "$2" --data "$1" --listen 127.0.0.1:0 --json --disk-floor-bytes none
    "#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(&data).arg(program("crdt-relayer"));
    let mut relayer = Process::spawn(command);
    let url = relayer.event("ready")["url"].as_str().unwrap().to_owned();
    // Its file system is seen by it alone, and through it.
    let seen = format!("/proc/{}/root{}", relayer.id(), data.display());
    (relayer, url, PathBuf::from(seen).join("filler"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_no_relayer_and_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::new();
    let (mut relayer, url, filler) = cramped(&cluster);
    let server = Server::of(&url);
    for name in ["alice", "bob"] {
        cluster.init(name);
    }
    let mut alice = cluster.node_at("alice", &[&url], &["--headless"]);
    alice.event("synced");
    // More than there is room for, none of it in one op with another.
    let text = "x".repeat(20_000);
    let mut written = 0;
    while server.get("/readyz").await.status == 200 {
        assert!(written < 100, "the disk is not full yet");
        alice.line(&format!("{written:04}{text}"));
        alice.event("durable");
        written += 1;
    }
    let ready = server.get("/readyz").await;
    assert_eq!(ready.json()["code"], "disk", "{ready:?}");
    let told = relayer.event("storage");
    assert_eq!((&told["state"], &told["level"]), (&"full".into(), &"warn".into()), "{told}");
    alice.event("link");
    // What it had acknowledged is read by somebody who comes only now.
    let held = until(&server, "/v1/rooms/main", |answer| answer.status == 200).await.json();
    let held = held["entries"].as_u64().unwrap();
    assert!((1..written).contains(&held), "{held} of {written}");
    let mut bob = cluster.node_at("bob", &[&url], &["--headless"]);
    bob.synced(usize::try_from(held).unwrap());

    fs::remove_file(&filler).unwrap();
    relayer.event_with("storage", |event| event["state"] == "ample");
    bob.synced(usize::try_from(written).unwrap());
    alice.synced(usize::try_from(written).unwrap());
    assert_eq!(server.get("/readyz").await.status, 200);
    alice.stop();
    bob.stop();
    assert_converged(&cluster, &["alice", "bob"], usize::try_from(written).unwrap());
    relayer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_above_its_rate_is_told_to_send_again_later_and_another_one_is_not() {
    let cluster = Cluster::new();
    let rate = "[limits]\nops_per_key = \"50/s\"\nburst_time = \"2s\"\n";
    let (relayer, url, _) = relayer(&cluster, rate);
    let server = Server::of(&url);
    let of = |author: u32, len: usize| -> Vec<String> {
        Author::new(author, "main").chain(len).iter().map(ToString::to_string).collect()
    };
    let many = of(1, 250);
    let posted = server.post("main", &many).await;
    assert_eq!((posted.status, &posted.json()["code"]), (429, &"rate".into()), "{posted:?}");
    assert_eq!(posted.headers["retry-after"], "1");
    assert!(refused(&server.get("/metrics").await, "RateOfKey") >= 100);
    assert_eq!(server.post("main", &of(2, 50)).await.status, 200, "another author");
    let room = server.get("/v1/rooms/main").await.json();
    let held = room["ops"].as_u64().unwrap();
    assert!((150..300).contains(&held), "a burst was taken: {room}");
    // Sent again as told, all of it is taken.
    let started = Instant::now();
    let mut turns = tokio::time::interval(Duration::from_secs(1));
    while server.post("main", &many).await.status != 200 {
        assert!(started.elapsed() < WAIT_MAX);
        turns.tick().await;
    }
    assert_eq!(server.get("/v1/rooms/main").await.json()["ops"], 300);
    relayer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_above_its_rate_is_read_more_slowly_and_loses_nothing() {
    let cluster = Cluster::new();
    let rate = "[limits]\ntrust_loopback = false\nops_per_address = \"500/s\"\nburst_time = \"1s\"\n\
                handshakes_per_address = \"500/s\"\n";
    let (relayer, url, _) = relayer(&cluster, rate);
    let server = Server::of(&url);
    let ops = Author::new(1, "main").chain(2_000);
    let mut client = Client::introduced(&url, 9).await;
    let verdicts = client.flood("main", &ops).await;
    assert_eq!(verdicts, Verdicts { stored: 2_000, parked: 0, rejected: 0 });
    assert!(refused(&server.get("/metrics").await, "RateOfAddress") > 0);
    // It owes for what came last, and whoever comes from elsewhere does not.
    let (file, other) = (cluster.path().join("ops.json"), Author::new(2, "main").chain(1));
    fs::write(&file, format!("[{}]", other[0])).unwrap();
    let posted = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--interface", "127.0.0.2"])
        .args(["-H", "Content-Type: application/json", "--data-binary"])
        .arg(format!("@{}", file.display()))
        .arg(url.replace("ws://", "http://").replace("/websocket", "/v1/rooms/main/ops"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&posted.stdout), "200");
    relayer.stop();
}
