//! Sync messages: JSON text frames, decoded strictly. Source: `docs/PROTOCOL.md`, "Messages".
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

mod batch;
mod decoded;
mod encode;
mod unstored;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

use crate::head::VERSION;
use crate::id::{AuthorId, Nonce, OpId, Position, RoomId, RoomName, SetDigest, StoreId};
use crate::intake::Shortage;
use crate::json::{JsonError, Scanner, Value};
use crate::key::Signature;
use crate::limits;

pub use batch::Batch;
pub use decoded::Decoded;
pub use encode::encode_ops;
pub use unstored::{Exception, NotStored};

/// One frame to send, shared between all who get it.
pub type Frame = Arc<str>;

/// Why a frame is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than [`limits::FRAME_BYTES_MAX`] bytes.
    #[error("a frame holds at most 1048576 bytes")]
    Size,
    /// Not JSON of the profile.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A field is missing or malformed.
    #[error("field `{0}` is missing or malformed")]
    Field(&'static str),
    /// A `hello` of another version.
    #[error("this side speaks version 1")]
    Version,
    /// A message type that this version does not know.
    #[error("unknown message type")]
    Unknown,
}

impl DecodeError {
    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Json(_) => "json",
            Self::Field(_) => "field",
            Self::Version => "version",
            Self::Unknown => "unknown",
        }
    }
}

/// How a side introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its software, for people.
    pub agent: String,
    /// Its store.
    pub store: StoreId,
    /// Bytes of `ops` messages it takes before it grants more.
    pub window: u64,
    /// Fresh for this connection; without it no key is proved.
    pub nonce: Option<Nonce>,
    /// Whether it demands a proof of key.
    pub auth: bool,
}

impl Hello {
    /// Without nonce and demands.
    pub fn new(agent: impl Into<String>, store: StoreId, window: u64) -> Self {
        Self { agent: agent.into(), store, window, nonce: None, auth: false }
    }
}

/// A message without ops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message each way.
    Hello(Hello),
    /// Proves that the sender has a key, where `hello` demanded it.
    Auth {
        /// The key.
        author: AuthorId,
        /// Over the challenge of this connection.
        sig: Signature,
    },
    /// The connection on which the receiver said this nonce ends at the sender too.
    Twin {
        /// The nonce.
        nonce: Nonce,
    },
    /// Asks for a room's ops from a cursor on.
    Sub {
        /// The room.
        room: RoomId,
        /// Its name, if the sender knows it.
        name: Option<RoomName>,
        /// What the sender already pulled from the receiver's store; `None` if it holds ops of the
        /// room and does not know which of them the receiver has too.
        cursor: Option<Position>,
    },
    /// Ends the exchange of a room, both ways.
    Unsub {
        /// The room.
        room: RoomId,
    },
    /// Answers one `ops`, after what was stored is durable.
    Ack {
        /// The room.
        room: RoomId,
        /// How many of its ops are stored, before or now.
        stored: u64,
        /// The others.
        except: Vec<Exception>,
    },
    /// What the sender's set of ops is.
    Heads {
        /// The room.
        room: RoomId,
        /// Digest of all heads.
        set: SetDigest,
        /// Ops in the set.
        count: u64,
        /// The heads, at most [`limits::HEADS_LISTED_MAX`] of them.
        heads: Vec<OpId>,
        /// Position of the sender's last op.
        cursor: Position,
    },
    /// A message of a comparison of sets.
    Reconcile {
        /// The room.
        room: RoomId,
        /// Whether it answers one of whoever began.
        answer: bool,
        /// Which one of whoever began it is, or answers: counted per connection and room.
        number: u64,
        /// The message: negentropy, version 1.
        frame: Vec<u8>,
    },
    /// Ends what began with a comparison: everything it brought to light has been moved.
    Settled {
        /// The room.
        room: RoomId,
        /// The receiver was sent all ops of the sender's store up to here.
        cursor: Position,
        /// The sender holds all ops of the receiver's store up to here.
        pulled: Position,
    },
    /// Asks for ops by id.
    Get {
        /// The room.
        room: RoomId,
        /// The ids.
        ids: Vec<OpId>,
    },
    /// Allows more bytes of `ops` messages.
    Credit {
        /// How many.
        bytes: u64,
    },
    /// Something the receiver did could not be done.
    Err {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message without ops.
    Message(Message),
    /// An `ack`: only its counts matter to the one who gets it.
    Acked {
        /// The room.
        room: RoomId,
        /// Whether every op was stored.
        all_stored: bool,
        /// If any may be sent again later, what is lacking: what lasts longest.
        put_off: Option<Shortage>,
    },
    /// A message with ops.
    Ops(Batch),
}

