//! Signed ops to test with.

use crdt_core::head::Kind;
use crdt_core::id::{Depth, RoomId, RoomName};
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_core::op::{Draft, Op};
use crdt_core::time::Timestamp;

/// The room they are of.
pub(crate) fn room() -> RoomId {
    room_name().id()
}

pub(crate) fn room_name() -> RoomName {
    RoomName::parse("main").unwrap()
}

/// So many ops of one author, each after the one before. Their entries are numbered from 1.
pub(crate) fn chain(author: u8, len: usize) -> Vec<Op> {
    let key = SecretKey::from_seed(&[author; 32]);
    let mut chain: Vec<Op> = Vec::new();
    for number in 1..=len {
        let tip = chain.last();
        let draft = Draft {
            room: room(),
            tip: tip.map(|op| (op.head().seq, op.id())),
            preds: Vec::new(),
            refs: Vec::new(),
            depth: tip.map_or(Depth::FIRST, |op| op.head().depth.next()),
            ts: Timestamp::from_ms(0),
            kind: Kind::entry(),
            data: Canonical::parse(format!("[{number}]").as_bytes()).unwrap(),
        };
        chain.push(draft.sign(&key).unwrap());
    }
    chain
}
