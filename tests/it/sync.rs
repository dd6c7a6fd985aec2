//! `sync`: one exchange with one or two routes from end to end.

use crdt_tests::cluster::{Cluster, NOWHERE};
use crdt_tests::liar::{Liar, Lie};
use serde_json::Value;

use crate::command_line::assert_fails;
use crate::convergence::lines;
use crate::sneakernet::write;

/// Makes a node that records so many lines at a relay and ends.
fn author(cluster: &Cluster, name: &str, relay: &str, count: usize) {
    cluster.init(name);
    let mut node = cluster.node_at(name, &[relay], &[]);
    node.try_write(&lines(name, 0, count));
    node.end_well();
}

/// Makes a node that has recorded so many lines and met nobody.
fn loner(cluster: &Cluster, name: &str, count: usize) {
    cluster.init(name);
    for number in 0..count {
        write(cluster, name, &[&format!("{name} {number}")]);
    }
}

/// The report of a `sync`, whose exit code must be this.
fn sync(cluster: &Cluster, name: &str, more: &[&str], code: i32) -> Value {
    let more: Vec<&str> = more.iter().copied().chain(["--json"]).collect();
    let output = cluster.command("sync", name, &more);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = if more.contains(&"--dry-run") { "sync-preview" } else { "sync" };
    assert_eq!(report["schema"], format!("crdt-node/{schema}/1"));
    assert_eq!(report["code"], code);
    report
}

/// What a relayer holds, as a node sees it that asks for the first time.
fn held_by(cluster: &Cluster, newcomer: &str, relay: &str) -> (Value, Value) {
    cluster.init(newcomer);
    sync(cluster, newcomer, &[relay], 0);
    let room = cluster.room(newcomer);
    (room["set"].clone(), room["log"].clone())
}

#[test]
fn one_route_gets_what_it_lacks_and_gives_what_it_has() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    author(&cluster, "alice", &cluster.url(), 3);
    let held = cluster.room("alice")["ops"].clone();
    loner(&cluster, "bob", 2);
    let report = sync(&cluster, "bob", &[&cluster.url()], 0);
    let route = &report["routes"][0];
    assert_eq!((&route["state"], &route["route"]), (&"in_sync".into(), &cluster.url().into()));
    assert_eq!((&route["received"], &route["acknowledged"]), (&held, &2.into()), "{report}");
    assert!(route["bytes_in"].as_u64() > Some(0) && route["bytes_out"].as_u64() > Some(0));
    let room = cluster.room("bob");
    assert_eq!((&room["entries"], &room["unsent"]), (&5.into(), &0.into()));
    let told = &report["rooms"][0];
    assert_eq!((&told["set"], &told["log"]), (&room["set"], &room["log"]));
    assert_eq!(
        held_by(&cluster, "carol", &cluster.url()),
        (room["set"].clone(), room["log"].clone())
    );

    // Nothing is left to move.
    let report = sync(&cluster, "bob", &[&cluster.url()], 0);
    let route = &report["routes"][0];
    assert_eq!((&route["received"], &route["acknowledged"]), (&0.into(), &0.into()), "{report}");
    let told = cluster.output("sync", "bob", &[&cluster.url()]);
    assert!(told.contains("in sync") && told.contains(room["set"].as_str().unwrap()), "{told}");
    relayer.stop();
}

/// Who syncs alone, without a console, is told as well.
#[test]
fn a_key_that_was_used_elsewhere_is_warned_of() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    author(&cluster, "alice", &cluster.url(), 3);
    cluster.carry("alice", "carried");
    let mut carried = cluster.node("carried", &[]);
    carried.try_write(&lines("alice", 3, 4));
    carried.end_well();
    let output = cluster.command("sync", "alice", &[&cluster.url()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("is signed with your key and was not written here"), "{errors}");
    assert_eq!(cluster.room("alice")["entries"], 4);
    relayer.stop();
}

#[test]
fn two_relayers_with_different_halves_are_equal_after_one_sync() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let (second, url) = cluster.relayer_with("second", &[]);
    author(&cluster, "alice", &cluster.url(), 40);
    author(&cluster, "bob", &url, 30);
    loner(&cluster, "carol", 2);
    let report = sync(&cluster, "carol", &[&cluster.url(), &url], 0);
    let (a, b) = (&report["routes"][0], &report["routes"][1]);
    assert_eq!((&a["state"], &b["state"]), (&"in_sync".into(), &"in_sync".into()));
    let room = cluster.room("carol");
    assert_eq!(room["entries"], 72, "{report}");
    let got = [a, b].map(|route| route["received"].as_u64().unwrap());
    assert_eq!(got[0] + got[1] + 2, room["ops"].as_u64().unwrap(), "{report}");
    // By the comparison of both and in the stream: an op may pass twice, and not more often.
    let lacked = [got[1] + 2, got[0] + 2];
    let given = [a, b].map(|route| route["acknowledged"].as_u64().unwrap());
    for (lacked, given) in lacked.into_iter().zip(given) {
        assert!((lacked..=2 * lacked).contains(&given), "{report}");
    }
    let carol = (room["set"].clone(), room["log"].clone());
    assert_eq!(held_by(&cluster, "dave", &cluster.url()), carol);
    assert_eq!(held_by(&cluster, "erin", &url), carol);
    relayer.stop();
    second.stop();
}

