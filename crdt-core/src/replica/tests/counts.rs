//! What an op costs, in counts that do not depend on the machine.

use alloc::format;
use alloc::vec::Vec;

use super::ahead::noting;
use super::client::*;
use super::net::MAIN;
use crate::fixtures::{Author, entry, room};
use crate::id::HASHED;
use crate::message::encode_ops;
use crate::op::Op;

/// Ops of a room, and in one message.
const OPS: usize = 200;
const AT_ONCE: usize = 50;

/// Eight authors who write at the same time: each op names what the others wrote before.
fn woven() -> Vec<Op> {
    let authors: Vec<Author> = (1..=8).map(Author::new).collect();
    let mut all: Vec<Op> = authors.iter().map(|author| entry(author, &[], "0")).collect();
    while all.len() < OPS {
        let round = &all[all.len() - authors.len()..];
        let next = |(at, author): (usize, &Author)| {
            let others: Vec<&Op> = round
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, op)| op)
                .collect();
            author.after(&round[at], &others, &format!("{}", all.len()))
        };
        let next: Vec<Op> = authors.iter().enumerate().map(next).collect();
        all.extend(next);
    }
    all
}

#[test]
fn an_op_is_hashed_twice_and_its_signature_checked_once_however_long_the_log_is() {
    let (mut client, noting) = noting();
    let ops = woven();
    client.say(&sub(0));
    let message = |ops: &[Op]| encode_ops(room(MAIN), ops, None, &[]);
    for part in ops.chunks(AT_ONCE) {
        let message = message(part);
        HASHED.set(0);
        client.say(&message);
        // Its data, and its head.
        assert_eq!(HASHED.get(), 2 * part.len());
        assert_eq!(noting.noted().1.len(), part.len());
    }
    // What comes again is hashed, for its name may be a lie, and not checked.
    let again = message(&ops[..AT_ONCE]);
    HASHED.set(0);
    client.say(&again);
    assert_eq!(HASHED.get(), 2 * AT_ONCE);
    assert_eq!(noting.noted().1.len(), 0);
    assert_eq!(client.replica.status(room(MAIN)).unwrap().ops, ops.len() as u64);
}
