//! What is no frame of a websocket, or none that a client may send, ends the connection with the
//! code that says so. The Autobahn suite asks for far more: `tests/it/autobahn.rs`.

use crdt_tests::cluster::Cluster;
use crdt_tests::light::{Light, frame};
use crdt_tests::load::HERE;
use crdt_tests::process::WAIT_MAX;
use tokio::time::timeout;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

/// A frame of which the first byte is changed like this.
fn with_first(mut frame: Vec<u8>, change: impl Fn(u8) -> u8) -> Vec<u8> {
    frame[0] = change(frame[0]);
    frame
}

/// A frame after which others of its message follow.
fn unfinished(opcode: u8, payload: &[u8]) -> Vec<u8> {
    with_first(frame(opcode, payload), |first| first & 0x7f)
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_with_its_code() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let url = cluster.url();
    let address = url.trim_start_matches("ws://").trim_end_matches("/websocket").parse().unwrap();
    let mut announces_more = frame(TEXT, &vec![b'x'; 70_000]);
    announces_more[2..10].copy_from_slice(&(1024 * 1024 + 1_u64).to_be_bytes());
    let euro = "€".as_bytes();
    for (what, bytes, code) in [
        ("a reserved bit", with_first(frame(TEXT, b"x"), |first| first | 0x40), 1002),
        ("a reserved opcode", frame(3, b"x"), 1002),
        ("a reserved control opcode", frame(11, b"x"), 1002),
        ("no mask", b"\x81\x01x".to_vec(), 1002),
        ("a control frame in pieces", unfinished(PING, b"x"), 1002),
        ("a control frame of 126 bytes", frame(PING, &[0; 126]), 1002),
        ("the rest of nothing", frame(CONTINUATION, b"x"), 1002),
        ("two beginnings", [unfinished(TEXT, b"x"), frame(BINARY, b"x")].concat(), 1002),
        ("text that is no UTF-8", frame(TEXT, b"\xc0\xaf"), 1007),
        (
            "text that is none in its second piece",
            [unfinished(TEXT, &euro[..1]), frame(CONTINUATION, b"x")].concat(),
            1007,
        ),
        ("more than 1 MiB", announces_more, 1009),
        (
            "more than 1 MiB in pieces",
            [unfinished(TEXT, &vec![b'x'; 900_000]), frame(CONTINUATION, &vec![b'x'; 900_000])]
                .concat(),
            1009,
        ),
    ] {
        let mut link = Light::open(address, HERE).await.unwrap();
        link.send(&bytes).await.unwrap();
        let closed = timeout(WAIT_MAX, link.closed()).await.expect("it ends").unwrap();
        assert_eq!(closed.0, code, "{what}: {closed:?}");
    }
    // Control frames may come between the pieces of a message.
    let mut link = Light::open(address, HERE).await.unwrap();
    let hello = crdt_tests::client::hello(1);
    let (first, second) = hello.as_bytes().split_at(10);
    let pieces = [unfinished(TEXT, first), frame(PING, b"x"), frame(CONTINUATION, second)];
    link.send(&pieces.concat()).await.unwrap();
    link.say(&crdt_tests::client::sub("main")).await.unwrap();
    while !link.hear().await.unwrap().starts_with(br#"{"type":"heads""#) {}
    // Who says a length in more bytes than it takes is understood.
    let mut link = Light::open(address, HERE).await.unwrap();
    let mut long = vec![0x81, 0xff];
    long.extend((hello.len() as u64).to_be_bytes());
    long.extend([0; 4]);
    long.extend(hello.as_bytes());
    link.send(&long).await.unwrap();
    link.say(&crdt_tests::client::sub("main")).await.unwrap();
    while !link.hear().await.unwrap().starts_with(br#"{"type":"heads""#) {}
    relayer.stop();
}

#[tokio::test]
async fn who_answers_no_ping_is_closed_after_the_idle_time_and_who_does_stays() {
    let cluster = Cluster::new();
    let (relayer, url) = cluster.relayer_with("relayer", &["--max-idle-time", "3s"]);
    let address = url.trim_start_matches("ws://").trim_end_matches("/websocket").parse().unwrap();
    let mut answering = Light::open(address, HERE).await.unwrap();
    let mut silent = Light::open(address, HERE).await.unwrap();
    answering.say(&crdt_tests::client::hello(1)).await.unwrap();
    silent.say(&crdt_tests::client::hello(2)).await.unwrap();
    let hears = async {
        loop {
            if let Err(error) = answering.hear().await {
                return error;
            }
        }
    };
    let closed = tokio::select! {
        closed = timeout(WAIT_MAX, silent.closed()) => closed.expect("it ends").unwrap(),
        error = hears => panic!("who answers is closed: {error}"),
    };
    assert_eq!(closed, (1001, "silence".to_owned()));
    answering.say(&crdt_tests::client::sub("main")).await.unwrap();
    while !answering.hear().await.unwrap().starts_with(br#"{"type":"heads""#) {}
    relayer.stop();
}
