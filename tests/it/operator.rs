//! What an operator does with a relayer: asks it, checks it, copies its store, puts the copy back.

use std::path::{Path, PathBuf};
use std::process::Output;

use crdt_core::op::Op;
use crdt_tests::cluster::Cluster;
use crdt_tests::flood::Author;
use crdt_tests::http::Server;
use crdt_tests::process::run;
use serde_json::Value;

use crate::convergence::{assert_converged, lines};

fn relayer(arguments: &[&str]) -> Output {
    run("crdt-relayer", arguments)
}

/// What a command prints that must end with this code.
fn report(arguments: &[&str], code: i32) -> Value {
    let output = relayer(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["code"], &report["ok"]), (&code.into(), &(code == 0 || code == 6).into()));
    report
}

/// A command that must fail with this code, saying this.
fn assert_refused(arguments: &[&str], code: i32, said: &str) {
    let output = relayer(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(errors.starts_with("Error: ") && errors.contains("\nHint: "), "{errors}");
    assert!(errors.contains(said), "{errors}");
}

fn path(cluster: &Cluster, name: &str) -> String {
    cluster.path().join(name).to_str().unwrap().to_owned()
}

/// Sends a chain of so many ops to a room of the relayer.
async fn fill(cluster: &Cluster, room: &str, author: u32, len: usize) -> Vec<Op> {
    let chain = Author::new(author, room).chain(len);
    let ops: Vec<String> = chain.iter().map(Op::to_string).collect();
    let answer = Server::of(&cluster.url()).post(room, &ops).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    chain
}

#[tokio::test]
async fn what_was_backed_up_is_restored_and_members_bring_what_came_after_it() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    for name in ["alice", "bob"] {
        cluster.init(name);
    }
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.try_write(&lines("alice", 0, 300));
    let mut bob = cluster.node("bob", &["--headless"]);
    bob.synced(300);
    // Ops flow while the copy is written.
    alice.try_write(&lines("alice", 300, 1_500));
    let (data, copy) = (path(&cluster, "relayer"), path(&cluster, "copy.sqlite"));
    let written = report(&["backup", "--data", &data, "-o", &copy], 0);
    assert!(written["bytes"].as_u64().unwrap() > 0);
    let checked = report(&["verify", &copy], 0);
    let held = checked["rooms"][0]["ops"].as_u64().unwrap();
    assert!(held > 0, "{checked}");
    bob.synced(1_500);
    relayer.kill();
    alice.line("after the relayer died");
    alice.event("durable");

    std::fs::remove_dir_all(&data).unwrap();
    let restored = report(&["restore", &copy, "--data", &data], 0);
    assert_eq!((&restored["ops"], &restored["aside"]), (&held.into(), &Value::Array(Vec::new())));
    let relayer = cluster.relayer();
    alice.synced(1_501);
    bob.synced(1_501);
    let members = report(&["verify", "--data", &data], 0);
    let set = cluster.room("alice")["set"].clone();
    assert_eq!(members["rooms"][0]["set"], set, "also while it runs");
    alice.stop();
    bob.stop();
    relayer.stop();
    assert_converged(&cluster, &["alice", "bob"], 1_501);
}

#[tokio::test]
async fn a_restored_store_goes_by_another_id_and_the_old_one_is_kept() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    fill(&cluster, "main", 1, 3).await;
    let (data, copy) = (path(&cluster, "relayer"), path(&cluster, "copy.sqlite"));
    report(&["backup", "--data", &data, "-o", &copy], 0);
    assert_refused(&["backup", "--data", &data, "-o", &copy], 3, "is there already");
    fill(&cluster, "main", 2, 4).await;
    assert_refused(&["restore", &copy, "--data", &data, "--force"], 9, "another process uses");
    assert_refused(&["compact", "--data", &data], 9, "another process uses");
    relayer.stop();
    assert_refused(&["restore", &copy, "--data", &data], 3, "holds a store already");
    let before = id(&data, "log.sqlite");
    let restored = report(&["restore", &copy, "--data", &data, "--force"], 0);
    let aside = restored["aside"][0].as_str().unwrap();
    assert_ne!(id(&data, "log.sqlite"), before);
    assert_eq!(report(&["verify", "--data", &data], 0)["ops"], 3);
    assert_eq!(report(&["verify", aside], 0)["ops"], 7);
    let compacted = report(&["compact", "--data", &data], 0);
    assert!(compacted["after_bytes"].as_u64() <= compacted["before_bytes"].as_u64());
    assert_eq!(report(&["verify", "--data", &data], 0)["ops"], 3);
}

