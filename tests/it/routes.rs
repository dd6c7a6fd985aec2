//! A node reaches its rooms by every route it is given: relays, other nodes, nodes that dial it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use crdt_tests::cluster::{Cluster, NOWHERE};
use crdt_tests::process::{Process, WAIT_MAX};
use serde_json::Value;

use crate::command_line::assert_fails;
use crate::convergence::{assert_converged, lines};

/// Skips to the answer to a line of the console.
fn answer(node: &mut Process, line: &str) -> Value {
    node.line(line);
    node.event("answer")
}

/// The links that the running node names, by name.
pub(crate) fn links(cluster: &Cluster, name: &str) -> serde_json::Map<String, Value> {
    let peers = cluster.json("peers", name, &[]);
    assert_eq!(peers["running"], true);
    peers["links"].as_object().unwrap().clone()
}

/// The links that a running node names, once they are as wanted.
pub(crate) fn links_once(
    cluster: &Cluster,
    name: &str,
    wanted: impl Fn(&serde_json::Map<String, Value>) -> bool,
) -> serde_json::Map<String, Value> {
    let start = Instant::now();
    loop {
        let peers = cluster.json("peers", name, &[]);
        let links = peers["links"].as_object().unwrap();
        if peers["running"] == true && wanted(links) {
            return links.clone();
        }
        assert!(start.elapsed() < WAIT_MAX, "{name}: {peers}");
    }
}

/// A link of a running node, once it is as wanted.
pub(crate) fn link_once(
    cluster: &Cluster,
    name: &str,
    url: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    links_once(cluster, name, |links| wanted(&links[url]))[url].clone()
}

#[test]
fn two_nodes_without_a_relayer_replicate_both_ways() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (mut alice, url) = cluster.listening_node("alice", &["--headless"]);
    let mut bob = cluster.node_by("bob", &["--peer", &url, "--headless"]);
    alice.try_write(&lines("alice", 0, 100));
    bob.try_write(&lines("bob", 0, 100));
    alice.synced(200);
    bob.synced(200);

    let of_bob = links(&cluster, "bob");
    let dialled = &of_bob[&url];
    assert_eq!((&dialled["kind"], &dialled["state"]), (&"peer".into(), &"live".into()));
    let room = &dialled["rooms"][0];
    assert_eq!((&room["room"], &room["state"]), (&"main".into(), &"live".into()));
    assert!(dialled["since"].as_str().unwrap().ends_with('Z'), "{dialled}");
    let counts = (&room["same"], &room["ahead"], &room["behind"], &room["op"]);
    assert_eq!(counts, (&true.into(), &0.into(), &0.into(), &Value::Null), "{room}");
    let text = cluster.output("peers", "bob", &[]);
    assert!(text.starts_with(&format!("peer   {url}  live since ")), "{text}");
    assert!(text.contains("   in sync   0 ahead  0 behind"), "{text}");
    assert_eq!(dialled["side"], "dialled");
    assert!(dialled["agent"].as_str().unwrap().starts_with("crdt-node/"), "{dialled}");
    let of_alice = links(&cluster, "alice");
    let (name, accepted) = of_alice.iter().next().unwrap();
    assert_eq!(accepted["side"], "accepted");
    assert!(name.starts_with("crdt-node/"), "{name}");
    assert_eq!(cluster.json("status", "alice", &[])["links"], Value::Object(of_alice.clone()));

    bob.stop();
    alice.event_with("link", |event| event["state"] == "gone" && event["peer"] == *name);
    assert!(links(&cluster, "alice").is_empty(), "who has gone is no route");
    alice.stop();
    assert_converged(&cluster, &["alice", "bob"], 200);
    let peers = cluster.json("peers", "bob", &[]);
    assert_eq!(peers["running"], false);
    let configured = &peers["links"]["ws://127.0.0.1:8080/websocket"];
    assert_eq!(configured["state"], "not running");
}

/// In a line a - b - c, a and c write, and b passes on.
fn forward(cluster: &Cluster, nodes: [Process; 3]) {
    let [mut a, mut b, mut c] = nodes;
    a.try_write(&lines("a", 0, 10_000));
    c.try_write(&lines("c", 0, 10_000));
    for node in [&mut a, &mut b, &mut c] {
        node.synced(20_000);
    }
    [a, b, c].into_iter().for_each(Process::stop);
    assert_converged(cluster, &["a", "b", "c"], 20_000);
}

#[test]
fn a_node_that_listens_passes_on_between_two_that_dial_it() {
    let cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        cluster.init(name);
    }
    let (b, url) = cluster.listening_node("b", &["--headless"]);
    let end = |name| cluster.node_by(name, &["--peer", &url, "--headless"]);
    forward(&cluster, [end("a"), b, end("c")]);
}

#[test]
fn a_node_that_dials_two_passes_on_between_them() {
    let cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        cluster.init(name);
    }
    let (a, of_a) = cluster.listening_node("a", &["--headless"]);
    let (c, of_c) = cluster.listening_node("c", &["--headless"]);
    let b = cluster.node_by("b", &["--peer", &of_a, "--peer", &of_c, "--headless"]);
    forward(&cluster, [a, b, c]);
}

