//! Who writes faster than is taken of one author: slowed down to its rate, and nothing is lost.

use alloc::format;
use alloc::vec::Vec;

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

/// Moves time by so many seconds, a tenth at a time.
fn pass(net: &mut Net, seconds: u32, mut each: impl FnMut(&mut Net)) {
    for _ in 0..10 * seconds {
        net.now = net.now.after(Span::from_ms(100));
        each(net);
        for node in 0..net.nodes.len() {
            net.input(node, Input::Flush);
        }
        net.quiet();
    }
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
    pass(&mut net, 20, |net| {
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
    pass(&mut net, 10, |net| {
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
    let mut client = Client::new();
    client.input(paced());
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
    let mut client = Client::new();
    client.input(paced());
    client.peer = PeerId(2);
    client.input(Input::PeerUp(client.peer, Link::BROUGHT));
    client.say(&hello(5, limits::WINDOW_BYTES));
    assert_eq!(say_all(&mut client, Timestamp::from_ms(10_000), &chain(1, 500)), 201);
}

#[test]
fn relayers_that_keep_the_same_rooms_bring_history_as_fast_as_it_comes() {
    for link in [Link::PEERED, Link::DIALLED] {
        let mut client = Client::new();
        client.input(paced());
        client.peer = PeerId(2);
        client.input(Input::PeerUp(client.peer, link));
        client.say(&hello(5, limits::WINDOW_BYTES));
        assert_eq!(say_all(&mut client, Timestamp::from_ms(10_000), &chain(1, 5_000)), 5_000);
    }
}

#[test]
fn nobody_spends_the_rate_of_another_with_what_is_forged_or_known() {
    let mut client = Client::new();
    client.input(paced());
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