impl Received {
    /// Decodes a frame. Fields that are not known are ignored.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        if frame.len() > limits::FRAME_BYTES_MAX {
            return Err(DecodeError::Size);
        }
        // What comes often is read in one pass where it is spelled as we spell it.
        if let Ok(text) = core::str::from_utf8(frame) {
            if let Some(batch) = Batch::scan(text) {
                return Ok(Self::Ops(batch));
            }
            if let Some(room) = Scanner::all(text, full_ack) {
                return Ok(Self::Acked { room, all_stored: true, put_off: None });
            }
        }
        let value = Value::parse(frame, limits::FRAME_DEPTH_MAX)?;
        let kind =
            value.member("type").and_then(Value::as_str).ok_or(DecodeError::Field("type"))?;
        let message = match kind {
            "hello" => hello(&value)?,
            "auth" => Message::Auth {
                author: parsed(&value, "author", AuthorId::parse)?,
                sig: parsed(&value, "sig", Signature::parse)?,
            },
            "twin" => Message::Twin { nonce: parsed(&value, "nonce", Nonce::parse)? },
            "sub" => sub(&value)?,
            "unsub" => Message::Unsub { room: room(&value)? },
            "heads" => heads(&value)?,
            "reconcile" => reconcile(&value)?,
            "settled" => Message::Settled {
                room: room(&value)?,
                cursor: position(&value, "cursor")?,
                pulled: position(&value, "pulled")?,
            },
            "get" => {
                Message::Get { room: room(&value)?, ids: ids(&value, "ids", limits::GET_IDS_MAX)? }
            }
            "credit" => Message::Credit { bytes: count(&value, "bytes")? },
            "err" => {
                let code = text(&value, "code", limits::ERR_CODE_CHARS_MAX)?;
                let message = text(&value, "message", limits::ERR_CHARS_MAX)?;
                Message::Err { code, message }
            }
            "ops" => return Batch::decode(&value).map(Self::Ops),
            "ack" => {
                let except = value.member("except").and_then(Value::as_array);
                let except = except.ok_or(DecodeError::Field("except"))?;
                count(&value, "stored")?;
                let put_off = except.iter().filter_map(put_off).min();
                let all_stored = except.is_empty();
                return Ok(Self::Acked { room: room(&value)?, all_stored, put_off });
            }
            _ => return Err(DecodeError::Unknown),
        };
        Ok(Self::Message(message))
    }
}

/// The room of an `ack` without exceptions.
fn full_ack(scanner: &mut Scanner<'_>) -> Option<RoomId> {
    scanner.eat("{\"type\":\"ack\",\"room\":")?;
    let room = RoomId::from_bytes(scanner.hex()?);
    scanner.eat(",\"stored\":")?;
    scanner.count()?;
    scanner.eat(",\"except\":[]}")?;
    Some(room)
}

/// What was lacking to take an op, if its verdict is `later`.
fn put_off(exception: &Value<'_>) -> Option<Shortage> {
    let member = |name| exception.member(name).and_then(Value::as_str);
    // What is unknown here may last.
    let lacks = || member("code").and_then(Shortage::parse).unwrap_or(Shortage::Disk);
    (member("verdict") == Some("later")).then(lacks)
}

/// A text for people or logs, cut where it gets too long to be honest.
fn text(value: &Value<'_>, name: &'static str, chars: usize) -> Result<String, DecodeError> {
    let text = value.member(name).and_then(Value::as_str).ok_or(DecodeError::Field(name))?;
    Ok(text.chars().take(chars).collect())
}

fn count(value: &Value<'_>, name: &'static str) -> Result<u64, DecodeError> {
    value.member(name).and_then(Value::as_count).ok_or(DecodeError::Field(name))
}

fn position(value: &Value<'_>, name: &'static str) -> Result<Position, DecodeError> {
    Position::new(count(value, name)?).ok_or(DecodeError::Field(name))
}

fn parsed<T, E>(
    value: &Value<'_>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, DecodeError> {
    let text = value.member(name).and_then(Value::as_str);
    text.and_then(|text| parse(text).ok()).ok_or(DecodeError::Field(name))
}

fn room(value: &Value<'_>) -> Result<RoomId, DecodeError> {
    parsed(value, "room", RoomId::parse)
}

fn ids(value: &Value<'_>, name: &'static str, max: usize) -> Result<Vec<OpId>, DecodeError> {
    let values = value.member(name).and_then(Value::as_array);
    let values = values.filter(|ids| ids.len() <= max).ok_or(DecodeError::Field(name))?;
    let id = |value: &Value<'_>| value.as_str().and_then(|text| OpId::parse(text).ok());
    values.iter().map(|value| id(value).ok_or(DecodeError::Field(name))).collect()
}

