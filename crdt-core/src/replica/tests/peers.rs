//! What a single peer can and cannot do.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use crate::effect::{Effect, Input, PeerId};
use crate::fixtures::{Author, entry, id_of, room};
use crate::id::Position;
use crate::limits;
use crate::message::{Message, Received};
use crate::op::Op;
use crate::time::Timestamp;

#[test]
fn who_does_not_read_is_sent_no_more_than_the_window_and_catches_up_later() {
    let mut client = Client::new();
    let mut all: Vec<Op> = Vec::new();
    let (alice, long) = (Author::new(1), format!("\"{}\"", "x".repeat(60_000)));
    client.say(&sub(0));
    let mut sent = 0;
    let mut frames = Vec::new();
    let mut note = |effects: Vec<Effect>| {
        for effect in effects {
            if let Effect::Send(_, frame) = effect
                && frame.starts_with("{\"type\":\"ops\"")
            {
                sent += frame.len() as u64;
                frames.push(frame);
            }
        }
        sent
    };
    client.replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(2)));
    let publisher = hello(8, limits::WINDOW_BYTES).as_bytes().to_vec();
    client.input(Input::Received(PeerId(2), publisher));
    for number in 0..60 {
        let data = format!("{long},{number}");
        let op =
            all.last().map_or_else(|| entry(&alice, &[], &data), |p| alice.after(p, &[], &data));
        let frame = ops(&[&op]).as_bytes().to_vec();
        assert!(note(client.input(Input::Received(PeerId(2), frame))) <= limits::WINDOW_BYTES);
        all.push(op);
    }
    let before = note(Vec::new());
    assert!(before > limits::WINDOW_BYTES / 2 && before <= limits::WINDOW_BYTES);
    for _ in 0..10 {
        note(client.say(&Message::Credit { bytes: limits::GRANT_BYTES }.encode()));
    }
    let come: usize = frames.iter().map(|frame| frame.matches("\"id\":").count()).sum();
    assert_eq!(come, 60, "each once, in pages from disk");
}

#[test]
fn a_missing_dependency_is_asked_of_the_sender_then_of_others() {
    let mut client = Client::new();
    client.say(&sub(0));
    let first = entry(&Author::new(1), &[], "1");
    let second = Author::new(1).after(&first, &[], "2");
    let effects = client.say(&ops(&[&second]));
    assert_eq!(said(&effects), ["ack"]);
    let get = Message::Get { room: room(MAIN), ids: vec![first.id()] }.encode();
    let asks = |effects: &[Effect], who: PeerId| {
        effects
            .iter()
            .any(|e| matches!(e, Effect::Send(peer, frame) if *peer == who && *frame == get))
    };
    assert!(asks(&effects, PeerId(1)));
    let replica = &mut client.replica;
    replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(2)));
    for frame in [hello(8, limits::WINDOW_BYTES), sub(0)] {
        let frame = frame.as_bytes().to_vec();
        replica.handle(Timestamp::from_ms(0), Input::Received(PeerId(2), frame));
    }
    replica.handle(Timestamp::from_ms(0), Input::Flush);
    let later = replica.wake_at().unwrap();
    assert!(asks(&replica.handle(later, Input::Flush), PeerId(2)));
    client.say(&ops(&[&first]));
    assert_eq!(client.replica.status(room(MAIN)).unwrap().ops, 2);
}

#[test]
fn ops_are_served_by_id_and_unknown_ids_are_named() {
    let mut client = Client::new();
    let all: Vec<Op> = (0..40)
        .map(|n| entry(&Author::new(1), &[], &format!("\"{n}{}\"", "x".repeat(9_000))))
        .collect();
    client.say(&ops(&all.iter().collect::<Vec<_>>()));
    let ids = all.iter().map(Op::id).chain([id_of(1)]).collect();
    let effects = client.say(&Message::Get { room: room(MAIN), ids }.encode());
    let mut come = Vec::new();
    let mut missing = Vec::new();
    for effect in &effects {
        if let Effect::Send(_, frame) = effect
            && let Ok(Received::Ops(batch)) = Received::decode(frame.as_bytes())
        {
            come.extend(batch.ops.into_iter().map(|op| op.unwrap().id));
            missing.extend(batch.missing);
        }
    }
    assert_eq!((come.len(), missing), (40, vec![id_of(1)]));
}

