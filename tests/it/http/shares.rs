//! What one address may hold of what HTTP serves at a time.

use crdt_tests::cluster::Cluster;
use crdt_tests::http::Server;

use super::{ROOM, chain};

/// Streams that one address may have open: an eighth of all.
const OWN_STREAMS_MAX: usize = 32;

/// A relayer that counts connections from this machine like any others.
const COUNTED: [&str; 5] = [
    "--trust-loopback=false",
    "--max-connections-per-address",
    "200",
    "--max-handshakes-per-address",
    "1000/s",
];

#[tokio::test]
async fn one_address_cannot_hold_all_streams() {
    let cluster = Cluster::new();
    let (relayer, url) = cluster.relayer_with("relayer", &COUNTED);
    let server = Server::of(&url);
    server.post(ROOM, &chain(1, 1)).await;
    let path = format!("/v1/rooms/{ROOM}/events");
    let (greedy, other) = (server.asked_from(2), server.asked_from(3));
    let mut held = Vec::new();
    for _ in 0..OWN_STREAMS_MAX {
        held.push(greedy.events(&path, &[]).await.unwrap());
    }
    let refused = greedy.get(&path).await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"busy".into()));
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(greedy.get("/v1/rooms").await.status, 200, "streams are no answers");
    let mut streams = Vec::new();
    for _ in 0..OWN_STREAMS_MAX {
        streams.push(other.events(&path, &[]).await.unwrap());
    }
    // Who leaves makes room for itself.
    drop(held);
    let mut again = loop {
        if let Ok(stream) = greedy.events(&path, &[]).await {
            break stream;
        }
    };
    assert_eq!(again.next_of("room").await.data["ops"], 1);
    relayer.stop();
}
