//! A node that listens decides who comes in, and is not shouted down by those who knock.

use std::time::Instant;

use crdt_tests::client::{Client, Said, hello, sub};
use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;
use serde_json::Value;

use crate::command_line::assert_fails;
use crate::convergence::{assert_converged, lines};
use crate::routes::{link_once, links, links_once};

#[test]
fn a_node_lets_in_only_the_keys_it_is_given_and_tells_the_others_so() {
    let cluster = Cluster::new();
    let [_, bob_key, eve_key] = ["alice", "bob", "eve"].map(|name| cluster.init(name));
    let (mut alice, url) = cluster.listening_node("alice", &["--allow", &bob_key, "--headless"]);
    alice.try_write(&lines("alice", 0, 100));
    let mut eve = cluster.node_by("eve", &["--peer", &url, "--headless"]);
    let mut bob = cluster.node_by("bob", &["--peer", &url, "--headless"]);
    bob.try_write(&lines("bob", 0, 100));
    alice.synced(200);
    bob.synced(200);

    let refused = eve.event_with("link", |event| event["state"] == "refused");
    let reason = format!("the peer lets in only keys it knows; give it yours: {eve_key}");
    assert_eq!(
        (&refused["peer"], &refused["reason"]),
        (&url.clone().into(), &reason.clone().into())
    );
    let link = link_once(&cluster, "eve", &url, |link| link["state"] == "refused");
    assert_eq!(link["reason"], reason);
    let text = cluster.output("peers", "eve", &[]);
    assert!(text.contains(&format!("peer   {url}  refused since ")), "{text}");
    assert!(text.trim_end().ends_with(&reason), "{text}");
    let of_alice = links(&cluster, "alice");
    assert_eq!(of_alice.len(), 1, "who is not let in is no link: {of_alice:?}");

    eve.line("from eve");
    eve.event("durable");
    eve.stop();
    bob.stop();
    alice.stop();
    assert_converged(&cluster, &["alice", "bob"], 200);
    assert_eq!(cluster.notes("eve", None), ["from eve"]);
}

/// All that is said to somebody until the connection ends, with the close code and reason.
async fn heard(client: &mut Client) -> (Vec<Value>, u16, String) {
    let mut said = Vec::new();
    loop {
        match client.hear().await {
            Said::Message(message) => said.push(message),
            Said::Closed(code, reason) => return (said, code, reason),
            Said::Lost => return (said, 0, "no close frame".to_owned()),
        }
    }
}

#[tokio::test]
async fn who_proves_no_key_is_told_nothing_but_that() {
    let cluster = Cluster::new();
    let key = cluster.init("alice");
    let (mut alice, url) = cluster.listening_node("alice", &["--allow", &key, "--headless"]);
    alice.line("for members");
    let op = alice.event("durable")["op"].as_str().unwrap().to_owned();
    let get = format!(
        "{{\"type\":\"get\",\"room\":\"{}\",\"ids\":[\"{op}\"]}}",
        crdt_tests::client::room_id("main")
    );
    for asked in [sub("main"), get] {
        let mut client = Client::connect(&url).await;
        client.say(&hello(9)).await;
        client.say(&asked).await;
        let (said, code, reason) = heard(&mut client).await;
        assert_eq!((code, reason.as_str()), (1008, "auth"));
        let kinds: Vec<&str> = said.iter().map(|m| m["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["hello", "err"]);
        assert_eq!((&said[0]["auth"], &said[1]["code"]), (&true.into(), &"auth".into()));
    }
    alice.stop();
}

#[test]
fn whom_to_let_in_is_configured_and_needs_a_door() {
    let cluster = Cluster::new();
    let key = cluster.init("alice");
    let alone = cluster.command("run", "alice", &["--no-relay", "--allow", &key]);
    assert_fails(&alone, 2, "it needs --listen ADDR");
    let more = ["--no-relay", "--listen", "127.0.0.1:0", "--allow", "nobody"];
    assert_fails(&cluster.command("run", "alice", &more), 2, "allow nobody");

    let config = cluster.home("alice").join("config.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    assert!(!before.contains("allow"), "{before}");
    std::fs::write(&config, format!("allow = [\"{key}\"]\n{before}")).unwrap();
    cluster.init("eve");
    let (alice, url) = cluster.listening_node("alice", &["--headless"]);
    let mut eve = cluster.node_by("eve", &["--peer", &url, "--headless"]);
    eve.event_with("link", |event| event["state"] == "refused");
    eve.stop();
    alice.stop();
}

/// A node that prints for people; returns where it listens.
fn shown(cluster: &Cluster, name: &str) -> (Process, String) {
    let mut program = cluster.program(name);
    program.args(["run", name, "--headless", "--no-relay", "--listen", "127.0.0.1:0", "--home"]);
    program.arg(cluster.home(name));
    let mut node = Process::spawn(program);
    loop {
        let line = node.next_event();
        if let Some((_, url)) = line.as_str().unwrap().split_once("others dial ") {
            return (node, url.to_owned());
        }
    }
}

#[tokio::test]
async fn strangers_who_come_and_go_do_not_fill_the_screen() {
    const VISITS: u8 = 40;
    let cluster = Cluster::new();
    cluster.init("alice");
    let start = Instant::now();
    let (mut alice, url) = shown(&cluster, "alice");
    for store in 0..VISITS {
        let mut visitor = Client::introduced(&url, store).await;
        // Let in, asked, and answered for what it does wrong.
        visitor.message("sub").await;
        visitor.say("no message").await;
        visitor.message("err").await;
    }
    links_once(&cluster, "alice", serde_json::Map::is_empty);
    alice.line("the last line");
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.contains("the last line")) {
        lines.push(alice.next_event().as_str().unwrap().to_owned());
    }
    let told = lines.iter().filter(|line| line.contains("peer")).count();
    let sums = usize::try_from(start.elapsed().as_secs() / 60).unwrap();
    assert!((1..=1 + sums).contains(&told), "{lines:?}");
    alice.stop();
}

/// Programs are told of each.
#[tokio::test]
async fn each_who_comes_and_goes_is_told_to_programs() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let (mut alice, url) = cluster.listening_node("alice", &["--headless"]);
    for store in 0..5 {
        let mut visitor = Client::introduced(&url, store).await;
        visitor.message("sub").await;
        let came = alice.event_with("link", |event| event["state"] == "connected");
        drop(visitor);
        let left = alice.event_with("link", |event| event["state"] == "gone");
        assert_eq!((&left["peer"], &left["side"]), (&came["peer"], &"accepted".into()));
    }
    alice.stop();
}
