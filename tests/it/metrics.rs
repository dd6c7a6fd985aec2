//! What a relayer counts is what happened, and what operators watch is what it counts.

mod watched;

use std::future::pending;
use std::time::Duration;

use crdt_core::id::{OpId, Position, SetDigest};
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::Message;
use crdt_core::op::Op;
use crdt_tests::client::{Client, hello, op, ops, room_id, sub};
use crdt_tests::cluster::Cluster;
use crdt_tests::flood::Author;
use crdt_tests::http::Server;
use crdt_tests::light::Light;
use crdt_tests::load::HERE;
use crdt_tests::metrics::Metrics;
use crdt_tests::process::Process;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::interval;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message as Frame;

const ROOM: &str = "main";

/// Time from one grant of credit to the next.
const GRANT_EVERY: Duration = Duration::from_millis(20);

fn relayer(cluster: &Cluster) -> (Process, Server) {
    let relayer = cluster.relayer();
    let server = Server::of(&cluster.url());
    (relayer, server)
}

/// Sends ops and waits until each is judged.
async fn judged(client: &mut Client, envelopes: &[String]) {
    let envelopes: Vec<&str> = envelopes.iter().map(String::as_str).collect();
    client.say(&ops(ROOM, &envelopes)).await;
    client.message("ack").await;
}

#[tokio::test]
async fn every_op_is_counted_by_what_became_of_it() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let none = Metrics::of(&server).await;
    for result in ["stored", "known", "parked", "rejected"] {
        let series = format!("ops_total{{result=\"{result}\"}}");
        assert!(none.text.contains(&format!("crdt_relayer_{series} 0\n")), "{}", none.text);
    }
    let chain: Vec<String> = Author::new(1, ROOM).chain(5).iter().map(Op::to_string).collect();
    let forks = ["one", "two", "three"].map(|text| op(7, ROOM, text));
    let forged = forks[0].to_string().replace("\"one\"", "\"eno\"");
    let text = forks[0].to_string();
    let (before, signature) = text.split_once("\"sig\":\"").unwrap();
    let turned = signature.split_at(64);
    let signed_otherwise = format!("{before}\"sig\":\"{}{}", "0".repeat(64), turned.1);

    let mut client = Client::introduced(&cluster.url(), 9).await;
    client.say(&sub(ROOM)).await;
    judged(&mut client, &chain[2..3]).await;
    judged(&mut client, &chain).await;
    judged(&mut client, &chain[..2]).await;
    judged(&mut client, &[forged]).await;
    judged(&mut client, &[signed_otherwise]).await;
    judged(&mut client, &forks.each_ref().map(Op::to_string)).await;

    // What is looked at when somebody asks may be from before.
    let metrics = Metrics::once(&server, "crdt_relayer_heads{room=\"main\"}", 4).await;
    let of = |series: &str| metrics.value(series);
    assert_eq!(of("ops_total{result=\"stored\"}"), 8, "{}", metrics.text);
    // One of the five waited, and two came once more.
    assert_eq!(of("ops_total{result=\"known\"}"), 3);
    assert_eq!(of("ops_total{result=\"parked\"}"), 1);
    assert_eq!(of("ops_total{result=\"rejected\"}"), 2);
    assert_eq!(
        metrics.beginning("crdt_relayer_ops_rejected_total"),
        [
            ("crdt_relayer_ops_rejected_total{reason=\"data\"}", 1),
            ("crdt_relayer_ops_rejected_total{reason=\"sig\"}", 1)
        ]
    );
    // The second and third of the three are different ops of one place: one fork of the chain.
    assert_eq!(of("equivocations_total"), 1);
    assert_eq!(of("verify_seconds_count"), 9, "a known op and a wrong hash cost no signature");
    let data: usize =
        Author::new(1, ROOM).chain(5).iter().chain(&forks).map(|op| op.data().len()).sum();
    assert_eq!((of("op_bytes_count"), of("op_bytes_sum")), (8, data as u64));
    let commits = of("commit_seconds_count");
    assert!((2..=4).contains(&commits), "of three messages something was kept: {commits}");
    assert_eq!(of("fanout_seconds_count"), commits);
    assert_eq!((of("rooms"), of("heads{room=\"main\"}")), (1, 4));
    assert_eq!(of("ready"), 1);
    assert_eq!(of("catchup_ops_total"), 0);
    // The client and who asks; that those who asked before have hung up is noticed a moment later.
    Metrics::once(&server, "crdt_relayer_connections", 2).await;

    let mut late = Client::introduced(&cluster.url(), 10).await;
    late.say(&sub(ROOM)).await;
    late.message("heads").await;
    let metrics = Metrics::of(&server).await;
    assert_eq!(metrics.value("catchup_ops_total"), 8);
    let files = ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"];
    let sizes =
        files.map(|file| cluster.path().join("relayer").join(file).metadata().unwrap().len());
    assert_eq!(metrics.value("store_bytes"), sizes.iter().sum::<u64>());
    assert!(metrics.value("disk_free_bytes") > 0);
    relayer.stop();
}

