//! Who writes faster than is taken of one author: slowed down to its rate, and nothing is lost.

use alloc::format;
use alloc::vec::Vec;

use super::client::*;
use super::net::*;
use crate::effect::{Effect, Input, Link, PeerId};
use crate::fixtures::{Author, entry};
use crate::id::OpId;
use crate::intake::Intake;
use crate::limits;
use crate::message::encode_ops;
use crate::op::Op;
use crate::rates::{KeyRates, Rate};
use crate::time::{Span, Timestamp};

const RATE: Rate = Rate { per_second: 100, burst: Span::from_ms(2_000) };

/// What an author may owe at that rate, in ops.
const OWED: usize = 3_000;

fn paced() -> Input {
    Input::Intake(Intake { rates: KeyRates { ops: Some(RATE), bytes: None }, ..Intake::default() })
}

/// A client of a relayer that takes ops at that rate.
fn paced_client() -> Client {
    let mut client = Client::new();
    client.input(paced());
    client
}

/// Ops of a node's key that the relayer holds.
fn held(net: &Net, node: usize) -> usize {
    let author = net.nodes[node].replica.author().unwrap();
    let ops = net.nodes[0].disk.ops(crate::fixtures::room(MAIN));
    ops.filter(|(_, _, op)| op.head().author == author).count()
}

#[test]
fn an_author_at_ten_times_its_rate_is_taken_at_its_rate_and_another_one_at_once() {
    let mut net = Net::connected(3);
    net.input(0, paced());
    let (mut written, mut late) = (0, 0);
    net.pass(20, |net| {
        for _ in 0..100 {
            written += 1;
            net.write(1, written);
        }
        if written % 1_000 == 0 {
            net.write(2, written);
            net.quiet();
            late += net.unsent(2);
        }
    });
    // What may be owed comes on top of the burst once.
    let taken = held(&net, 1);
    assert!((20 * 100..=20 * 100 + 200 + OWED + 1).contains(&taken), "{taken} were taken");
    assert_eq!((written, held(&net, 2), late), (20_000, 20, 0), "nobody else waits");
    net.input(0, Input::Intake(Intake::default()));
    for _ in 0..20 {
        net.settle();
    }
    net.assert_converged(20_020);
}

#[test]
fn who_waits_for_credit_has_no_ops_put_off() {
    let mut net = Net::connected(1);
    // A window holds some 3,000 such ops, and 6,000 may be owed: credit is felt first.
    let ops = Some(Rate { per_second: 200, ..RATE });
    let rates = KeyRates { ops, bytes: None };
    net.input(0, Input::Intake(Intake { rates, ..Intake::default() }));
    let mut number = 0;
    net.pass(10, |net| {
        for _ in 0..100 {
            number += 1;
            net.write(1, number);
        }
    });
    net.settle();
    let put_off = net.sent.iter().filter(|frame| frame.contains("\"later\"")).count();
    assert_eq!((number, put_off), (10_000, 0), "it is slowed down without a word");
    net.assert_converged(number);
}

/// A chain of one author.
fn chain(author: u8, len: usize) -> Vec<Op> {
    let author = Author::new(author);
    let mut chain: Vec<Op> = Vec::new();
    for number in 0..len {
        let past: Vec<&Op> = chain.last().into_iter().collect();
        chain.push(entry(&author, &past, &format!("{number}")));
    }
    chain
}

/// Says `ops` messages of fifty ops. Returns how many ops were stored.
fn say_all(client: &mut Client, now: Timestamp, ops: &[Op]) -> u64 {
    let room = crate::fixtures::room(MAIN);
    let stored = |effect: &Effect| match effect {
        Effect::Send(_, frame) => {
            let rest = frame.split("\"stored\":").nth(1)?;
            rest.split(',').next()?.parse::<u64>().ok()
        }
        _ => None,
    };
    let answers = ops.chunks(50).map(|ops| client.say_at(now, &encode_ops(room, ops, None, &[])));
    answers.collect::<Vec<_>>().iter().flatten().filter_map(stored).sum()
}

