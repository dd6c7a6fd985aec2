//! Which signatures whoever checks them is told of beforehand: those that will be checked.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::client::*;
use super::net::MAIN;
use crate::effect::{Input, Link, PeerId};
use crate::fixtures::{Author, entry, room};
use crate::id::{Depth, OpId};
use crate::intake::Intake;
use crate::key::{CheckSignature, Claim, KeyError, PublicKey, Signature};
use crate::limits;
use crate::message::{Decoded, encode_ops};
use crate::op::Op;
use crate::rates::{KeyRates, Rate};
use crate::time::{Span, Timestamp};

/// Ids, by their first bytes.
#[derive(Debug)]
struct Notes {
    ids: Vec<AtomicU64>,
    len: AtomicUsize,
}

impl Notes {
    fn new() -> Self {
        Self { ids: (0..256).map(|_| AtomicU64::new(0)).collect(), len: AtomicUsize::new(0) }
    }

    fn add(&self, id: OpId) {
        let place = self.len.fetch_add(1, Ordering::Relaxed);
        self.ids[place].store(first_bytes(id), Ordering::Relaxed);
    }

    fn take(&self) -> Vec<u64> {
        let len = self.len.swap(0, Ordering::Relaxed);
        self.ids[..len].iter().map(|id| id.load(Ordering::Relaxed)).collect()
    }
}

fn first_bytes(id: OpId) -> u64 {
    u64::from_be_bytes(*id.as_bytes().first_chunk().unwrap())
}

/// Checks, and notes what it is told of beforehand and what it checks.
#[derive(Debug)]
pub(super) struct Noting {
    ahead: Notes,
    checked: Notes,
}

impl CheckSignature for Noting {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        self.checked.add(id);
        key.verify(id, signature)
    }

    fn ahead(&self, claims: &mut dyn Iterator<Item = Claim>) {
        for claim in claims {
            claim.key.verify(claim.id, &claim.signature).unwrap();
            self.ahead.add(claim.id);
        }
    }
}

impl Noting {
    /// What it was told of and what it has checked since it was asked last.
    pub(super) fn noted(&self) -> (Vec<u64>, Vec<u64>) {
        (self.ahead.take(), self.checked.take())
    }
}

/// A client whose relayer checks so.
pub(super) fn noting() -> (Client, Arc<Noting>) {
    let noting = Arc::new(Noting { ahead: Notes::new(), checked: Notes::new() });
    let mut client = Client::unknown();
    client.replica.config.signatures = Arc::clone(&noting) as Arc<dyn CheckSignature>;
    client.as_another(2, Link::ACCEPTED);
    (client, noting)
}

fn ids(ops: &[&Op]) -> Vec<u64> {
    ops.iter().map(|op| first_bytes(op.id())).collect()
}

/// An author's ops, one after the other.
fn chain(author: u8, len: usize) -> Vec<Op> {
    let author = Author::new(author);
    let mut chain = alloc::vec![entry(&author, &[], "0")];
    for number in 1..len {
        chain.push(author.after(&chain[number - 1], &[], &format!("{number}")));
    }
    chain
}

/// The same where an author's first of two ops is known.
fn knowing_alice() -> (Client, Arc<Noting>, Vec<Op>) {
    let (mut client, noting) = noting();
    let alice = chain(1, 2);
    client.say(&ops(&[&alice[0]]));
    noting.noted();
    (client, noting, alice)
}

/// Looks ahead at a frame of this peer that waits.
fn look_ahead(client: &Client, peer: PeerId, op: &Op) -> Decoded {
    let mut frame = Decoded::of(ops(&[op]).as_bytes());
    client.replica.look_ahead(Timestamp::from_ms(0), peer, &mut frame);
    frame
}

#[test]
fn each_new_op_of_an_author_whose_key_is_known_once() {
    let (mut client, noting) = noting();
    let [alice, bob] = [chain(1, 4), chain(2, 1)];
    client.say(&ops(&[&alice[0]]));
    assert_eq!(
        noting.noted(),
        (Vec::new(), ids(&[&alice[0]])),
        "her key is read with her first op"
    );
    client.say(&ops(&[&alice[0], &alice[1], &bob[0], &alice[1], &alice[2]]));
    let new = [&alice[1], &bob[0], &alice[2]];
    assert_eq!(noting.noted(), (ids(&[&alice[1], &alice[2]]), ids(&new)));
    // What is parked is known too.
    let last = chain(1, 6).pop().unwrap();
    client.say(&ops(&[&last]));
    assert_eq!(noting.noted().0, ids(&[&last]));
    client.say(&ops(&[&last, &alice[3]]));
    assert_eq!(noting.noted().0, ids(&[&alice[3]]));
}

