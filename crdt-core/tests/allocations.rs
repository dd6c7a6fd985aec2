//! What an op takes of memory on its way in: counts that do not depend on the machine, and do not
//! grow with the log.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use crdt_core::effect::{Input, Link, PeerId};
use crdt_core::head::Kind;
use crdt_core::id::{Depth, OpId, RoomName, Seq, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::{EachTime, SecretKey};
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::{Frame, Hello, Message, encode_ops};
use crdt_core::op::{Draft, Op};
use crdt_core::replica::{Config, Replica, Rooms};
use crdt_core::time::Timestamp;

const PEER: PeerId = PeerId(1);
const NOW: Timestamp = Timestamp::from_ms(1_000);

/// Allocations for an op, and bytes of them: it takes 7, and 6,200 bytes, eight times what it has on
/// the wire.
const ALLOCATIONS_MAX: u64 = 8;
const BYTES_MAX: u64 = 7_000;

/// Ops in one message.
const AT_ONCE: usize = 100;

/// Ops that are measured, at both ends of the log.
const MEASURED: usize = 1_000;

/// Between them.
const BETWEEN: usize = 8_000;

/// Makes one author's ops.
struct Author {
    key: SecretKey,
    tip: Option<(Seq, OpId)>,
    depth: Depth,
}

impl Author {
    fn op(&mut self) -> Op {
        let draft = Draft {
            room: RoomName::parse("main").unwrap().id(),
            tip: self.tip,
            preds: Vec::new(),
            refs: Vec::new(),
            depth: self.depth,
            ts: NOW,
            kind: Kind::entry(),
            data: Canonical::parse(br#"[{"amount":1,"to":"bob","type":"pay"}]"#).unwrap(),
        };
        let op = draft.sign(&self.key).unwrap();
        self.tip = Some((op.head().seq, op.id()));
        self.depth = self.depth.next();
        op
    }
}

fn take(replica: &mut Replica, frame: &[u8]) {
    drop(replica.handle(NOW, Input::received(PEER, frame)));
    drop(replica.handle(NOW, Input::Flush));
}

/// So many more ops, in messages.
fn frames(author: &mut Author, ops: usize) -> Vec<Frame> {
    let room = RoomName::parse("main").unwrap().id();
    let frame = |_| {
        let ops: Vec<Op> = (0..AT_ONCE).map(|_| author.op()).collect();
        encode_ops(room, &ops, None, &[])
    };
    (0..ops / AT_ONCE).map(frame).collect()
}

/// What so many more ops allocate.
fn taken(replica: &mut Replica, author: &mut Author, ops: usize) -> AllocationInfo {
    let frames = frames(author, ops);
    measure(|| frames.iter().for_each(|frame| take(replica, frame.as_bytes())))
}

/// A relayer to which one peer has said hello, and an author.
fn relayer() -> (Replica, Author) {
    let mut replica = Replica::new(Config {
        store: StoreId::from_bytes([1; 32]),
        agent: "test".into(),
        rooms: Rooms::OnDemand,
        key: None,
        seed: [0; 32],
        allowed: None,
        signatures: Arc::new(EachTime),
    });
    drop(replica.handle(NOW, Input::PeerUp(PEER, Link::ACCEPTED)));
    let hello = Message::Hello(Hello::new("test", StoreId::from_bytes([2; 32]), WINDOW_BYTES));
    take(&mut replica, hello.encode().as_bytes());
    let key = SecretKey::from_seed(&[7; 32]);
    (replica, Author { key, tip: None, depth: Depth::FIRST })
}

fn per_op(all: u64) -> u64 {
    all / MEASURED as u64
}

#[test]
fn an_op_allocates_little_and_no_more_in_a_longer_log() {
    let (mut replica, mut author) = relayer();
    let first = taken(&mut replica, &mut author, MEASURED);
    taken(&mut replica, &mut author, BETWEEN);
    let last = taken(&mut replica, &mut author, MEASURED);
    let growth = last.count_total.saturating_sub(first.count_total);
    assert!(growth < MEASURED as u64 / 10, "{growth} more allocations for {MEASURED} ops");
    for part in [first, last] {
        let (count, bytes) = (per_op(part.count_total), per_op(part.bytes_total));
        assert!(count < ALLOCATIONS_MAX, "{count} allocations for an op");
        assert!(bytes < BYTES_MAX, "{bytes} bytes allocated for an op");
    }
}

#[test]
#[ignore = "run by .ci/copied, which counts the bytes that it copies"]
fn ops_are_made() {
    let (_, mut author) = relayer();
    assert_eq!(frames(&mut author, MEASURED).len(), MEASURED / AT_ONCE);
}

#[test]
#[ignore = "run by .ci/copied, which counts the bytes that it copies"]
fn ops_are_made_and_taken() {
    let (mut replica, mut author) = relayer();
    let frames = frames(&mut author, MEASURED);
    for frame in frames {
        take(&mut replica, frame.as_bytes());
    }
    let room = RoomName::parse("main").unwrap().id();
    assert_eq!(replica.status(room).unwrap().ops, MEASURED as u64);
}