#[test]
fn two_nodes_that_dial_each_other_hold_one_log() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (mut alice, of_alice) = cluster.listening_node("alice", &["--headless"]);
    let (mut bob, of_bob) = cluster.listening_node("bob", &["--peer", &of_alice, "--headless"]);
    alice.line(&format!("/peer add {of_bob}"));
    alice.event_with("link", |event| event["peer"] == of_bob && event["state"] == "connected");
    alice.try_write(&lines("alice", 0, 100));
    bob.try_write(&lines("bob", 0, 100));
    alice.synced(200);
    bob.synced(200);
    alice.stop();
    bob.stop();
    assert_converged(&cluster, &["alice", "bob"], 200);
}

#[test]
fn routes_are_added_and_removed_while_a_node_runs() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (mut bob, url) = cluster.listening_node("bob", &["--headless"]);
    let mut alice = cluster.node_by("alice", &["--headless"]);
    alice.line("before");
    alice.event("durable");
    alice.line(&format!("/peer add {url}"));
    alice.event_with("link", |event| event["peer"] == url && event["state"] == "connected");
    bob.synced(1);
    let twice = answer(&mut alice, &format!("/peer add {url}"));
    assert!(twice["message"].as_str().unwrap().contains("is a peer already"), "{twice}");
    let other = answer(&mut alice, &format!("/relay remove {url}"));
    assert!(other["message"].as_str().unwrap().contains("/peer remove"), "{other}");
    let state = answer(&mut alice, "/peer")["links"][&url]["state"].clone();
    assert!(["catching-up", "live"].contains(&state.as_str().unwrap()), "{state}");
    assert_eq!(answer(&mut alice, "/relay")["links"], serde_json::json!({}));

    assert_eq!(answer(&mut alice, &format!("/peer remove {url}"))["ok"], true);
    bob.event_with("link", |event| event["state"] == "gone");
    assert!(links(&cluster, "alice").is_empty());
    let again = answer(&mut alice, &format!("/peer remove {url}"));
    assert_eq!(again["ok"], false);
    alice.line("apart");
    alice.event("durable");
    assert_eq!(cluster.room("bob")["entries"], 1);

    assert_eq!(answer(&mut alice, &format!("/peer add {url}"))["ok"], true);
    bob.synced(2);
    let wrong = answer(&mut alice, "/peer add http://x");
    assert!(wrong["message"].as_str().unwrap().contains("no websocket address"), "{wrong}");
    alice.stop();
    bob.stop();
    let config = fs::read_to_string(cluster.home("alice").join("config.toml")).unwrap();
    assert!(!config.contains(&url), "a route of one run is not configured");
}

#[test]
fn a_pipe_ends_well_with_a_dead_relay_and_a_living_peer() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (bob, url) = cluster.listening_node("bob", &["--headless"]);
    let mut alice = cluster.node_by("alice", &["--relay", NOWHERE, "--peer", &url]);
    alice.try_write(&lines("alice", 0, 100));
    alice.end_input();
    let events = alice.rest();
    let relayed = |event: &&Value| event["event"] == "relayed";
    assert!(events.iter().any(|event| event["state"] == "down" && event["relay"] == NOWHERE));
    assert!(events.iter().filter(relayed).count() > 0);
    assert!(events.iter().filter(relayed).all(|event| event["peer"] == url));
    alice.end_well();
    bob.stop();
    assert_converged(&cluster, &["alice", "bob"], 100);
}

#[test]
fn a_pipe_ends_well_when_the_only_route_is_a_node_that_dialled() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (mut alice, url) = cluster.listening_node("alice", &[]);
    let bob = cluster.node_by("bob", &["--peer", &url, "--headless"]);
    alice.try_write(&lines("alice", 0, 100));
    alice.end_input();
    let events = alice.rest();
    let relayed = events.iter().find(|event| event["event"] == "relayed").unwrap();
    assert!(relayed["peer"].as_str().unwrap().starts_with("crdt-node/"), "{relayed}");
    alice.end_well();
    bob.stop();
    assert_converged(&cluster, &["alice", "bob"], 100);
}

#[test]
fn a_node_without_a_route_keeps_its_lines_and_says_why_nobody_has_them() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let alone = cluster.command("send", "alice", &["hello", "--no-relay", "--timeout", "0"]);
    assert_fails(&alone, 4, "no relay or peer is configured");
    let more = ["again", "--no-relay", "--listen", "127.0.0.1:0", "--timeout", "0"];
    assert_fails(&cluster.command("send", "alice", &more), 4, "nobody has connected");
    assert_eq!(cluster.notes("alice", None), ["hello", "again"]);
}

#[test]
fn an_address_in_use_is_refused_before_anything_else_happens() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let more = ["hello", "--no-relay", "--listen", &address];
    let refused = cluster.command("send", "alice", &more);
    assert_fails(&refused, 4, &format!("cannot listen on {address}"));
    assert!(refused.stdout.is_empty());
    let rooms = cluster.json("status", "alice", &[])["rooms"].clone();
    assert_eq!(rooms, serde_json::json!([]));
}

