//! Streams of events: live, resumed, bounded.

use crdt_tests::cluster::Cluster;
use crdt_tests::http::{Events, Server};
use serde_json::Value;

use super::{ROOM, chain, relayer};

/// Streams that may be open at one time.
const STREAMS_MAX: usize = 256;

async fn stream(server: &Server, more: &str, from: Option<u64>) -> Events {
    let path = format!("/v1/rooms/{ROOM}/events{more}");
    let from = from.map(|from| from.to_string());
    let headers: Vec<(&str, &str)> =
        from.iter().map(|from| ("last-event-id", from.as_str())).collect();
    server.events(&path, &headers).await.unwrap()
}

fn id(envelope: &str) -> Value {
    serde_json::from_str::<Value>(envelope).unwrap()["id"].clone()
}

#[tokio::test]
async fn a_stream_misses_nothing_and_repeats_nothing_across_restarts() {
    let cluster = Cluster::new();
    let ops = chain(1, 1_000);
    let mut sent = 0;
    let (mut come, mut from): (Vec<Value>, Option<u64>) = (Vec::new(), None);
    for round in 0..3 {
        let (relayer, server) = relayer(&cluster);
        if round == 0 {
            server.post(ROOM, &ops[..1]).await;
            sent = 1;
        }
        // The first begins at the start, whoever comes again where it was.
        let mut events = stream(&server, "?after=0", from).await;
        for _ in 0..4 {
            server.post(ROOM, &ops[sent..sent + 80]).await;
            sent += 80;
        }
        // Some of what was sent comes only after the restart.
        let until = if round == 2 { sent } else { sent - 100 };
        while come.len() < until {
            let event = events.next_of("op").await;
            assert_eq!(event.data["position"], event.id);
            assert_eq!(event.id, come.len() as u64 + 1);
            come.push(event.data["op"]["id"].clone());
            from = Some(event.id);
        }
        relayer.kill();
    }
    assert_eq!(come, ops[..sent].iter().map(|op| id(op)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_tells_the_set_at_the_start_and_once_it_has_changed() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let ops = chain(1, 12);
    server.post(ROOM, &ops[..5]).await;
    let mut events = stream(&server, "", None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.event.as_str(), first.id, &first.data["ops"]), ("room", 5, &5.into()));
    for op in &ops[5..] {
        server.post(ROOM, std::slice::from_ref(op)).await;
    }
    let mut come = 5;
    let last = loop {
        let event = events.next().await.unwrap();
        if event.event == "op" {
            come += 1;
            assert_eq!(event.id, come, "only what is new");
        } else if event.data["ops"] == 12 {
            break event.data;
        }
    };
    let room = server.get(&format!("/v1/rooms/{ROOM}")).await.json();
    for same in ["ops", "entries", "set", "heads"] {
        assert_eq!(last[same], room[same], "{same}");
    }
    relayer.stop();
}

#[tokio::test]
async fn so_many_streams_and_no_more_and_who_leaves_makes_room() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    server.post(ROOM, &chain(1, 1)).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(stream(&server, "", None).await);
    }
    let path = format!("/v1/rooms/{ROOM}/events");
    let refused = server.get(&path).await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"busy".into()));
    assert!(refused.headers.contains_key("retry-after"));
    // Each of them gets what comes.
    server.post(ROOM, &chain(2, 1)).await;
    for stream in &mut streams {
        assert_eq!(stream.next_of("op").await.id, 2);
    }
    drop(streams);
    let mut again = loop {
        if let Ok(stream) = server.events(&path, &[]).await {
            break stream;
        }
    };
    assert_eq!(again.next_of("room").await.data["ops"], 2);
    relayer.stop();
}

#[tokio::test]
async fn streams_that_nobody_reads_cost_no_memory() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let author = crdt_tests::flood::Author::new(1, ROOM);
    let ops: Vec<String> =
        author.large_chain(250, 60_000).iter().map(ToString::to_string).collect();
    for batch in ops.chunks(15) {
        assert_eq!(server.post(ROOM, batch).await.status, 200);
    }
    let before = relayer.resident_kib();
    let mut deaf = Vec::new();
    for _ in 0..100 {
        deaf.push(stream(&server, "?after=0", None).await);
    }
    // 15 MB wait for each of them; who reads gets all of it meanwhile.
    let mut events = stream(&server, "?after=0", None).await;
    while events.next_of("op").await.id < 250 {}
    let grown = relayer.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    drop(deaf);
    relayer.stop();
}
