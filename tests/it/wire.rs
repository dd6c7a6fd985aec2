//! What a relayer answers to nonsense and lies on the websocket: the documented code each, nothing
//! stored, nothing passed on, nobody else disturbed.

use crdt_core::limits::{FRAME_BYTES_MAX, STRIKES_MAX};
use crdt_tests::client::{Client, Said, hello, op, ops, sub};
use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crdt_tests::process::WAIT_MAX;

const ROOM: &str = "main";

/// What becomes of a connection after a frame.
#[derive(Clone, Copy, Debug)]
enum After {
    /// It goes on.
    Open,
    /// It is closed with this code and reason.
    Closed(u16, &'static str),
}

/// Frames that are no messages, with the `err` code for each.
fn nonsense() -> Vec<(String, &'static str, After)> {
    let zeros = "0".repeat(64);
    vec![
        ("garbage".into(), "json", After::Open),
        ("{\"type\":\"sub\"".into(), "json", After::Open),
        ("{\"type\":\"sub\",\"type\":\"sub\"}".into(), "json", After::Open),
        ("{\"type\":1.5}".into(), "json", After::Open),
        ("{\"type\":\"\\ud800\"}".into(), "json", After::Open),
        ("[".repeat(10_000), "json", After::Open),
        (format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "json", After::Open),
        ("{}".into(), "field", After::Open),
        ("[]".into(), "field", After::Open),
        ("{\"type\":\"sing\"}".into(), "unknown", After::Open),
        ("{\"type\":\"sub\"}".into(), "field", After::Open),
        (
            format!("{{\"type\":\"sub\",\"room\":\"{}\",\"cursor\":0}}", "A".repeat(64)),
            "field",
            After::Open,
        ),
        (format!("{{\"type\":\"get\",\"room\":\"{zeros}\",\"ids\":[]}}"), "room", After::Open),
        (hello(9), "hello", After::Open),
        (
            format!("{{\"type\":\"ack\",\"room\":\"{zeros}\",\"stored\":1,\"except\":[]}}"),
            "ack",
            After::Open,
        ),
    ]
}

/// Altered ops, with the code in the `ack` for each.
fn lies() -> Vec<(String, &'static str)> {
    let good = op(1, ROOM, "good");
    let text = good.to_string();
    let id = good.id().to_string();
    let data_hash = good.head().data_hash.to_string();
    let author = good.head().author.to_string();
    let sig = text.split("\"sig\":\"").nth(1).unwrap().get(..128).unwrap().to_owned();
    let other_sig = op(2, ROOM, "good").to_string();
    let other_sig = other_sig.split("\"sig\":\"").nth(1).unwrap().get(..128).unwrap().to_owned();
    let zeros = "0".repeat(64);
    vec![
        (text.replace(&id, &zeros), "id"),
        (text.replace(&data_hash, &zeros), "data"),
        (text.replace("good", "evil"), "data"),
        (text.replace("\"dl\":", "\"dl\":1"), "data"),
        (text.replace(&sig, &other_sig), "sig"),
        (text.replace(&sig, &"0".repeat(128)), "sig"),
        (text.replace(&author, &zeros), "id"),
        (op(1, "elsewhere", "good").to_string(), "room"),
        (text.replace("\"seq\":0,", ""), "field"),
        (text.replace("\"seq\":0", "\"seq\":0,\"x\":0"), "field"),
        (text.replacen("{\"data\"", "{\"a\":1,\"data\"", 1), "field"),
        (text.replace(&id, &id.to_uppercase()), "field"),
        (text.replace(&id, "abc"), "field"),
        (text.replace("\"v\":1", "\"v\":2"), "version"),
        (text.replace("\"prev\":null", &format!("\"prev\":\"{zeros}\"")), "head"),
        (text.replace("\"depth\":1", "\"depth\":2"), "id"),
        ("7".into(), "field"),
    ]
}

#[tokio::test]
async fn nonsense_and_lies_get_their_code_and_disturb_nobody() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let url = cluster.url();
    let mut witness = Client::introduced(&url, 200).await;
    witness.say(&sub(ROOM)).await;
    witness.message("heads").await;