/// The id of a store, read by another program.
fn id(data: &str, file: &str) -> Vec<u8> {
    let read = std::process::Command::new("sqlite3")
        .arg(Path::new(data).join(file))
        .arg("SELECT hex(store) FROM meta")
        .output()
        .unwrap();
    assert!(read.status.success() && read.stdout.len() > 32, "{read:?}");
    read.stdout
}

#[tokio::test]
async fn verify_names_the_op_in_which_one_byte_was_flipped() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let chain = fill(&cluster, "main", 1, 20).await;
    relayer.stop();
    let data = path(&cluster, "relayer");
    let good = report(&["verify", "--data", &data], 0);
    assert_eq!((&good["ops"], &good["hashes"]), (&20.into(), &40.into()));
    assert_eq!((&good["signatures"], &good["links"]), (&20.into(), &19.into()));

    let store: PathBuf = Path::new(&data).join("log.sqlite");
    let mut bytes = std::fs::read(&store).unwrap();
    let text = b"flood 13";
    // Pages that were split keep old bytes that nobody reads: the op's are flipped wherever they
    // stand.
    let copies = bytes.windows(text.len()).enumerate().filter(|(_, window)| window == text);
    for at in copies.map(|(at, _)| at).collect::<Vec<_>>() {
        bytes[at] ^= 1;
    }
    std::fs::write(&store, &bytes).unwrap();
    let bad = report(&["verify", "--data", &data], 5);
    let first = bad["problems"][0].as_str().unwrap();
    assert!(first.contains(&chain[13].id().to_string()), "{bad}");
    assert_refused(&["verify", "--data", &data], 5, &chain[13].id().to_string());
    // A damaged copy is not put back.
    let elsewhere = path(&cluster, "elsewhere");
    let restore = ["restore", store.to_str().unwrap(), "--data", &elsewhere];
    assert_refused(&restore, 5, &chain[13].id().to_string());
    assert!(!Path::new(&elsewhere).exists());
    assert_refused(&["verify", "--data", &elsewhere], 3, "is missing");
}

#[tokio::test]
async fn forks_are_reported_unless_they_are_allowed() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let forks = ["one", "two"].map(|text| crdt_tests::client::op(7, "main", text).to_string());
    Server::of(&cluster.url()).post("main", &forks).await;
    let data = path(&cluster, "relayer");
    assert_eq!(report(&["verify", "--data", &data], 6)["equivocations"], 1);
    report(&["verify", "--data", &data, "--allow-forks"], 0);
    relayer.stop();
}

#[tokio::test]
async fn a_relayer_is_asked_how_it_is_and_what_it_holds() {
    let cluster = Cluster::new();
    let plain = cluster.relayer();
    fill(&cluster, "main", 1, 3).await;
    fill(&cluster, "other", 2, 1).await;
    let url = cluster.url();
    assert_eq!(report(&["health", &url], 0)["state"], "ready");
    let rooms = report(&["rooms", &url], 0);
    let mut held: Vec<(&str, u64)> = rooms["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| (room["name"].as_str().unwrap(), room["ops"].as_u64().unwrap()))
        .collect();
    held.sort_unstable();
    assert_eq!(held, [("main", 3), ("other", 1)]);
    let stats = report(&["stats", &url], 0);
    assert_eq!((&stats["ops"], &stats["rooms"]), (&4.into(), &2.into()));
    assert_eq!(stats["metrics"]["ops_total{result=\"stored\"}"], 4.0);
    let table = relayer(&["rooms", &url]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("room ") && table.contains("\nmain "), "{table}");

    plain.stop();
    let gone = report(&["health", &url], 4);
    assert_eq!(gone["state"], "unreachable");
    for command in ["rooms", "stats", "health"] {
        assert_refused(&[command, &url], 4, "cannot reach");
        assert_refused(&[command, "ftp://relay.example"], 2, "no address of a relayer");
    }
}
