//! The frame decoder: no bytes panic; spelling does not matter; what is said reads back the same;
//! an op taken from a frame is signed.

use crdt_core::json::{Canonical, Value};
use crdt_core::limits;
use crdt_core::message::{Batch, Received, encode_ops};

use super::op;

/// Takes one frame.
pub fn run(data: &[u8]) {
    let received = Received::decode(data);
    let Ok(value) = Value::parse(data, limits::FRAME_DEPTH_MAX) else {
        assert!(received.is_err(), "what is no JSON is no frame");
        return;
    };
    let other_spelling = Received::decode(Canonical::of(&value).as_str().as_bytes());
    assert_eq!(received, other_spelling, "spelling does not matter");
    match received {
        Err(error) => assert!(!error.code().is_empty() && !error.to_string().is_empty()),
        Ok(Received::Message(message)) => match Received::decode(message.encode().as_bytes()) {
            Ok(Received::Message(again)) => assert_eq!(again, message),
            other => panic!("{message:?} became {other:?}"),
        },
        Ok(Received::Acked { .. }) => {}
        Ok(Received::Ops(batch)) => ops(batch),
    }
}

fn ops(batch: Batch) {
    assert!(batch.ops.len() <= limits::BATCH_OPS_MAX);
    assert!(batch.missing.len() <= limits::GET_IDS_MAX);
    let good: Vec<_> = batch.ops.into_iter().flatten().filter_map(op::verified).collect();
    let frame = encode_ops(batch.room, &good, batch.cursor, &batch.missing);
    if frame.len() > limits::FRAME_BYTES_MAX {
        return;
    }
    let Ok(Received::Ops(again)) = Received::decode(frame.as_bytes()) else {
        panic!("an `ops` message does not read back")
    };
    assert_eq!((again.room, again.cursor), (batch.room, batch.cursor));
    assert_eq!(again.missing, batch.missing);
    let ids = again.ops.into_iter().map(|op| op.map(|op| op.id()));
    assert!(ids.eq(good.iter().map(|op| Ok(op.id()))), "the same ops");
}