#[test]
fn only_the_room_that_is_named_is_exchanged() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &["--room", "main", "--room", "side"]);
    for line in ["in main", "/join side", "in side"] {
        alice.line(line);
    }
    alice.end_well();
    cluster.init("bob");
    let report = sync(&cluster, "bob", &[&cluster.url(), "--room", "side"], 0);
    assert_eq!(report["rooms"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        (&report["rooms"][0]["room"], &report["rooms"][0]["ops"]),
        (&"side".into(), &1.into())
    );
    assert_eq!(report["routes"][0]["received"], 1);
    let rooms = cluster.json("status", "bob", &[])["rooms"].clone();
    let main = rooms.as_array().unwrap().iter().find(|room| room["room"] == "main");
    assert!(main.is_none_or(|main| main["ops"] == 0), "{rooms}");
    let report = sync(&cluster, "bob", &[&cluster.url()], 0);
    assert_eq!(
        (report["rooms"].as_array().unwrap().len(), &report["routes"][0]["received"]),
        (2, &1.into())
    );
    relayer.stop();
}

#[test]
fn a_route_that_cannot_be_reached_is_named_and_the_other_served() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    author(&cluster, "alice", &cluster.url(), 3);
    loner(&cluster, "bob", 1);
    let failed = cluster.command("sync", "bob", &[NOWHERE]);
    assert_fails(&failed, 4, &format!("cannot reach {NOWHERE}: connection refused"));
    let report = sync(&cluster, "bob", &[NOWHERE, &cluster.url()], 4);
    let states = [0, 1].map(|route: usize| report["routes"][route]["state"].clone());
    assert_eq!(states, ["unreachable", "in_sync"]);
    assert_eq!(cluster.room("bob")["entries"], 4);
    let twice = cluster.command("sync", "bob", &[NOWHERE, NOWHERE]);
    assert_fails(&twice, 2, "both routes are the same");
    assert_fails(&cluster.command("sync", "bob", &["http://x"]), 3, "is no websocket address");
    relayer.stop();
}

#[test]
fn a_home_in_use_is_left_alone() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.event("ready");
    let busy = cluster.command("sync", "alice", &[&cluster.url()]);
    assert_fails(&busy, 9, "another process uses");
    assert!(String::from_utf8_lossy(&busy.stderr).contains("/relay add"));
    alice.stop();
    relayer.stop();
}

#[test]
fn a_route_that_keeps_ops_back_is_named_with_what_is_lacking() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    author(&cluster, "alice", &cluster.url(), 1);
    cluster.init("bob");
    let liar = Liar::start(&cluster.url(), Lie::Hollow);
    let report = sync(&cluster, "bob", &[&liar.url("bob"), "--timeout", "10"], 7);
    let head = cluster.room("alice")["heads"][0].as_str().unwrap().to_owned();
    let why = report["routes"][0]["reason"].as_str().unwrap();
    assert!(
        why.contains("room main: it holds 1 ops") && why.contains("named and not sent: op "),
        "{why}"
    );
    assert_eq!(report["rooms"][0]["missing"], serde_json::json!([head]));
    assert!(liar.lies() > 0, "the liar was honest");

    // What comes over the other route is kept, and the liar is named all the same.
    liar.tell(Lie::WithholdAll);
    let routes = [&cluster.url(), &liar.url("bob"), "--timeout", "10"];
    let failed = cluster.command("sync", "bob", &routes);
    assert_fails(&failed, 7, &format!("not in sync with {} after 10 s", liar.url("bob")));
    assert_fails(&failed, 7, "it announced nothing of room main");
    assert_eq!(cluster.room("bob")["set"], cluster.room("alice")["set"]);
    relayer.stop();
}

#[test]
fn a_route_that_ends_early_is_named() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    author(&cluster, "alice", &cluster.url(), 1);
    cluster.init("bob");
    let liar = Liar::start(&cluster.url(), Lie::Absent);
    let report = sync(&cluster, "bob", &[&liar.url("bob")], 4);
    assert_eq!(report["routes"][0]["state"], "unreachable");
    relayer.stop();
}

/// A dry run says what would move, and moves nothing: not here, not there.
#[test]
fn a_dry_run_counts_and_moves_nothing() {
    let cluster = Cluster::new();
    let (relayer, relay) = cluster.relayer_with("relayer", &[]);
    author(&cluster, "alice", &relay, 30);
    loner(&cluster, "bob", 7);
    let preview = sync(&cluster, "bob", &[&relay, "--dry-run"], 0);
    let room = &preview["routes"][0]["rooms"][0];
    let (here, there) = (cluster.room("bob")["ops"].clone(), cluster.room("alice")["ops"].clone());
    assert_eq!((&room["send"], &room["receive"]), (&here, &there), "{preview}");
    // Nothing has changed, so it says the same again; and after a synchronisation that all is
    // there.
    assert_eq!(sync(&cluster, "bob", &[&relay, "--dry-run"], 0), preview);
    sync(&cluster, "bob", &[&relay], 0);
    let after = sync(&cluster, "bob", &[&relay, "--dry-run"], 0);
    let room = &after["routes"][0]["rooms"][0];
    assert_eq!((&room["send"], &room["receive"]), (&0.into(), &0.into()), "{after}");
    relayer.stop();
    let gone = sync(&cluster, "bob", &[&relay, "--dry-run"], 4);
    assert!(gone["routes"][0]["reason"].is_string(), "{gone}");
}
