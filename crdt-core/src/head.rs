//! The signed part of an op: its fields, their canonical bytes, and what they owe one another.
//! Source: `docs/PROTOCOL.md`, "Op".
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{AuthorId, DataHash, Depth, OpId, RoomId, Seq, sha256, tag};
use crate::json::{Scanner, Value, write_int, write_string};
use crate::limits;
use crate::planted::{Bug, planted};
use crate::rejection::Rejection;
use crate::time::Timestamp;

/// The version of the protocol, in every head.
pub const VERSION: i64 = 1;

/// What an op is about: 1 to 32 bytes of `a-z 0-9 . _ -`. Kinds that are not known are kept and
/// passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind(String);

impl Kind {
    /// The kind of an op that holds transactions.
    pub fn entry() -> Self {
        Self("entry".into())
    }

    /// Reads a kind; `None` if its length or a character is not allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let len = text.len();
        let fits = (1..=limits::KIND_BYTES_MAX).contains(&len) && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }

    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether ops of this kind hold transactions.
    pub fn is_entry(&self) -> bool {
        self.0 == "entry"
    }
}

/// The signed part of an op. Plain data: it proves nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The room it was written for.
    pub room: RoomId,
    /// Who signed it.
    pub author: AuthorId,
    /// What lets the author write; the room itself where anyone may.
    pub grant: [u8; 32],
    /// Its place in the author's chain.
    pub seq: Seq,
    /// The author's op before it; `None` exactly for the first.
    pub prev: Option<OpId>,
    /// Other heads its author knew: sorted, at most 16.
    pub preds: Vec<OpId>,
    /// Every other op that the data mentions: sorted, at most 128.
    pub refs: Vec<OpId>,
    /// One more than the deepest dependency.
    pub depth: Depth,
    /// The author's claim about the time; orders nothing.
    pub ts: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// Hash of the canonical data.
    pub data_hash: DataHash,
    /// Bytes of the canonical data.
    pub data_len: u64,
}

