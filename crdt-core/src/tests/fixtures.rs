//! Test-only: authors and ops made with one line.

use alloc::string::String;
use alloc::vec::Vec;

use crate::head::{Head, Kind};
use crate::id::{AuthorId, Depth, OpId, RoomId, RoomName};
use crate::json::Canonical;
use crate::key::SecretKey;
use crate::op::{Draft, Op, RawOp};
use crate::time::Timestamp;

/// An author with a key of its own.
pub(crate) struct Author(pub(crate) SecretKey);

impl Author {
    pub(crate) fn new(number: u8) -> Self {
        Self(SecretKey::from_seed(&[number; 32]))
    }

    pub(crate) fn id(&self) -> AuthorId {
        self.0.author()
    }

    /// The author's next op after `prev`.
    pub(crate) fn after(&self, prev: &Op, preds: &[&Op], data: &str) -> Op {
        let tip = Some((prev.head().seq, prev.id()));
        sign(&self.0, tip, preds.iter().copied().chain([prev]), preds, data)
    }

    /// A first op whose head was changed before it was signed.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Head)) -> Op {
        self.with_data("1", change)
    }

    /// The same with data of its own.
    pub(crate) fn with_data(&self, data: &str, change: impl FnOnce(&mut Head)) -> Op {
        let op = entry(self, &[], data);
        let mut head = op.head().clone();
        change(&mut head);
        let id = head.id();
        let data = Canonical::parse(op.data().as_bytes()).unwrap();
        RawOp { id, head, data, sig: self.0.sign(id) }.check_hash().unwrap().verify().unwrap()
    }
}

/// An author's first op, holding one transaction.
pub(crate) fn entry(author: &Author, preds: &[&Op], data: &str) -> Op {
    sign(&author.0, None, preds.iter().copied(), preds, data)
}

fn sign<'o>(
    key: &SecretKey,
    tip: Option<(crate::id::Seq, OpId)>,
    deps: impl Iterator<Item = &'o Op>,
    preds: &[&Op],
    data: &str,
) -> Op {
    let mut ids: Vec<OpId> = preds.iter().map(|op| op.id()).collect();
    ids.sort_unstable();
    let depth = deps.map(|op| op.head().depth).max().map_or(Depth::FIRST, Depth::next);
    Draft {
        room: room("main"),
        tip,
        preds: ids,
        refs: Vec::new(),
        depth,
        ts: Timestamp::from_ms(1),
        kind: Kind::entry(),
        data: Canonical::parse(alloc::format!("[{data}]").as_bytes()).unwrap(),
    }
    .sign(key)
    .unwrap()
}

/// An id that no op has.
pub(crate) fn id_of(byte: u8) -> OpId {
    OpId::from_bytes([byte; 32])
}

/// The id of an open room.
pub(crate) fn room(name: &str) -> RoomId {
    RoomName::parse(name).unwrap().id()
}

/// An op as another node reads it from the wire.
pub(crate) fn reread(op: &Op) -> crate::op::HashedOp {
    let mut text = String::new();
    op.write(&mut text);
    RawOp::parse(text.as_bytes()).unwrap().check_hash().unwrap()
}