#[test]
fn who_listens_for_other_machines_is_told_that_others_can_read_it() {
    let cluster = Cluster::new();
    cluster.init("alice");
    for (address, warned) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let mut alice =
            cluster.node_by("alice", &["--listen", address, "--insecure-plain", "--headless"]);
        let listening = alice.event("listening");
        assert_eq!(listening["warning"].is_string(), warned, "{listening}");
        alice.stop();
    }
}

#[test]
fn a_node_that_dials_itself_is_told_so() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let (mut alice, url) = cluster.listening_node("alice", &["--headless"]);
    alice.line(&format!("/peer add {url}"));
    // It is told as who dials and as who listens, in either order.
    let dialled = |event: &Value| event["peer"] == *url && event["state"] != "connected";
    let refused = alice.event_with("link", dialled);
    assert_eq!(refused["state"], "refused");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("leads to this very store"), "{reason}");
    alice.stop();
}

/// Answers one request after another with this status.
fn doorkeeper(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/websocket", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            let mut read = 0;
            while !request[..read].ends_with(b"\r\n\r\n") {
                read += stream.read(&mut request[read..]).unwrap();
            }
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    url
}

#[test]
fn who_is_not_let_in_is_refused_and_a_server_that_fails_is_only_down() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let (closed, broken) = (doorkeeper("403 Forbidden"), doorkeeper("503 Service Unavailable"));
    let mut alice = cluster.node_by("alice", &["--relay", &closed, "--headless"]);
    let refused = alice.event_with("link", |event| event["relay"] == closed);
    assert_eq!(
        (&refused["state"], &refused["reason"]),
        (&"refused".into(), &"the other side answers HTTP 403 Forbidden".into())
    );
    alice.line(&format!("/relay add {broken}"));
    let down = alice.event_with("link", |event| event["relay"] == broken);
    assert_eq!(down["state"], "down");
    assert_eq!(links(&cluster, "alice")[&closed]["state"], "refused");
    alice.stop();
}

#[test]
fn offline_means_that_nobody_gets_in_either() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (mut alice, url) = cluster.listening_node("alice", &["--headless"]);
    let mut bob = cluster.node_by("bob", &["--peer", &url, "--headless"]);
    bob.synced(0);
    answer(&mut alice, "/offline");
    bob.event_with("link", |event| event["state"] == "down");
    bob.event_with("link", |event| event["reason"].as_str().unwrap().contains("HTTP 503"));
    bob.line("written apart");
    bob.event("durable");
    answer(&mut alice, "/online");
    alice.synced(1);
    alice.stop();
    bob.stop();
}

#[test]
fn a_configuration_of_before_is_read_and_a_new_one_says_what_was_asked_for() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let config = |name: &str| cluster.home(name).join("config.toml");
    let old = format!("name = \"alice\"\nrelays = [\"{NOWHERE}\"]\nrooms = [\"main\"]\n");
    fs::write(config("alice"), old).unwrap();
    let peers = cluster.json("peers", "alice", &[]);
    assert_eq!(peers["links"][NOWHERE]["kind"], "relay");
    let mut alice = cluster.node_at("alice", &[], &["--headless"]);
    alice.event_with("link", |event| event["relay"] == NOWHERE);
    alice.stop();

    cluster.json("init", "bob", &["--peer", NOWHERE, "--listen", "127.0.0.1:0"]);
    let text = fs::read_to_string(config("bob")).unwrap();
    assert!(text.contains("relays = []"), "{text}");
    let configured = cluster.json("peers", "bob", &[]);
    assert_eq!(configured["listening"], "ws://127.0.0.1:0/websocket");
    let mut bob = cluster.node_at("bob", &[], &["--headless"]);
    let url = bob.event("listening")["url"].clone();
    bob.event_with("link", |event| event["peer"] == NOWHERE);
    let running = cluster.json("peers", "bob", &[]);
    assert_eq!(running["listening"], url);
    assert!(running.as_object().unwrap().keys().eq(configured.as_object().unwrap().keys()));
    bob.stop();
    cluster.json("init", "carol", &[]);
    let text = fs::read_to_string(config("carol")).unwrap();
    assert!(text.contains("ws://127.0.0.1:8080/websocket"), "{text}");
    fs::write(config("carol"), text + "listen = \"here\"\n").unwrap();
    assert_fails(&cluster.command("run", "carol", &[]), 3, "config.toml");
}

#[test]
fn a_room_that_a_peer_joins_later_is_kept_by_both_from_then_on() {
    let cluster = Cluster::new();
    cluster.init("alice");
    cluster.init("bob");
    let (mut bob, url) = cluster.listening_node("bob", &["--headless"]);
    let rooms = ["--room", "main", "--room", "side", "--peer", &url, "--headless"];
    let mut alice = cluster.node_by("alice", &rooms);
    alice.event("problem");
    answer(&mut alice, "/join side");
    alice.line("from alice");
    answer(&mut bob, "/join side");
    bob.line("from bob");
    for node in [&mut alice, &mut bob] {
        node.event_with("synced", |event| event["room"] == "side" && event["entries"] == 2);
    }
    alice.stop();
    bob.stop();
}