    for (frame, code, after) in nonsense() {
        let mut client = Client::introduced(&url, 1).await;
        client.say(&frame).await;
        assert_eq!(client.message("err").await["code"], code, "{frame:.100}");
        assert_after(&mut client, after, &frame).await;
    }
    for (envelope, code) in lies() {
        let mut client = Client::introduced(&url, 1).await;
        client.say(&ops(ROOM, &[&envelope])).await;
        let ack = client.message("ack").await;
        assert_eq!(
            (&ack["stored"], &ack["except"][0]["code"]),
            (&0.into(), &code.into()),
            "{envelope}"
        );
        assert_eq!(client.message("err").await["code"], code);
        assert_after(&mut client, After::Open, &envelope).await;
    }
    let mut client = Client::introduced(&url, 1).await;
    client.say_binary(vec![1, 2, 3]).await;
    assert_eq!(client.message("err").await["code"], "binary");
    assert_after(&mut client, After::Open, "binary").await;

    // Two bytes of JSON around spaces: a good frame at the limit, none above it.
    let padded = |len: usize| format!("{{{}}}", " ".repeat(len - 2));
    let mut client = Client::introduced(&url, 1).await;
    client.say(&padded(FRAME_BYTES_MAX)).await;
    assert_eq!(client.message("err").await["code"], "field");
    client.say(&padded(FRAME_BYTES_MAX + 1)).await;
    assert_after(&mut client, After::Closed(1009, "size"), "1 MiB + 1").await;

    // All that time the room stayed empty, and its member hears of nothing but a good op.
    let good = op(3, ROOM, "good");
    let mut publisher = Client::introduced(&url, 3).await;
    publisher.say(&ops(ROOM, &[&good.to_string()])).await;
    assert_eq!(publisher.message("ack").await["stored"], 1);
    let heard = match witness.hear().await {
        Said::Message(message) => message,
        ended @ (Said::Closed(..) | Said::Lost) => panic!("the witness was disturbed: {ended:?}"),
    };
    assert_eq!((&heard["type"], &heard["cursor"]), (&"ops".into(), &1.into()));
    assert_eq!(heard["ops"][0]["id"], good.id().to_string());
    relayer.stop();
}

async fn assert_after(client: &mut Client, after: After, frame: &str) {
    match after {
        After::Open => {
            client.say(&sub("still-there")).await;
            client.message("heads").await;
        }
        After::Closed(code, reason) => {
            let closed = Said::Closed(code, reason.to_owned());
            assert_eq!(client.hear().await, closed, "{frame:.100}");
        }
    }
}

#[tokio::test]
async fn a_stranger_or_another_version_is_turned_away() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let version = hello(1).replace("\"v\":1", "\"v\":2");
    for (frame, code, reason) in [
        (sub(ROOM), "hello", "hello"),
        (version, "version", "version"),
        ("garbage".into(), "json", "hello"),
        ("{\"type\":\"sing\"}".into(), "unknown", "hello"),
    ] {
        let mut client = Client::connect(&cluster.url()).await;
        client.message("hello").await;
        client.say(&frame).await;
        assert_eq!(client.message("err").await["code"], code, "{frame}");
        assert_after(&mut client, After::Closed(1008, reason), &frame).await;
    }
    relayer.stop();
}

