//! What a relayer says of itself: as much as is wanted, never more than somebody can read.

use std::net::TcpStream;

use crdt_tests::client::{Client, op, ops, sub};
use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;
use serde_json::Value;

/// A relayer with these arguments, and its first line.
fn relayer(cluster: &Cluster, more: &[&str]) -> (Process, Value) {
    let data = cluster.path().join("relayer");
    let arguments = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut relayer = Process::start("crdt-relayer", [&arguments[..], more].concat());
    let first = relayer.next_event();
    (relayer, first)
}

#[tokio::test]
async fn programs_are_told_of_each_connection_and_its_end_with_time_and_level() {
    let cluster = Cluster::new();
    let (mut relayer, ready) = relayer(&cluster, &["--log-format", "json", "--log-level=debug"]);
    assert_eq!((&ready["event"], &ready["level"]), (&"ready".into(), &"info".into()));
    assert!(ready["time"].as_str().unwrap().ends_with('Z'), "{ready}");
    let client = Client::introduced(ready["url"].as_str().unwrap(), 9).await;
    let came = relayer.event("connect");
    assert_eq!(came["level"], "debug");
    drop(client);
    let left = relayer.event("disconnect");
    assert_eq!((&left["peer"], &left["refused"]), (&came["peer"], &false.into()));
    assert!(!left["reason"].as_str().unwrap().is_empty(), "{left}");
    relayer.signal("TERM");
    let last: Vec<String> =
        relayer.rest().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(last, ["stopping", "stopped"]);
}

/// An operator reads of what matters: who comes and goes is no news, a fork is.
#[tokio::test]
async fn people_read_lines_of_what_matters() {
    let cluster = Cluster::new();
    let (mut relayer, first) = relayer(&cluster, &[]);
    let first = first.as_str().unwrap();
    let (before, rest) = first.split_once(" INFO  relayer on ").unwrap();
    assert!(before.ends_with('Z') && !before.contains(' '), "{first}");
    let url = rest.split(' ').next().unwrap();
    let mut client = Client::introduced(url, 9).await;
    client.say(&sub("main")).await;
    let forks = ["one", "two"].map(|text| op(7, "main", text).to_string());
    client.say(&ops("main", &forks.each_ref().map(String::as_str))).await;
    client.message("ack").await;
    let said = |line: &Value| line.as_str().unwrap().split_once(' ').unwrap().1.to_owned();
    let warning = said(&relayer.next_event());
    assert!(warning.starts_with("WARN  author ") && warning.contains("two different ops"));
    drop(client);
    relayer.signal("TERM");
    let rest: Vec<String> = relayer.rest().iter().map(said).collect();
    assert_eq!(rest, ["INFO  stopping", "INFO  stopped"]);
}

#[test]
fn a_flood_that_is_turned_away_is_one_line() {
    const KNOCKS: u64 = 50;
    let cluster = Cluster::new();
    let strict = ["--json", "--trust-loopback=false", "--max-connections-per-address", "1"];
    let (mut relayer, ready) =
        relayer(&cluster, &[&strict[..], &["--max-handshakes-per-address", "1000/s"]].concat());
    let address = ready["addr"].as_str().unwrap();
    let held = TcpStream::connect(address).unwrap();
    let knocks: Vec<TcpStream> =
        (0..KNOCKS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (mut told, mut lines) = (0, 0);
    while told < KNOCKS {
        let event = relayer.event("turned-away");
        assert_eq!(
            (&event["limit"], &event["level"]),
            (&"ConnectionsOfAddress".into(), &"warn".into())
        );
        told += event["count"].as_u64().unwrap();
        lines += 1;
    }
    assert_eq!(told, KNOCKS);
    assert!(lines <= 2, "a flood across the moment of telling is told of twice");
    drop((held, knocks));
    relayer.stop();
}