#[test]
fn each_kind_of_nonsense_has_its_code_and_harms_nobody() {
    let good = entry(&Author::new(1), &[], "1");
    let text = ops(&[&good]).to_string();
    let id = good.id().to_string();
    let dh = good.head().data_hash.to_string();
    let foreign = Author::new(1).with(|head| head.room = room("other"));
    for (frame, answer) in [
        ("garbage".to_string(), vec!["err json"]),
        ("[".repeat(10_000), vec!["err json"]),
        ("{\"type\":\"sing\"}".into(), vec!["err unknown"]),
        ("{\"type\":\"ops\"}".into(), vec!["err field"]),
        (" ".repeat(limits::FRAME_BYTES_MAX + 1), vec!["err size", "close size"]),
        (hello(9, limits::WINDOW_BYTES).to_string(), vec!["err hello"]),
        (text.replace(&id, &"0".repeat(64)), vec!["ack id", "err id"]),
        (text.replace(&dh, &"0".repeat(64)), vec!["ack data", "err data"]),
        (text.replace("\"sig\":\"", "\"sig\":\"0"), vec!["ack field", "err field"]),
        (text.replace("\"data\":[1]", "\"data\":[2]"), vec!["ack data", "err data"]),
        (text.replace(&id, &id.to_uppercase()), vec!["ack field", "err field"]),
        (text.replace("\"v\":1", "\"v\":2"), vec!["ack version", "err version"]),
        (text.replace("\"seq\":0,", ""), vec!["ack field", "err field"]),
        (text.replace("\"seq\":0", "\"seq\":0,\"x\":0"), vec!["ack field", "err field"]),
        (ops(&[&foreign]).to_string(), vec!["ack room", "err room"]),
        (
            "{\"type\":\"ack\",\"room\":\"".to_string()
                + &"0".repeat(64)
                + "\",\"stored\":0,\"except\":[]}",
            vec!["err ack"],
        ),
    ] {
        let mut client = Client::new();
        assert_eq!(said(&client.say(&frame)), answer, "{frame:.100}");
        assert!(client.disk.ops(room(MAIN)).next().is_none(), "nothing is stored: {frame:.100}");
    }
    let mut client = Client::new();
    assert_eq!(said(&client.input(Input::ReceivedBinary(PeerId(1)))), ["err binary"]);
    let mut client = Client::unknown();
    assert_eq!(said(&client.say(&sub(0))), ["err hello", "close hello"]);
    let mut client = Client::unknown();
    let version = hello(9, limits::WINDOW_BYTES).replace("\"v\":1", "\"v\":9");
    assert_eq!(said(&client.say(&version)), ["err version", "close version"]);
    let mut client = Client::unknown();
    assert_eq!(said(&client.say(&hello(0, limits::WINDOW_BYTES))), ["close own-store"]);
}

#[test]
fn sixteen_strikes_end_a_connection() {
    let mut client = Client::new();
    for _ in 1..limits::STRIKES_MAX {
        assert_eq!(said(&client.say("x")), ["err json"]);
    }
    assert_eq!(said(&client.say("x")), ["err json", "close strikes"]);
    assert!(client.say("x").is_empty(), "after that nothing is heard");
}

#[test]
fn rooms_and_subscriptions_are_bounded() {
    let mut client = Client::new();
    let mut last = Vec::new();
    for number in 0..=limits::SUBSCRIPTIONS_MAX {
        let room = room(&format!("r{number}"));
        let cursor = Position::START;
        last = client.say(&Message::Sub { room, name: None, cursor }.encode());
    }
    assert_eq!(said(&last), ["err subscriptions"]);
    client.input(Input::PeerDown(PeerId(1)));
    assert_eq!(
        client.replica.rooms().count(),
        0,
        "a room nobody wrote to ends with its last member"
    );
}