fn hello(value: &Value<'_>) -> Result<Message, DecodeError> {
    if value.member("v").and_then(Value::as_int) != Some(VERSION) {
        return Err(DecodeError::Version);
    }
    let least = u64::try_from(limits::FRAME_BYTES_MAX).unwrap_or(u64::MAX);
    let window = count(value, "window")?;
    if window < least {
        return Err(DecodeError::Field("window"));
    }
    let nonce = value.member("nonce").map(|_| parsed(value, "nonce", Nonce::parse)).transpose()?;
    Ok(Message::Hello(Hello {
        agent: text(value, "agent", limits::AGENT_CHARS_MAX)?,
        store: parsed(value, "store", StoreId::parse)?,
        window: window.min(limits::WINDOW_BYTES_MAX),
        nonce,
        auth: value.member("auth").map_or(Ok(false), |_| flag(value, "auth"))?,
    }))
}

fn sub(value: &Value<'_>) -> Result<Message, DecodeError> {
    let room = room(value)?;
    let name = match value.member("name") {
        None | Some(Value::Null) => None,
        Some(_) => Some(parsed(value, "name", RoomName::parse)?),
    };
    if name.as_ref().is_some_and(|name| name.id() != room) {
        return Err(DecodeError::Field("name"));
    }
    let cursor = match value.member("cursor") {
        Some(Value::Null) => None,
        None | Some(_) => Some(position(value, "cursor")?),
    };
    Ok(Message::Sub { room, name, cursor })
}

fn reconcile(value: &Value<'_>) -> Result<Message, DecodeError> {
    let text = value.member("frame").and_then(Value::as_str).ok_or(DecodeError::Field("frame"))?;
    let frame = Base64::decode_vec(text).map_err(|_| DecodeError::Field("frame"))?;
    let (answer, number) = (flag(value, "answer")?, count(value, "number")?);
    Ok(Message::Reconcile { room: room(value)?, answer, number, frame })
}

fn flag(value: &Value<'_>, name: &'static str) -> Result<bool, DecodeError> {
    match value.member(name) {
        Some(Value::Bool(flag)) => Ok(*flag),
        None | Some(_) => Err(DecodeError::Field(name)),
    }
}

