//! Ops of fuzzing authors, honest and otherwise: whatever a tape says about the head, the data and
//! the signature, and whether the result is what its author would have signed.

use crdt_core::head::{Head, Kind};
use crdt_core::id::{AuthorId, DataHash, Depth, OpId, RoomId, RoomName, Seq, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::{SecretKey, Signature};
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::{Hello, Message};
use crdt_core::op::RawOp;
use crdt_core::time::Timestamp;

use super::tape::Tape;

/// Authors other than the replica's own.
pub const AUTHORS: u8 = 4;

/// The key of an author; [`AUTHORS`] is the replica's own.
pub fn key(author: u8) -> SecretKey {
    SecretKey::from_seed(&[0xf0 | author; 32])
}

/// The replica's own author.
pub fn own() -> AuthorId {
    key(AUTHORS).author()
}

/// The replica's own store.
pub const OWN_STORE: StoreId = StoreId::from_bytes([0xff; 32]);

/// The `hello` of a peer with the store of this number, or with the replica's own.
pub fn hello(store: Option<u8>) -> Message {
    let store = store.map_or(OWN_STORE, |number| StoreId::from_bytes([number; 32]));
    Message::Hello(Hello::new("peer", store, WINDOW_BYTES))
}

/// The rooms ops are written for.
pub fn room(number: usize) -> RoomName {
    RoomName::parse(["main", "other"][number % 2]).unwrap()
}

/// A first op of an author: an honest head over its data.
pub fn first(author: AuthorId, room: RoomId, data: &Canonical) -> Head {
    Head {
        room,
        author,
        grant: *room.as_bytes(),
        seq: Seq::FIRST,
        prev: None,
        preds: Vec::new(),
        refs: Vec::new(),
        depth: Depth::FIRST,
        ts: Timestamp::from_ms(1_000),
        kind: Kind::entry(),
        data_hash: DataHash::of(data.as_str()),
        data_len: u64::try_from(data.as_str().len()).unwrap(),
    }
}

/// An id that no op has.
pub fn phantom(tape: &mut Tape<'_>) -> OpId {
    OpId::from_bytes([tape.byte(); 32])
}

/// Data of an op; not always that of an entry.
pub fn data(tape: &mut Tape<'_>) -> Canonical {
    let text = match tape.below(8) {
        0..4 => format!("[{}]", tape.byte()),
        4 => "[]".into(),
        5 => tape.byte().to_string(),
        6 => format!("[{}1]", "[1,\"],[\"],".repeat(tape.below(300))),
        _ => String::from_utf8_lossy(tape.take(24)).into_owned(),
    };
    Canonical::parse(text.as_bytes()).unwrap_or_else(|_| Canonical::trusted("[null]".into()))
}

/// Changes a head in one way; `known` are ids it may name.
pub fn bend(tape: &mut Tape<'_>, head: &mut Head, known: &[OpId]) {
    let any = |tape: &mut Tape<'_>| match tape.pick(known) {
        Some(id) if !tape.byte().is_multiple_of(8) => *id,
        Some(_) | None => phantom(tape),
    };
    match tape.below(16) {
        0 => head.depth = Depth::new(u64::from(tape.byte())).unwrap_or(Depth::FIRST),
        1 => head.depth = Depth::new((1 << 53) - 1).unwrap(),
        2 => head.grant = [tape.byte(); 32],
        3 => head.seq = Seq::new(u64::from(tape.byte())).unwrap(),
        4 => head.seq = Seq::new((1 << 53) - 1).unwrap(),
        5 => head.prev = Some(any(tape)),
        6 => head.prev = None,
        7 => head.preds.push(any(tape)),
        8 => head.refs.push(any(tape)),
        9 => head.refs = (0..tape.byte()).map(|byte| OpId::from_bytes([byte; 32])).collect(),
        10 => head.ts = Timestamp::from_ms(i64::from(tape.byte()) - 100),
        11 => head.ts = Timestamp::from_ms(i64::MAX),
        12 => head.kind = Kind::parse(["note", "accuse", "x"][tape.below(3)]).unwrap(),
        13 => head.data_len = tape.number() as u64,
        14 => head.room = room(1).id(),
        _ => head.author = AuthorId::from_bytes([tape.byte(); 32]),
    }
}

/// An op made of a head, and whether its author signed exactly this.
pub fn sign(tape: &mut Tape<'_>, author: u8, head: Head, data: Canonical) -> (RawOp, bool) {
    let mut id = head.id();
    let mut sig = key(author).sign(id);
    let mut honest = key(author).author() == head.author;
    match tape.below(16) {
        0 => {
            sig = key(author ^ 1).sign(id);
            honest = false;
        }
        1 => {
            let mut bytes = *sig.as_bytes();
            bytes[tape.below(64)] ^= 1 << tape.below(8);
            sig = Signature::from_bytes(bytes);
            honest = false;
        }
        2 => {
            id = phantom(tape);
            honest = false;
        }
        _ => {}
    }
    (RawOp { id, head, data, sig }, honest)
}
