//! A message with ops: the one that comes often, and is long.
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::{DecodeError, ids, position, room};
use crate::id::{OpId, Position, RoomId};
use crate::json::{Scanner, Value};
use crate::limits;
use crate::op::{HashedOp, RawOp};
use crate::rejection::Rejection;

/// A message with ops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The room.
    pub room: RoomId,
    /// The ops, each what its id says; one that is malformed does not spoil the others.
    pub ops: Vec<Result<HashedOp, Rejection>>,
    /// Where the sender's stream stands after these ops.
    pub cursor: Option<Position>,
    /// Ids asked for that the sender does not hold.
    pub missing: Vec<OpId>,
}

impl Batch {
    /// Reads a frame that is written as [`encode_ops`](super::encode_ops) writes it, unless a key in
    /// some data has an escape; `None` is not yet a refusal.
    pub(super) fn scan(frame: &str) -> Option<Self> {
        let (room, cursor, missing, ops) = Scanner::all(frame, |scanner| {
            scanner.eat("{\"type\":\"ops\",\"room\":")?;
            let room = RoomId::from_bytes(scanner.hex()?);
            let cursor = match scanner.eat(",\"cursor\":") {
                Some(()) => Some(Position::new(scanner.count()?)?),
                None => None,
            };
            let missing = match scanner.eat(",\"missing\":") {
                Some(()) => scanner.ids(limits::GET_IDS_MAX)?,
                None => Vec::new(),
            };
            scanner.eat(",\"ops\":")?;
            let ops = scanner.list(limits::BATCH_OPS_MAX, RawOp::scan)?;
            scanner.eat("}")?;
            Some((room, cursor, missing, ops))
        })?;
        // Nothing is hashed of a frame that goes the long way. What waits takes no more memory than
        // it needs.
        let mut ops: Vec<_> = ops.into_iter().map(RawOp::check_hash).collect();
        ops.shrink_to_fit();
        Some(Self { room, ops, cursor, missing })
    }

    /// Reads a frame that was taken apart.
    pub(super) fn decode(value: &Value<'_>) -> Result<Self, DecodeError> {
        let ops = value.member("ops").and_then(Value::as_array);
        let ops = ops.filter(|ops| ops.len() <= limits::BATCH_OPS_MAX);
        let ops = ops.ok_or(DecodeError::Field("ops"))?;
        Ok(Self {
            room: room(value)?,
            cursor: match value.member("cursor") {
                None | Some(Value::Null) => None,
                Some(_) => Some(position(value, "cursor")?),
            },
            missing: match value.member("missing") {
                None => Vec::new(),
                Some(_) => ids(value, "missing", limits::GET_IDS_MAX)?,
            },
            ops: ops.iter().map(|op| RawOp::decode(op).and_then(RawOp::check_hash)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;
    use core::iter::repeat_n;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::fixtures::{Author, entry, id_of, room};
    use crate::message::{Received, encode_ops};

    /// Frames with all members that one may have, and none.
    fn frames() -> [String; 3] {
        let first = entry(&Author::new(1), &[], "{\"a\":\"é\",\"è\":[1]}");
        let second = entry(&Author::new(2), &[&first], "\"x\"");
        let room = room("main");
        [
            encode_ops(room, [&first, &second], Position::new(4), &[id_of(8), id_of(9)]),
            encode_ops(room, [&first], None, &[]),
            encode_ops(room, [], None, &[id_of(9)]),
        ]
        .map(|frame| String::from(&*frame))
    }

    /// What a frame says if it is taken apart.
    fn taken_apart(frame: &[u8]) -> Result<Batch, DecodeError> {
        Batch::decode(&Value::parse(frame, limits::FRAME_DEPTH_MAX)?)
    }

    fn agree(frame: &[u8]) {
        if let Some(batch) = core::str::from_utf8(frame).ok().and_then(Batch::scan) {
            assert_eq!(taken_apart(frame), Ok(batch), "{}", String::from_utf8_lossy(frame));
        }
    }

    #[test]
    fn what_we_write_is_read_in_one_pass() {
        for frame in frames() {
            assert!(Batch::scan(&frame).is_some(), "{frame}");
            agree(frame.as_bytes());
        }
    }

    #[test]
    fn lists_of_a_frame_stop_exactly_at_their_limits() {
        let op = entry(&Author::new(1), &[], "1");
        let [ops_max, ids_max] = [limits::BATCH_OPS_MAX, limits::GET_IDS_MAX];
        for (ops, missing, fits) in [
            (ops_max, ids_max, true),
            (ops_max.saturating_add(1), 0, false),
            (0, ids_max.saturating_add(1), false),
        ] {
            let missing = vec![id_of(1); missing];
            let frame = encode_ops(room("main"), repeat_n(&op, ops), None, &missing);
            assert_eq!(Batch::scan(&frame).is_some(), fits);
            assert_eq!(Received::decode(frame.as_bytes()).is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_what_somebody_changed(
            frame in 0_usize..3,
            at in any::<Index>(),
            taken in 0_usize..3,
            put in r#"[{}\[\],:"\\ 0-9a-gA-F.\-]{0,3}"#,
        ) {
            let mut frame = frames()[frame].clone().into_bytes();
            let at = at.index(frame.len());
            let end = at.saturating_add(taken).min(frame.len());
            frame.splice(at..end, put.bytes());
            agree(&frame);
        }
    }
}
