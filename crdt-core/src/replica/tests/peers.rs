//! What a single peer can and cannot do.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Effect, Input, Link, PeerId};
use crate::fixtures::{Author, entry, id_of, room};
use crate::limits;
use crate::message::{Frame, Message, Received, encode_ops};
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
    client.replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(2), Link::ACCEPTED));
    let publisher = hello(8, limits::WINDOW_BYTES);
    client.input(Input::received(PeerId(2), publisher.as_bytes()));
    for number in 0..60 {
        let data = format!("{long},{number}");
        let op =
            all.last().map_or_else(|| entry(&alice, &[], &data), |p| alice.after(p, &[], &data));
        let frame = ops(&[&op]);
        assert!(
            note(client.input(Input::received(PeerId(2), frame.as_bytes())))
                <= limits::WINDOW_BYTES
        );
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
    replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(2), Link::ACCEPTED));
    for frame in [hello(8, limits::WINDOW_BYTES), sub(0)] {
        replica.handle(Timestamp::from_ms(0), Input::received(PeerId(2), frame.as_bytes()));
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
            come.extend(batch.ops.into_iter().map(|op| op.unwrap().id()));
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

/// What a store other than the client's holds, handed in by a second connection.
fn publish(client: &mut Client, peer: u64, store: u8, all: &[Op]) -> Vec<Effect> {
    let peer = PeerId(peer);
    client.input(Input::PeerUp(peer, Link::ACCEPTED));
    let greeting = hello(store, limits::WINDOW_BYTES);
    client.input(Input::received(peer, greeting.as_bytes()));
    let frame = ops(&all.iter().collect::<Vec<_>>());
    client.input(Input::received(peer, frame.as_bytes()))
}

fn chain(author: u8, len: usize) -> Vec<Op> {
    let author = Author::new(author);
    let mut chain = vec![entry(&author, &[], "0")];
    while chain.len() < len {
        let next = author.after(chain.last().unwrap(), &[], &format!("{}", chain.len()));
        chain.push(next);
    }
    chain
}

#[test]
fn an_op_passed_on_while_a_page_is_read_is_neither_lost_nor_sent_twice() {
    let mut client = Client::new();
    let all = chain(1, 400);
    publish(&mut client, 2, 8, &all[..250]);
    client.say(&sub(0));
    // In one batch: the peer grants more, so a page is read for it; and another op comes.
    let mut come = 0;
    let now = Timestamp::from_ms(0);
    for op in &all[250..] {
        let grant = Message::Credit { bytes: 1_000 }.encode();
        let mut effects = client.replica.handle(now, Input::received(PeerId(1), grant.as_bytes()));
        let frame = ops(&[op]);
        effects.extend(client.replica.handle(now, Input::received(PeerId(2), frame.as_bytes())));
        effects.extend(client.replica.handle(now, Input::Flush));
        come += client
            .carry_out(effects)
            .iter()
            .map(|effect| ids_sent(effect, PeerId(1)))
            .sum::<usize>();
    }
    let held = client.replica.status(room(MAIN)).unwrap().ops;
    assert_eq!((held, come), (400, 150));
}

fn ids_sent(effect: &Effect, to: PeerId) -> usize {
    match effect {
        Effect::Send(peer, frame) if *peer == to && frame.starts_with("{\"type\":\"ops\"") => {
            frame.matches("\"sig\":").count()
        }
        _ => 0,
    }
}

#[test]
fn who_claims_a_members_store_cannot_keep_ops_from_it() {
    let mut client = Client::new();
    client.say(&sub(0));
    let effects = publish(&mut client, 2, 9, &chain(1, 5));
    assert_eq!(effects.iter().map(|effect| ids_sent(effect, PeerId(1))).sum::<usize>(), 5);

    // What was handed in while the member was away is left out of its stream, as the claim would
    // have it, until the member asks once more.
    client.input(Input::PeerDown(PeerId(1)));
    publish(&mut client, 3, 9, &chain(2, 5));
    client.input(Input::PeerUp(PeerId(1), Link::ACCEPTED));
    client.say(&hello(9, limits::WINDOW_BYTES));
    let first = client.say(&sub(5));
    assert_eq!(first.iter().map(|effect| ids_sent(effect, PeerId(1))).sum::<usize>(), 0);
    let second = client.say(&sub(0));
    assert_eq!(second.iter().map(|effect| ids_sent(effect, PeerId(1))).sum::<usize>(), 10);
}

#[test]
fn a_bad_signature_does_not_end_the_search_for_the_good_one() {
    let mut client = Client::new();
    client.say(&sub(0));
    let all = chain(1, 2);
    client.say(&ops(&[&all[1]]));
    let text = ops(&[&all[0]]);
    let sig = text.split("\"sig\":\"").nth(1).unwrap().split('"').next().unwrap();
    let forged = text.replace(sig, &"0".repeat(128));
    assert_eq!(said(&client.say(&forged)), ["ack sig", "err sig"]);
    let later = client.replica.wake_at().unwrap();
    let effects = client.replica.handle(later, Input::Flush);
    let get = Message::Get { room: room(MAIN), ids: vec![all[0].id()] }.encode();
    assert!(effects.iter().any(|e| matches!(e, Effect::Send(_, frame) if *frame == get)));
}

#[test]
fn a_parked_op_sent_again_costs_nothing_more() {
    let mut client = Client::new();
    client.say(&sub(0));
    let all = chain(1, 3);
    client.say(&ops(&[&all[2]]));
    let again = client.say(&ops(&[&all[2]]));
    let asks = again.iter().any(|e| matches!(e, Effect::Send(_, f) if f.contains("\"get\"")));
    assert!(!asks);
}

#[test]
fn parked_ops_of_all_rooms_together_are_bounded() {
    let mut replica = Client::new().replica;
    let text = format!("\"{}\"", "x".repeat(60_000));
    let now = Timestamp::from_ms(0);
    for peer in 2..5 {
        replica.handle(now, Input::PeerUp(PeerId(peer), Link::ACCEPTED));
        let greeting = hello(9, limits::WINDOW_BYTES);
        replica.handle(now, Input::received(PeerId(peer), greeting.as_bytes()));
        let name = format!("r{peer}");
        for author in 0..250 {
            for fork in 0..2 {
                let op = Author::new(author).with_data(&format!("{text},{fork}"), |head| {
                    head.room = room(&name);
                    head.grant = *room(&name).as_bytes();
                    head.refs = vec![id_of(1)];
                });
                let frame = encode_ops(room(&name), [&op], None, &[]);
                replica.handle(now, Input::received(PeerId(peer), frame.as_bytes()));
            }
        }
    }
    let parked: usize = replica.rooms.values().map(|room| room.log.parked_bytes()).sum();
    assert_eq!(parked, replica.parked_bytes);
    assert!(parked <= limits::PARKED_BYTES_ALL_MAX);
    assert!(parked > limits::PARKED_BYTES_ALL_MAX - 70_000);
}

#[test]
fn very_many_heads_are_announced_in_turns() {
    let mut client = Client::new();
    let many = limits::HEADS_LISTED_MAX + 10;
    let all: Vec<Op> = (0..many).map(|n| entry(&Author::new(1), &[], &format!("{n}"))).collect();
    for part in all.chunks(limits::BATCH_OPS_MAX) {
        client.say(&ops(&part.iter().collect::<Vec<_>>()));
    }
    let held = client.replica.rooms.get_mut(&room(MAIN)).unwrap();
    let listed = |frame: &Frame| match Received::decode(frame.as_bytes()) {
        Ok(Received::Message(Message::Heads { heads, .. })) => heads,
        other => panic!("{other:?}"),
    };
    let (first, second) = (listed(&held.heads_frame()), listed(&held.heads_frame()));
    assert_eq!((first.len(), second.len()), (limits::HEADS_LISTED_MAX, 10));
    assert!(first.iter().all(|head| !second.contains(head)));
}