impl Head {
    /// `prev`, `preds` and `refs`: what must be known before the op can be admitted.
    pub fn dependencies(&self) -> impl Iterator<Item = OpId> + '_ {
        self.prev.iter().chain(&self.preds).chain(&self.refs).copied()
    }

    /// Appends the canonical encoding.
    pub fn write(&self, out: &mut String) {
        out.push_str("{\"author\":\"");
        self.author.push_to(out);
        out.push_str("\",\"depth\":");
        write_count(self.depth.number(), out);
        out.push_str(",\"dh\":\"");
        self.data_hash.push_to(out);
        out.push_str("\",\"dl\":");
        write_count(self.data_len, out);
        out.push_str(",\"grant\":\"");
        crate::id::push_hex(&self.grant, out);
        out.push_str("\",\"kind\":");
        write_string(self.kind.as_str(), out);
        out.push_str(",\"preds\":");
        write_ids(&self.preds, out);
        out.push_str(",\"prev\":");
        match self.prev {
            Some(id) => {
                out.push('"');
                id.push_to(out);
                out.push('"');
            }
            None => out.push_str("null"),
        }
        out.push_str(",\"refs\":");
        write_ids(&self.refs, out);
        out.push_str(",\"room\":\"");
        self.room.push_to(out);
        out.push_str("\",\"seq\":");
        write_count(self.seq.number(), out);
        out.push_str(",\"ts\":");
        write_int(self.ts.as_ms(), out);
        out.push_str(",\"v\":");
        write_int(VERSION, out);
        out.push('}');
    }

    /// The id of an op with this head.
    pub fn id(&self) -> OpId {
        let mut text = String::with_capacity(1_024);
        self.write(&mut text);
        OpId::from_bytes(sha256(tag::OP, text.as_bytes()))
    }

    /// Reads a head.
    ///
    /// # Errors
    /// [`Rejection::Field`], [`Rejection::Version`], [`Rejection::Size`].
    pub fn decode(value: &Value<'_>) -> Result<Self, Rejection> {
        // First: another version may have other members.
        let version = value.member("v").and_then(Value::as_int);
        if version.is_some_and(|version| version != VERSION) {
            return Err(Rejection::Version);
        }
        let [author, depth, dh, dl, grant, kind, preds, prev, refs, room, seq, ts, v] = exact(
            value,
            [
                "author", "depth", "dh", "dl", "grant", "kind", "preds", "prev", "refs", "room",
                "seq", "ts", "v",
            ],
        )?;
        v.as_int().ok_or(Rejection::Field("v"))?;
        let text = |value: &Value<'_>, name| {
            value.as_str().map(String::from).ok_or(Rejection::Field(name))
        };
        Ok(Self {
            room: id(room, "room", RoomId::parse)?,
            author: id(author, "author", AuthorId::parse)?,
            grant: id(grant, "grant", crate::id::parse_hex)?,
            seq: seq.as_count().and_then(Seq::new).ok_or(Rejection::Field("seq"))?,
            prev: if *prev == Value::Null { None } else { Some(id(prev, "prev", OpId::parse)?) },
            preds: ids(preds, "preds", preds_max())?,
            refs: ids(refs, "refs", limits::REFS_MAX)?,
            depth: depth.as_count().and_then(Depth::new).ok_or(Rejection::Field("depth"))?,
            ts: ts
                .as_int()
                .filter(|ms| *ms >= 0)
                .map(Timestamp::from_ms)
                .ok_or(Rejection::Field("ts"))?,
            kind: Kind::parse(&text(kind, "kind")?).ok_or(Rejection::Field("kind"))?,
            data_hash: id(dh, "dh", DataHash::parse)?,
            data_len: dl.as_count().ok_or(Rejection::Field("dl"))?,
        })
    }

    /// Reads what [`Head::write`] writes; `None` is not yet a refusal.
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Option<Self> {
        scanner.eat("{\"author\":")?;
        let author = AuthorId::from_bytes(scanner.hex()?);
        scanner.eat(",\"depth\":")?;
        let depth = Depth::new(scanner.count()?)?;
        scanner.eat(",\"dh\":")?;
        let data_hash = DataHash::from_bytes(scanner.hex()?);
        scanner.eat(",\"dl\":")?;
        let data_len = scanner.count()?;
        scanner.eat(",\"grant\":")?;
        let grant = scanner.hex()?;
        scanner.eat(",\"kind\":")?;
        let kind = Kind::parse(scanner.plain()?)?;
        scanner.eat(",\"preds\":")?;
        let preds = scanner.ids(preds_max())?;
        scanner.eat(",\"prev\":")?;
        let prev = match scanner.eat("null") {
            Some(()) => None,
            None => Some(OpId::from_bytes(scanner.hex()?)),
        };
        scanner.eat(",\"refs\":")?;
        let refs = scanner.ids(limits::REFS_MAX)?;
        scanner.eat(",\"room\":")?;
        let room = RoomId::from_bytes(scanner.hex()?);
        scanner.eat(",\"seq\":")?;
        let seq = Seq::new(scanner.count()?)?;
        scanner.eat(",\"ts\":")?;
        let ts = Timestamp::from_ms(i64::try_from(scanner.count()?).ok()?);
        scanner.eat(",\"v\":1}")?;
        Some(Self {
            room,
            author,
            grant,
            seq,
            prev,
            preds,
            refs,
            depth,
            ts,
            kind,
            data_hash,
            data_len,
        })
    }

    /// What the fields of a head owe one another.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        if self.preds.len() > preds_max() {
            return Err(Rejection::Size("preds"));
        }
        if self.refs.len() > limits::REFS_MAX {
            return Err(Rejection::Size("refs"));
        }
        if !(0..=limits::INTEGER_MAX).contains(&self.ts.as_ms()) {
            return Err(Rejection::Field("ts"));
        }
        if self.prev.is_none() != (self.seq == Seq::FIRST) {
            return Err(Rejection::Head("prev"));
        }
        for (ids, name) in [(&self.preds, "preds"), (&self.refs, "refs")] {
            if !ids.is_sorted_by(|a, b| a < b) {
                return Err(Rejection::Head(name));
            }
        }
        if self.prev.is_some_and(|prev| self.preds.binary_search(&prev).is_ok()) {
            return Err(Rejection::Head("preds"));
        }
        let repeated = |id: &OpId| self.prev == Some(*id) || self.preds.binary_search(id).is_ok();
        if self.refs.iter().any(repeated) {
            return Err(Rejection::Head("refs"));
        }
        Ok(())
    }
}

fn preds_max() -> usize {
    if planted(Bug::ParentCapDoubled) { 2 * limits::PREDS_MAX } else { limits::PREDS_MAX }
}

fn write_count(number: u64, out: &mut String) {
    write_int(i64::try_from(number).unwrap_or(i64::MAX), out);
}

fn write_ids(ids: &[OpId], out: &mut String) {
    out.push('[');
    for (index, id) in ids.iter().enumerate() {
        out.push_str(if index > 0 { ",\"" } else { "\"" });
        id.push_to(out);
        out.push('"');
    }
    out.push(']');
}

/// The members of an object that has exactly these, given in canonical order.
pub(crate) fn exact<'v, 'a, const N: usize>(
    value: &'v Value<'a>,
    names: [&'static str; N],
) -> Result<[&'v Value<'a>; N], Rejection> {
    let Value::Object(members) = value else { return Err(Rejection::Field("object")) };
    let mut found = [value; N];
    let mut rest = members.iter();
    for (slot, name) in found.iter_mut().zip(names) {
        match rest.next() {
            Some((key, value)) if key == name => *slot = value,
            Some(_) | None => return Err(Rejection::Field(name)),
        }
    }
    if rest.next().is_some() { Err(Rejection::Field("unknown")) } else { Ok(found) }
}

pub(crate) fn id<T, E>(
    value: &Value<'_>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Rejection> {
    value.as_str().and_then(|text| parse(text).ok()).ok_or(Rejection::Field(name))
}

fn ids(value: &Value<'_>, name: &'static str, max: usize) -> Result<Vec<OpId>, Rejection> {
    let values = value.as_array().ok_or(Rejection::Field(name))?;
    if values.len() > max {
        return Err(Rejection::Size(name));
    }
    values.iter().map(|value| id(value, name, OpId::parse)).collect()
}
