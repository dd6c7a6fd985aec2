//! A replica, and signed ops, to test with.

use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::head::Kind;
use crdt_core::id::{Depth, RoomId, RoomName, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::{CheckSignature, SecretKey};
use crdt_core::limits::BATCH_OPS_MAX;
use crdt_core::message::encode_ops;
use crdt_core::op::{Draft, Op};
use crdt_core::replica::{Config, Rooms};
use crdt_core::time::Timestamp;

/// The room they are of.
pub(crate) fn room() -> RoomId {
    room_name().id()
}

pub(crate) fn room_name() -> RoomName {
    RoomName::parse("main").unwrap()
}

/// A relayer's replica.
pub(crate) fn replica(store: StoreId, signatures: Arc<dyn CheckSignature>) -> Replica {
    Replica::new(Config {
        store,
        agent: "test".into(),
        rooms: Rooms::OnDemand,
        key: None,
        seed: [0; 32],
        allowed: None,
        signatures,
    })
}

/// A frame of as many ops as there may be, none of which is one: small, and large once decoded.
pub(crate) fn refused_ops() -> String {
    let many = vec!["0"; BATCH_OPS_MAX].join(",");
    let frame = encode_ops(room(), [], None, &[]);
    frame.replace("\"ops\":[", &format!("\"ops\":[{many}"))
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
