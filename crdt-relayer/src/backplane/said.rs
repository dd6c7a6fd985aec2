//! What the replica says, as far as the backplane listens.

use bytes::Bytes;
use crdt_core::id::{OpId, RoomId, SetDigest, StoreId};
use crdt_core::message::{Message, Received};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A message of the replica.
#[derive(Debug)]
pub(crate) enum Said {
    Hello {
        store: StoreId,
    },
    Sub {
        room: RoomId,
        cursor: u64,
    },
    Unsub {
        room: RoomId,
    },
    Ops(Ops),
    Ack(Ack),
    Heads {
        room: RoomId,
        set: SetDigest,
    },
    Get {
        room: RoomId,
        ids: Vec<OpId>,
    },
    /// Too many requests wait there.
    Busy,
    /// Nothing to do about it.
    Other,
}

/// An `ops` message: each op as it is written.
#[derive(Debug)]
pub(crate) struct Ops {
    pub(crate) room: RoomId,
    /// Where the replica's stream stands after it; `None` for an answer to a `get`.
    pub(crate) cursor: Option<u64>,
    pub(crate) envelopes: Vec<(OpId, Bytes)>,
    pub(crate) missing: Vec<OpId>,
}

/// What became of an `ops` message.
#[derive(Debug, Default)]
pub(crate) struct Ack {
    pub(crate) stored: u64,
    /// Which ops are parked, by their place in the message.
    pub(crate) parked: Vec<usize>,
    pub(crate) rejected: usize,
    /// Ops that the replica has no room for.
    pub(crate) later: usize,
}

#[derive(Deserialize)]
struct Kind<'f> {
    #[serde(rename = "type")]
    kind: &'f str,
}

#[derive(Deserialize)]
struct RawOps<'f> {
    room: &'f str,
    cursor: Option<u64>,
    #[serde(borrow, default)]
    missing: Vec<&'f str>,
    #[serde(borrow)]
    ops: Vec<&'f RawValue>,
}

#[derive(Deserialize)]
struct Envelope<'f> {
    id: &'f str,
}

#[derive(Deserialize)]
struct RawAck<'f> {
    stored: u64,
    #[serde(borrow)]
    except: Vec<Exception<'f>>,
}

#[derive(Deserialize)]
struct Exception<'f> {
    index: usize,
    verdict: &'f str,
}

impl Said {
    /// Decodes a frame of the replica; `None` if it makes no sense.
    pub(crate) fn decode(frame: &str) -> Option<Self> {
        match serde_json::from_str::<Kind<'_>>(frame).ok()?.kind {
            "ops" => ops(frame).map(Self::Ops),
            "ack" => ack(frame).map(Self::Ack),
            _ => match Received::decode(frame.as_bytes()).ok()? {
                Received::Message(message) => Some(Self::of(message)),
                Received::Acked { .. } | Received::Ops(_) => None,
            },
        }
    }

    fn of(message: Message) -> Self {
        match message {
            Message::Hello(hello) => Self::Hello { store: hello.store },
            Message::Sub { room, cursor, .. } => {
                Self::Sub { room, cursor: cursor.unwrap_or_default().number() }
            }
            Message::Unsub { room } => Self::Unsub { room },
            Message::Heads { room, set, .. } => Self::Heads { room, set },
            Message::Get { room, ids } => Self::Get { room, ids },
            Message::Err { code, .. } if code == "busy" => Self::Busy,
            Message::Auth { .. }
            | Message::Twin { .. }
            | Message::Reconcile { .. }
            | Message::Settled { .. }
            | Message::Err { .. }
            | Message::Ack { .. }
            | Message::Credit { .. } => Self::Other,
        }
    }
}

fn ops(frame: &str) -> Option<Ops> {
    let raw: RawOps<'_> = serde_json::from_str(frame).ok()?;
    let op = |op: &&RawValue| {
        let id = serde_json::from_str::<Envelope<'_>>(op.get()).ok()?.id;
        Some((OpId::parse(id).ok()?, Bytes::copy_from_slice(op.get().as_bytes())))
    };
    Some(Ops {
        room: RoomId::parse(raw.room).ok()?,
        cursor: raw.cursor,
        envelopes: raw.ops.iter().map(op).collect::<Option<_>>()?,
        missing: raw.missing.iter().map(|id| OpId::parse(id).ok()).collect::<Option<_>>()?,
    })
}

fn ack(frame: &str) -> Option<Ack> {
    let raw: RawAck<'_> = serde_json::from_str(frame).ok()?;
    let mut ack = Ack { stored: raw.stored, ..Ack::default() };
    for exception in raw.except {
        match exception.verdict {
            "parked" => ack.parked.push(exception.index),
            "later" => ack.later += 1,
            _ => ack.rejected += 1,
        }
    }
    Some(ack)
}