#[test]
fn signatures_of_a_frame_that_waits_are_told_once_unless_an_author_was_new() {
    let (mut client, noting) = noting();
    let [alice, bob] = [chain(1, 3), chain(2, 1)];
    client.say(&ops(&[&alice[0]]));
    noting.noted();
    let now = Timestamp::from_ms(0);
    let peer = client.peer;
    let mut waiting =
        [ops(&[&alice[1]]), ops(&[&alice[2], &bob[0]])].map(|frame| Decoded::of(frame.as_bytes()));
    for _ in 0..2 {
        for frame in &mut waiting {
            client.replica.look_ahead(now, peer, frame);
        }
    }
    let told = ids(&[&alice[1], &alice[2], &alice[2]]);
    assert_eq!(noting.noted(), (told, Vec::new()), "bob's key is not known");
    let [first, second] = waiting;
    client.input(Input::Received(peer, first));
    assert_eq!(noting.noted(), (Vec::new(), ids(&[&alice[1]])));
    client.input(Input::Received(peer, second));
    assert_eq!(noting.noted(), (ids(&[&alice[2]]), ids(&[&alice[2], &bob[0]])));
}

#[test]
fn whoever_has_not_introduced_itself_has_nothing_checked() {
    let (mut client, noting, alice) = knowing_alice();
    let stranger = PeerId(77);
    client.input(Input::PeerUp(stranger, Link::ACCEPTED));
    let frame = look_ahead(&client, stranger, &alice[1]);
    client.input(Input::Received(stranger, frame));
    assert_eq!(noting.noted(), (Vec::new(), Vec::new()));
}

#[test]
fn whoever_is_not_let_in_has_nothing_checked() {
    let (mut client, noting, alice) = knowing_alice();
    client.replica.config.allowed = Some(BTreeSet::new());
    client.as_another(9, Link::ACCEPTED);
    look_ahead(&client, client.peer, &alice[1]);
    assert_eq!(noting.noted(), (Vec::new(), Vec::new()));
}

#[test]
fn who_uses_too_many_rooms_has_nothing_checked_in_one_more() {
    let (mut client, noting, alice) = knowing_alice();
    client.as_another(9, Link::ACCEPTED);
    for number in 0..limits::SUBSCRIPTIONS_MAX {
        client.say(&encode_ops(room(&format!("other{number}")), [], None, &[]));
    }
    for _ in 0..2 {
        let frame = look_ahead(&client, client.peer, &alice[1]);
        client.input(Input::Received(client.peer, frame));
    }
    assert_eq!(noting.noted(), (Vec::new(), Vec::new()));
}

#[test]
fn an_op_that_was_rejected_is_not_checked_again() {
    let (mut client, noting) = noting();
    let alice = Author::new(1);
    let first = entry(&alice, &[], "0");
    let bad = alice.with(|head| head.depth = Depth::new(7).unwrap());
    client.say(&ops(&[&first, &bad]));
    assert_eq!(noting.noted().1, ids(&[&first, &bad]));
    client.say(&ops(&[&bad]));
    assert_eq!(noting.noted(), (Vec::new(), Vec::new()));
}

#[test]
fn ops_that_will_be_put_off_are_not_checked_ahead() {
    let (mut client, noting) = noting();
    let ops = Some(Rate { per_second: 100, burst: Span::from_ms(2_000) });
    let rates = KeyRates { ops, bytes: None };
    client.input(Input::Intake(Intake { rates, ..Intake::default() }));
    let alice = chain(1, 1_702);
    let now = Timestamp::from_ms(10_000);
    let mut noted_of = |ops: &[Op]| {
        client.say_at(now, &encode_ops(room(MAIN), ops, None, &[]));
        noting.noted()
    };
    // Up to half of what an author may owe, 30 s at its rate, besides the burst.
    noted_of(&alice[..1]);
    for part in alice[1..1_700].chunks(100) {
        let (ahead, checked) = noted_of(part);
        assert_eq!(ahead, checked);
        assert_eq!(checked.len(), part.len());
    }
    let (ahead, checked) = noted_of(&alice[1_700..1_701]);
    assert_eq!((ahead.len(), checked.len()), (1, 1), "exactly half");
    let (ahead, checked) = noted_of(&alice[1_701..]);
    assert_eq!((ahead.len(), checked.len()), (0, 1), "taken, though it might not be");
}

#[test]
fn nothing_is_checked_ahead_while_nothing_is_taken() {
    let (mut client, noting, alice) = knowing_alice();
    client.input(Input::Intake(Intake { disk_full: true, ..Intake::default() }));
    client.say(&ops(&[&alice[1]]));
    assert_eq!(noting.noted(), (Vec::new(), Vec::new()));
}