#[test]
fn who_ignores_credit_or_comes_by_many_ways_is_put_off_beyond_what_may_be_owed() {
    let mut client = paced_client();
    let now = Timestamp::from_ms(10_000);
    let ops = chain(1, 5_000);
    let mut stored = 0;
    for (number, part) in ops.chunks(500).enumerate() {
        client.peer = PeerId(100 + number as u64);
        client.input(Input::PeerUp(client.peer, Link::ACCEPTED));
        client.say(&hello(100 + number as u8, limits::WINDOW_BYTES));
        stored += say_all(&mut client, now, part);
    }
    assert_eq!(usize::try_from(stored), Ok(200 + OWED + 1));
    // What was put off is taken when what was taken is paid for.
    let later = now.after(Span::from_ms(1_000));
    let rest = &ops[usize::try_from(stored).unwrap()..];
    assert_eq!(say_all(&mut client, later, rest), 100);
}

#[test]
fn who_brings_for_somebody_else_is_put_off_at_once() {
    let mut client = paced_client();
    client.as_another(5, Link::BROUGHT);
    assert_eq!(say_all(&mut client, Timestamp::from_ms(10_000), &chain(1, 500)), 201);
}

#[test]
fn relayers_that_keep_the_same_rooms_bring_history_as_fast_as_it_comes() {
    for link in [Link::PEERED, Link::DIALLED] {
        let mut client = paced_client();
        client.as_another(5, link);
        assert_eq!(say_all(&mut client, Timestamp::from_ms(10_000), &chain(1, 5_000)), 5_000);
    }
}