#[tokio::test]
async fn questions_about_an_empty_room_are_answered() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let mut client = Client::introduced(&cluster.url(), 1).await;
    client.say(&sub("never-used")).await;
    client.message("heads").await;
    let (room, id) = (crdt_tests::client::room_id("never-used"), "0".repeat(64));
    client.say(&format!(r#"{{"type":"get","room":"{room}","ids":["{id}"]}}"#)).await;
    assert_eq!(client.message("ops").await["missing"][0], id);
    relayer.stop();
}

#[tokio::test]
async fn sixteen_strikes_end_a_connection_and_memory_stays_flat() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let large = ops(ROOM, &vec!["[]"; 256]) + &" ".repeat(FRAME_BYTES_MAX - 2_000);
    let mut rounds = Vec::new();
    for _ in 0..8 {
        let mut client = Client::introduced(&cluster.url(), 1).await;
        for _ in 0..STRIKES_MAX {
            client.say(&large).await;
        }
        let mut refused = 0;
        loop {
            match client.hear().await {
                Said::Message(message) => refused += u32::from(message["type"] == "err"),
                Said::Closed(code, reason) => {
                    assert_eq!((code, reason.as_str()), (1008, "strikes"));
                    break;
                }
                Said::Lost => panic!("no reason was given"),
            }
        }
        assert_eq!(refused, STRIKES_MAX);
        rounds.push(relayer.resident_kib());
    }
    let (early, late) = (rounds[1], rounds[7]);
    assert!(late < early + 16 * 1024, "{rounds:?} KiB");
    relayer.stop();
}

#[tokio::test]
async fn who_never_reads_costs_nobody_anything() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let url = cluster.url();
    let mut deaf = Client::introduced(&url, 1).await;
    deaf.say(&sub(ROOM)).await;
    deaf.message("heads").await;
    let mut member = Client::introduced(&url, 2).await;
    member.say(&sub(ROOM)).await;
    member.message("heads").await;

    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    let before = relayer.resident_kib();
    let text = "x".repeat(4_000);
    for number in 0..10_000 {
        alice.try_write(&format!("{number} {text}\n"));
    }
    let writing = std::thread::spawn(move || alice.end_well());
    let mut come = 0;
    while come < 10_000 {
        let message = member.message("ops").await;
        let bytes = message.to_string().len();
        come += message["ops"]
            .as_array()
            .unwrap()
            .iter()
            .map(|op| op["data"].as_array().map_or(0, Vec::len))
            .sum::<usize>();
        member.say(&format!("{{\"type\":\"credit\",\"bytes\":{bytes}}}")).await;
    }
    writing.join().unwrap();
    // 40 MB went by; the one who never reads was owed no more than its window.
    let grown = relayer.resident_kib().saturating_sub(before);
    assert!(grown < 20 * 1024, "{grown} KiB");
    drop(deaf);
    relayer.stop();
}

#[tokio::test]
async fn half_a_header_is_not_waited_for() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let address = cluster.url().replace("ws://", "").replace("/websocket", "");
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"GET /websocket HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(WAIT_MAX, slow.read_to_end(&mut answer)).await.unwrap().unwrap();
    let page = "GET /websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Origin: http://evil.example\r\n\r\n";
    let mut browser = TcpStream::connect(&address).await.unwrap();
    browser.write_all(page.as_bytes()).await.unwrap();
    let mut refused = [0; 12];
    timeout(WAIT_MAX, browser.read_exact(&mut refused)).await.unwrap().unwrap();
    assert_eq!(&refused, b"HTTP/1.1 403");
    let answer = http(&address, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    let answer = http(&address, "/version").await;
    let body: Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
    assert_eq!(body["protocol"], 1);
    // A page whose name was made to lead here is told nothing.
    assert!(http(&address, "/nothing").await.starts_with("HTTP/1.1 421"));
    relayer.stop();
}

async fn http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(WAIT_MAX, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn members_are_told_when_the_relayer_stops() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let mut member = Client::introduced(&cluster.url(), 1).await;
    relayer.signal("TERM");
    let goodbye = Said::Closed(1001, "going-away".into());
    assert_eq!(member.hear().await, goodbye);
    relayer.end_well();
}

#[test]
fn a_second_relayer_on_one_folder_is_refused() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let data = cluster.path().join("relayer");
    let second = ["--listen".into(), "127.0.0.1:0".into(), "--data".into(), data.into_os_string()];
    let (status, errors) = Process::start("crdt-relayer", second).end();
    assert_eq!(status.code(), Some(9), "{errors}");
    assert!(errors.contains("another process uses"), "{errors}");
    relayer.stop();
}