/// It grants credit all the time, so what it is sent is bounded by nothing but its place.
#[tokio::test]
async fn a_member_that_reads_nothing_is_dropped_and_counted() {
    let cluster = Cluster::new();
    let unlimited = ["--max-stall-time", "1s", "--max-bytes-per-key", "none"];
    let (relayer, url) = cluster.relayer_with("relayer", &unlimited);
    let server = Server::of(&url);
    let mut writer = Client::introduced(&url, 9).await;
    let chain = Author::new(1, ROOM).large_chain(400, 60_000);
    for part in chain.chunks(10) {
        judged(&mut writer, &part.iter().map(Op::to_string).collect::<Vec<_>>()).await;
    }
    drop(writer);

    let mut deaf = Light::open(server.address(), HERE).await.unwrap();
    deaf.say(&hello(10)).await.unwrap();
    deaf.say(&sub(ROOM)).await.unwrap();
    let credit = Message::Credit { bytes: WINDOW_BYTES }.encode();
    let grants = async {
        let mut due = interval(GRANT_EVERY);
        while deaf.say(&credit).await.is_ok() {
            due.tick().await;
        }
        pending::<()>().await;
    };
    tokio::select! {
        metrics = Metrics::once(&server, "crdt_relayer_slow_clients_dropped_total", 1) => {
            let sent = metrics.value("catchup_ops_total");
            assert!(sent < 400, "{sent} ops were read for it");
        }
        () = grants => {}
    }
    Metrics::once(&server, "crdt_relayer_connections", 1).await;
    relayer.stop();
}

/// Rooms come from strangers: those shown are the largest, and no more than so many.
#[tokio::test]
async fn however_many_rooms_there_are_ten_are_shown() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    for number in 0..15_u32 {
        let room = format!("room-{number:02}");
        let chain = Author::new(number, &room).chain(number as usize + 1);
        let answer = server.post(&room, &chain.iter().map(Op::to_string).collect::<Vec<_>>()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let metrics = Metrics::once(&server, "crdt_relayer_heads{room=\"room-14\"}", 1).await;
    let shown: Vec<&str> =
        metrics.beginning("crdt_relayer_heads{").iter().map(|(series, _)| *series).collect();
    let largest = (5..15).map(|n| format!("crdt_relayer_heads{{room=\"room-{n:02}\"}}"));
    assert_eq!(shown, largest.collect::<Vec<_>>());
    assert_eq!(metrics.value("rooms"), 15);
    relayer.stop();
}

/// A relayer that announces more ops of a room than it sends, until it is told to hang up.
async fn announces(listener: TcpListener, count: u64, mut hang_up: oneshot::Receiver<()>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    socket.send(Frame::text(hello(77))).await.unwrap();
    socket.send(Frame::text(sub(ROOM))).await.unwrap();
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame.unwrap().unwrap(),
            _ = &mut hang_up => return,
        };
        let Frame::Text(text) = frame else { continue };
        if text.contains("\"type\":\"sub\"") {
            let heads = Message::Heads {
                room: room_id(ROOM),
                set: SetDigest::from_bytes([9; 32]),
                count,
                heads: vec![OpId::from_bytes([9; 32])],
                cursor: Position::START,
            };
            socket.send(Frame::text(heads.encode().to_string())).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_relayer_tells_how_far_it_is_behind_those_it_dials() {
    let cluster = Cluster::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/websocket", listener.local_addr().unwrap());
    let (relayer, own) = cluster.relayer_with("behind", &["--peer", &url]);
    let server = Server::of(&own);
    assert_eq!(server.post(ROOM, &[op(1, ROOM, "here").to_string()]).await.status, 200);
    let of = |name: &str| format!("crdt_relayer_{name}{{peer=\"{url}\"}}");
    let (done, hang_up) = oneshot::channel();
    let peer = tokio::spawn(announces(listener, 6, hang_up));
    let seen = Metrics::once(&server, &of("peer_lag_ops"), 5).await;
    assert_eq!(seen.beginning(&of("peer_connected")), [(of("peer_connected").as_str(), 1)]);
    assert_eq!(seen.beginning(&of("peer_unacked_ops")), [(of("peer_unacked_ops").as_str(), 1)]);
    // What it announced is not known any more once it has hung up.
    done.send(()).unwrap();
    peer.await.unwrap();
    let after = Metrics::once(&server, &of("peer_connected"), 0).await;
    assert_eq!(after.beginning(&of("peer_lag_ops")), [(of("peer_lag_ops").as_str(), 0)]);
    relayer.stop();
}