fn heads(value: &Value<'_>) -> Result<Message, DecodeError> {
    Ok(Message::Heads {
        room: room(value)?,
        set: parsed(value, "set", SetDigest::parse)?,
        count: count(value, "count")?,
        heads: ids(value, "heads", limits::HEADS_LISTED_MAX)?,
        cursor: position(value, "cursor")?,
    })
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::fixtures::{Author, entry, id_of, room};
    use crate::intake::Shortage;
    use crate::rejection::Rejection;

    fn decode(frame: &str) -> Result<Received, DecodeError> {
        Received::decode(frame.as_bytes())
    }

    #[test]
    fn messages_read_back_the_same() {
        let room = room("main");
        let store = StoreId::from_bytes([3; 32]);
        let nonce = Nonce::from_bytes([8; 32]);
        let name = RoomName::parse("main").ok();
        let cursor = Position::new(7).unwrap();
        let set = SetDigest::from_bytes([4; 32]);
        for message in [
            Message::Hello(Hello::new("a \"b\"", store, limits::WINDOW_BYTES)),
            Message::Hello(Hello {
                nonce: Some(nonce),
                auth: true,
                ..Hello::new("", store, 1 << 20)
            }),
            Message::Twin { nonce },
            Message::Auth { author: Author::new(1).id(), sig: Signature::from_bytes([5; 64]) },
            Message::Sub { room, name, cursor: Some(cursor) },
            Message::Sub { room, name: None, cursor: None },
            Message::Reconcile { room, answer: true, number: 7, frame: vec![0x61, 0, 255] },
            Message::Reconcile { room, answer: false, number: 0, frame: vec![] },
            Message::Settled { room, cursor, pulled: Position::START },
            Message::Unsub { room },
            Message::Heads { room, set, count: 9, heads: vec![id_of(1), id_of(2)], cursor },
            Message::Get { room, ids: vec![id_of(1)] },
            Message::Credit { bytes: 5 },
            Message::Err { code: "json".into(), message: "no".into() },
        ] {
            match decode(&message.encode()) {
                Ok(Received::Message(read)) => assert_eq!(read, message),
                other => panic!("{message:?} became {other:?}"),
            }
        }
    }

    #[test]
    fn an_ack_says_which_ops_were_not_stored() {
        let room = room("main");
        let rejected = Exception { index: 2, why: NotStored::Rejected(Rejection::Signature) };
        let except = vec![Exception { index: 1, why: NotStored::Parked }, rejected];
        let frame = Message::Ack { room, stored: 1, except }.encode();
        let listed =
            r#"[{"index":1,"verdict":"parked"},{"index":2,"verdict":"rejected","code":"sig"}]"#;
        assert_eq!(
            &*frame,
            format!(r#"{{"type":"ack","room":"{room}","stored":1,"except":{listed}}}"#)
        );
        let acked = decode(&frame);
        assert!(matches!(acked, Ok(Received::Acked { all_stored: false, put_off: None, .. })));
        let frame = Message::Ack { room, stored: 2, except: vec![] }.encode();
        assert_eq!(Scanner::all(&frame, full_ack), Some(room));
        for spelled in [frame.replace(":[]", ": []"), String::from(&*frame)] {
            let acked = decode(&spelled);
            let is_it = matches!(acked, Ok(Received::Acked { room: of, all_stored: true, put_off: None }) if of == room);
            assert!(is_it, "{acked:?}");
        }
        let except = vec![Exception { index: 0, why: NotStored::Later(Shortage::Disk) }];
        let frame = Message::Ack { room, stored: 0, except }.encode();
        assert!(frame.contains(r#"{"index":0,"verdict":"later","code":"disk"}"#), "{frame}");
        assert!(matches!(
            decode(&frame),
            Ok(Received::Acked { put_off: Some(Shortage::Disk), .. })
        ));
    }

    #[test]
    fn one_malformed_op_does_not_spoil_the_others() {
        let op = entry(&Author::new(1), &[], "1");
        let frame = encode_ops(room("main"), [&op], Position::new(4), &[id_of(9)]);
        let frame = frame.replacen("\"ops\":[", "\"ops\":[{\"id\":1},", 1);
        let Ok(Received::Ops(batch)) = decode(&frame) else { panic!("{frame}") };
        assert_eq!(batch.ops[0].as_ref().err(), Some(&Rejection::Field("data")));
        assert_eq!(batch.ops[1].as_ref().unwrap().id(), op.id());
        assert_eq!((batch.cursor, batch.missing), (Position::new(4), vec![id_of(9)]));
    }

    #[test]
    fn a_data_at_the_nesting_limit_fits_in_a_frame() {
        let nested =
            "[".repeat(limits::DATA_DEPTH_MAX - 1) + &"]".repeat(limits::DATA_DEPTH_MAX - 1);
        let op = entry(&Author::new(1), &[], &nested);
        let frame = encode_ops(room("main"), [&op], None, &[]);
        assert!(matches!(decode(&frame), Ok(Received::Ops(batch)) if batch.ops[0].is_ok()));
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_code() {
        let hex = "0".repeat(64);
        let hello =
            format!(r#"{{"type":"hello","v":1,"agent":"","store":"{hex}","window":1048576}}"#);
        assert!(decode(&hello).is_ok());
        let many = vec![format!("\"{hex}\""); limits::GET_IDS_MAX + 1].join(",");
        for (frame, code) in [
            (" ".repeat(limits::FRAME_BYTES_MAX + 1), "size"),
            ("garbage".into(), "json"),
            ("[".repeat(10_000), "json"),
            (r#"{"type":"sub","type":"sub"}"#.into(), "json"),
            ("[]".into(), "field"),
            ("{}".into(), "field"),
            (r#"{"type":1}"#.into(), "field"),
            (r#"{"type":"sing"}"#.into(), "unknown"),
            (hello.replace("\"v\":1", "\"v\":2"), "version"),
            (hello.replace("1048576", "1048575"), "field"),
            (hello.replace(&hex, "00"), "field"),
            (format!(r#"{{"type":"sub","room":"{hex}"}}"#), "field"),
            (format!(r#"{{"type":"sub","room":"{hex}","cursor":-1}}"#), "field"),
            (format!(r#"{{"type":"sub","room":"{hex}","cursor":0,"name":"main"}}"#), "field"),
            (format!(r#"{{"type":"get","room":"{hex}","ids":[{many}]}}"#), "field"),
            (
                format!(r#"{{"type":"reconcile","room":"{hex}","answer":false,"frame":"YQ"}}"#),
                "field",
            ),
            (
                format!(r#"{{"type":"reconcile","room":"{hex}","answer":0,"frame":"YQ=="}}"#),
                "field",
            ),
            (format!(r#"{{"type":"settled","room":"{hex}","cursor":1}}"#), "field"),
            (format!(r#"{{"type":"get","room":"{}","ids":[]}}"#, "A".repeat(64)), "field"),
        ] {
            assert_eq!(decode(&frame).err().map(DecodeError::code), Some(code), "{frame:.80}");
        }
    }

    #[test]
    fn fields_not_known_are_ignored() {
        let frame = r#"{"type":"credit","bytes":5,"later":{"x":[]}}"#;
        assert!(matches!(decode(frame), Ok(Received::Message(Message::Credit { bytes: 5 }))));
    }
}
