//! Messages as the frames that say them.

use alloc::string::String;

use base64ct::{Base64, Encoding};

use super::{Exception, Frame, Hello, Message, NotStored};
use crate::head::VERSION;
use crate::id::{OpId, Position, RoomId};
use crate::json::{write_int, write_string};
use crate::limits;
use crate::op::Op;

/// Writes `{"type":…}` with members in the order they are added.
struct Writer(String);

impl Writer {
    fn new(kind: &str) -> Self {
        let mut text = String::from("{\"type\":");
        write_string(kind, &mut text);
        Self(text)
    }

    fn key(&mut self, name: &str) -> &mut String {
        self.0.push(',');
        write_string(name, &mut self.0);
        self.0.push(':');
        &mut self.0
    }

    fn text(mut self, name: &str, text: &str) -> Self {
        write_string(text, self.key(name));
        self
    }

    fn count(mut self, name: &str, number: u64) -> Self {
        write_int(i64::try_from(number).unwrap_or(limits::INTEGER_MAX), self.key(name));
        self
    }

    fn cursor(mut self, cursor: Option<Position>) -> Self {
        if let Some(cursor) = cursor {
            return self.count("cursor", cursor.number());
        }
        self.key("cursor").push_str("null");
        self
    }

    fn id(mut self, name: &str, push: impl Fn(&mut String)) -> Self {
        let out = self.key(name);
        out.push('"');
        push(out);
        out.push('"');
        self
    }

    fn list<T>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        push: impl Fn(T, &mut String),
    ) -> Self {
        let out = self.key(name);
        out.push('[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push(item, out);
        }
        out.push(']');
        self
    }

    fn finish(mut self) -> Frame {
        self.0.push('}');
        self.0.into()
    }
}

fn push_quoted(id: OpId, out: &mut String) {
    out.push('"');
    id.push_to(out);
    out.push('"');
}

impl Message {
    /// The frame that says this.
    pub fn encode(&self) -> Frame {
        match self {
            Self::Hello(Hello { agent, store, window, nonce, auth }) => {
                let mut writer = Writer::new("hello")
                    .count("v", VERSION.unsigned_abs())
                    .text("agent", agent)
                    .id("store", |out| store.push_to(out))
                    .count("window", *window);
                if let Some(nonce) = nonce {
                    writer = writer.id("nonce", |out| nonce.push_to(out));
                }
                if *auth {
                    writer.key("auth").push_str("true");
                }
                writer
            }
            Self::Auth { author, sig } => Writer::new("auth")
                .id("author", |out| author.push_to(out))
                .id("sig", |out| sig.push_to(out)),
            Self::Twin { nonce } => Writer::new("twin").id("nonce", |out| nonce.push_to(out)),
            Self::Sub { room, name, cursor } => {
                let writer = Writer::new("sub").id("room", |out| room.push_to(out));
                match name {
                    Some(name) => writer.text("name", name.as_str()),
                    None => writer,
                }
                .cursor(*cursor)
            }
            Self::Unsub { room } => Writer::new("unsub").id("room", |out| room.push_to(out)),
            Self::Ack { room, stored, except } => Writer::new("ack")
                .id("room", |out| room.push_to(out))
                .count("stored", *stored)
                .list("except", except, push_exception),
            Self::Heads { room, set, count, heads, cursor } => Writer::new("heads")
                .id("room", |out| room.push_to(out))
                .id("set", |out| set.push_to(out))
                .count("count", *count)
                .list("heads", heads, |id, out| push_quoted(*id, out))
                .count("cursor", cursor.number()),
            Self::Reconcile { room, answer, number, frame } => {
                let mut writer = Writer::new("reconcile").id("room", |out| room.push_to(out));
                writer.key("answer").push_str(if *answer { "true" } else { "false" });
                writer.count("number", *number).text("frame", &Base64::encode_string(frame))
            }
            Self::Settled { room, cursor, pulled } => Writer::new("settled")
                .id("room", |out| room.push_to(out))
                .count("cursor", cursor.number())
                .count("pulled", pulled.number()),
            Self::Get { room, ids } => Writer::new("get").id("room", |out| room.push_to(out)).list(
                "ids",
                ids,
                |id, out| push_quoted(*id, out),
            ),
            Self::Credit { bytes } => Writer::new("credit").count("bytes", *bytes),
            Self::Err { code, message } => {
                Writer::new("err").text("code", code).text("message", message)
            }
        }
        .finish()
    }
}

fn push_exception(exception: &Exception, out: &mut String) {
    out.push_str("{\"index\":");
    write_int(i64::try_from(exception.index).unwrap_or(limits::INTEGER_MAX), out);
    let (verdict, code) = match exception.why {
        NotStored::Parked => ("parked", None),
        NotStored::Rejected(rejection) => ("rejected", Some(rejection.code())),
        NotStored::Later(shortage) => ("later", Some(shortage.code())),
    };
    out.push_str(",\"verdict\":");
    write_string(verdict, out);
    if let Some(code) = code {
        out.push_str(",\"code\":");
        write_string(code, out);
    }
    out.push('}');
}

/// The frame of an `ops` message.
pub fn encode_ops<'o>(
    room: RoomId,
    ops: impl IntoIterator<Item = &'o Op>,
    cursor: Option<Position>,
    missing: &[OpId],
) -> Frame {
    let mut writer = Writer::new("ops").id("room", |out| room.push_to(out));
    if let Some(cursor) = cursor {
        writer = writer.count("cursor", cursor.number());
    }
    if !missing.is_empty() {
        writer = writer.list("missing", missing, |id, out| push_quoted(*id, out));
    }
    writer.list("ops", ops, Op::write).finish()
}