#[test]
fn nobody_spends_the_rate_of_another_with_what_is_forged_or_known() {
    let mut client = paced_client();
    let now = Timestamp::from_ms(10_000);
    let ops = chain(1, 200);
    assert_eq!(say_all(&mut client, now, &ops[..100]), 100);
    for _ in 0..50 {
        assert_eq!(say_all(&mut client, now, &ops[..100]), 100);
    }
    let forged = |op: &Op| {
        let text = format!("{op}");
        let unsigned = text.split("\"sig\":\"").next().unwrap();
        format!("{unsigned}\"sig\":\"{}\"}}", "0".repeat(128))
    };
    let room = crate::fixtures::room(MAIN);
    for _ in 0..limits::STRIKES_MAX - 1 {
        let all: Vec<_> = ops[100..].iter().map(forged).collect();
        client
            .say_at(now, &format!(r#"{{"type":"ops","room":"{room}","ops":[{}]}}"#, all.join(",")));
    }
    let author = ops[0].head().author;
    let owed = client.replica.taking.authors.owes(now, client.replica.taking.intake.rates, author);
    assert_eq!(owed, Span::from_ms(0));
    assert_eq!(say_all(&mut client, now, &ops[100..]), 100);
    let ids: Vec<OpId> = ops.iter().map(Op::id).collect();
    assert_eq!(ids.len() as u64, client.replica.status(room).unwrap().ops);
}

fn count(effects: &[Effect], kind: &str) -> usize {
    let kind = format!("{{\"type\":\"{kind}\"");
    let is =
        |effect: &&Effect| matches!(effect, Effect::Send(_, frame) if frame.starts_with(&kind));
    effects.iter().filter(is).count()
}

#[test]
fn who_brings_what_others_ops_waited_for_does_not_wait_for_what_their_author_owes() {
    let mut client = paced_client();
    let (now, chain) = (Timestamp::from_ms(10_000), chain(1, 1_000));
    assert_eq!(say_all(&mut client, now, &chain[1..]), 0);
    client.as_another(5, Link::ACCEPTED);
    client.say_at(now, &ops(&[&chain[0]]));
    let rates = client.replica.taking.intake.rates;
    let owed = client.replica.taking.authors.owes(now, rates, chain[0].head().author);
    assert_eq!(owed, Span::from_ms(8_000));
    assert_eq!(client.replica.sessions[&client.peer].grant.1, now);
}

#[test]
fn what_waits_to_be_granted_is_granted_in_time_whatever_becomes_of_the_room() {
    let mut client = paced_client();
    let now = Timestamp::from_ms(10_000);
    assert_eq!(say_all(&mut client, now, &chain(1, 600)), 600);
    let room = crate::fixtures::room(MAIN);
    client.say_at(now, &crate::message::Message::Unsub { room }.encode());
    let paid = now.after(Span::from_ms(4_000));
    assert!(client.replica.wake_at().is_some_and(|at| at <= paid));
    assert_eq!(count(&client.replica.handle(paid, Input::Flush), "credit"), 1);
    assert!(client.replica.grants.is_empty());
}

#[test]
fn what_was_just_put_off_is_not_asked_for() {
    let mut client = paced_client();
    client.as_another(5, Link::BROUGHT);
    let (now, chain) = (Timestamp::from_ms(10_000), chain(1, 202));
    assert_eq!(say_all(&mut client, now, &chain[..201]), 201);
    let next = entry(&Author::new(2), &[&chain[201]], "2");
    let answers = client.say_at(now, &ops(&[&chain[201], &next]));
    assert_eq!((said(&answers), count(&answers, "get")), (alloc::vec!["ack rate".into()], 0));
}

#[test]
fn what_others_wait_for_is_taken_of_an_author_in_debt_and_nothing_else() {
    let mut client = paced_client();
    client.as_another(5, Link::BROUGHT);
    let (now, chain) = (Timestamp::from_ms(10_000), chain(1, 204));
    assert_eq!(say_all(&mut client, now, &chain[..201]), 201);
    let next = entry(&Author::new(2), &[&chain[201]], "2");
    // Its own successors do not help it: they are put off, and so nothing waits for them.
    client.say_at(now, &ops(&[&chain[202], &next]));
    let answers = client.say_at(now, &ops(&[&chain[201], &chain[202], &chain[203]]));
    let ack = answers.iter().find_map(|effect| match effect {
        Effect::Send(_, frame) if frame.contains("\"ack\"") => Some(&**frame),
        _ => None,
    });
    let later = |index| format!(r#"{{"index":{index},"verdict":"later","code":"rate"}}"#);
    let except = format!("\"stored\":1,\"except\":[{},{}]", later(1), later(2));
    assert!(ack.is_some_and(|ack| ack.contains(&except)), "{ack:?}");
    assert_eq!(client.replica.op_count(crate::fixtures::room(MAIN)), 203);
}

/// How often an op is sent in an hour to a peer that puts it off.
fn tries(code: &str) -> usize {
    let mut client = Client::new();
    client.as_another(5, Link::ACCEPTED);
    client.say(&ops(&[&entry(&Author::new(1), &[], "1")]));
    client.peer = PeerId(1);
    let room = crate::fixtures::room(MAIN);
    let except = format!(r#"[{{"index":0,"verdict":"later","code":"{code}"}}]"#);
    let later = format!(r#"{{"type":"ack","room":"{room}","stored":0,"except":{except}}}"#);
    let mut effects = client.say(&sub(0));
    let mut tries = 0;
    for second in 0..3_600 {
        let now = Timestamp::from_ms(second * 1_000);
        for _ in 0..count(&effects, "ops") {
            tries += 1;
            client.say_at(now, &later);
        }
        let flushed = client.replica.handle(now, Input::Flush);
        effects = client.carry_out(flushed);
    }
    tries
}

#[test]
fn an_author_who_writes_too_fast_holds_up_others_for_seconds_only() {
    assert!((3_600 / 9..3_600 / 7).contains(&tries("rate")), "{}", tries("rate"));
    assert!((3_600 / 61..3_600 / 50).contains(&tries("quota")), "{}", tries("quota"));
    assert_eq!(tries("quota"), tries("a code of later"));
}
