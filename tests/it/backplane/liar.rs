//! Who can post to the bus can post anything. It changes nothing, and good ops still pass.

use super::{NatsClient, Service, op, room_id, room_subject, write};

/// What is no op, or not of that room, or not signed by its author.
fn garbage() -> Vec<Vec<u8>> {
    let good = op(90, "main", "never posted as it is").to_string();
    let elsewhere = op(91, "elsewhere", "of another room").to_string();
    let mut posts: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"garbage".to_vec(),
        b"{\"a\":1,\"a\":2}".to_vec(),
        b"{\"id\":1.5}".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"[".repeat(100_000),
        b"]]}".to_vec(),
        vec![b'x'; 128 * 1024],
        good.replace("never", "always").into_bytes(),
        format!("{good},{good}").into_bytes(),
        elsewhere.into_bytes(),
    ];
    // Every hash fits and only the signature does not: more than end a connection to the replica.
    for author in 100..140 {
        let signed = op(author, "main", "forged").to_string();
        // The envelope ends with the signature.
        let (rest, end) = signed.split_at(signed.len() - 3);
        let digit = if end.starts_with('0') { '1' } else { '0' };
        posts.push(format!("{rest}{digit}\"}}").into_bytes());
    }
    posts
}

#[test]
fn garbage_and_forged_ops_change_nothing_and_good_ops_still_pass() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let ([left, right], [mut alice, mut bob]) = service.pair(&nats);
    write(&mut alice, "alice", 0, 10);
    bob.synced(10);
    let mut liar = NatsClient::connect(&nats);
    for post in garbage() {
        liar.post(&room_subject(), "", &post);
        liar.post("crdt-log.ask", "", &post);
    }
    liar.post("crdt-log.room.nonsense", "", b"{}");
    let all = room_id("main");
    let question = format!(r#"{{"from":"{all}","room":"{all}","ids":["{all}"]}}"#);
    liar.post("crdt-log.ask", "", question.as_bytes());
    liar.flush();
    write(&mut alice, "alice", 10, 20);
    bob.synced(20);
    write(&mut bob, "bob", 0, 10);
    alice.synced(30);
    service.end([left, right], [alice, bob], 30);
}

#[test]
fn who_posts_garbage_under_the_id_of_an_op_does_not_keep_the_op_off_the_stream() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let (left, left_url) = service.relayer("left", &nats.url());
    let (right, right_url) = service.relayer("right", &nats.url());
    let mut alice = service.node("alice", &left_url);
    holds_nothing_yet(&service, &right_url);
    let known = op(7, "main", "known before it is posted");
    let mut liar = NatsClient::connect(&nats);
    let head = format!("NATS/1.0\r\nNats-Msg-Id: {}", known.id());
    liar.post(&room_subject(), &head, b"garbage");
    liar.flush();
    tell(&left_url, &known.to_string());
    alice.synced(1);
    let mut bob = service.again("bob", &right_url);
    bob.synced(1);
    service.end([left, right], [alice, bob], 1);
}

/// A node takes part in the room at a relayer.
fn holds_nothing_yet(service: &Service, url: &str) {
    service.node("bob", url).stop();
}

/// Brings an op to a relayer.
fn tell(url: &str, envelope: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = crdt_tests::client::Client::introduced(url, 9).await;
        client.say(&crdt_tests::client::ops("main", &[envelope])).await;
        assert_eq!(client.message("ack").await["stored"], 1);
    });
}

#[test]
fn headers_that_make_no_sense_stop_nobody() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let ([left, right], [mut alice, mut bob]) = service.pair(&nats);
    let mut liar = NatsClient::connect(&nats);
    for head in [
        "NATS/1.0 100 Idle Heartbeat",
        "NATS/1.0 404 No Messages",
        "NATS/1.0 408 Request Timeout",
        "NATS/1.0 409 Consumer Deleted",
        "NATS/1.0 503",
        "NATS/1.0\r\nNats-Pending-Messages: many",
        "NATS/1.0 nonsense",
        "garbage",
        "NATS/1.0\r\nno colon",
    ] {
        liar.post(&room_subject(), head, b"{}");
    }
    liar.flush();
    write(&mut alice, "alice", 0, 10);
    bob.synced(10);
    write(&mut bob, "bob", 0, 10);
    alice.synced(20);
    service.end([left, right], [alice, bob], 20);
}
