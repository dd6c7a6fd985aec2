//! The operation: its bytes, its hash, its signature, and every rule that needs nothing but itself.
//!
//! Three types, each stronger than the last: [`RawOp`] has the right shape, [`HashedOp`] is what
//! its id says, [`Op`] was signed by its author. Source: `docs/PROTOCOL.md`, "Op" and "Validity".
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::id::{AuthorId, DataHash, Depth, OpId, RoomId, Seq, sha256, tag};
use crate::json::{Canonical, Value, write_int, write_string};
use crate::key::{KeyError, PublicKey, SecretKey, Signature};
use crate::limits;
use crate::time::Timestamp;

/// The version of the protocol, in every head.
pub const VERSION: i64 = 1;

/// Why an op is refused. The verdict depends on the op and its causal past only, so it is the same
/// on every node and for ever. Source: `docs/PROTOCOL.md`, "Validity".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A field is missing, has the wrong type, or is not known.
    #[error("field `{0}` is missing, malformed or unknown")]
    Field(&'static str),
    /// The head or the data is larger or nested deeper than allowed.
    #[error("`{0}` is larger or nested deeper than allowed")]
    Size(&'static str),
    /// `v` is not 1.
    #[error("unknown protocol version")]
    Version,
    /// Fields of the head contradict one another.
    #[error("field `{0}` contradicts the rest of the head")]
    Head(&'static str),
    /// `dh` or `dl` is not the hash or length of the data.
    #[error("the data does not match its hash and length")]
    Data,
    /// `id` is not the hash of the head.
    #[error("the id is not the hash of the head")]
    Id,
    /// `author` is no acceptable public key.
    #[error("the author is no acceptable public key")]
    Key,
    /// `sig` is not the author's signature over the id.
    #[error("the signature is not by the author over this id")]
    Signature,
    /// The data of an `entry` op is not an array of 1 to 256 values.
    #[error("an entry op holds an array of 1 to 256 values")]
    Entry,
    /// The op belongs to another room.
    #[error("the op belongs to another room")]
    Room,
    /// `grant` does not let the author write here.
    #[error("the grant does not let this author write here")]
    Grant,
    /// `prev` is not the author's op just before this one, or is later by its own timestamp.
    #[error("the op does not continue its author's chain")]
    Chain,
    /// `depth` is not one more than that of the deepest dependency.
    #[error("the depth is not one more than that of the deepest dependency")]
    Depth,
    /// The op depends on one that was refused.
    #[error("the op depends on a refused one")]
    Ancestor,
}

impl Rejection {
    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Field(_) => "field",
            Self::Size(_) => "size",
            Self::Version => "version",
            Self::Head(_) => "head",
            Self::Data => "data",
            Self::Id => "id",
            Self::Key => "key",
            Self::Signature => "sig",
            Self::Entry => "entry",
            Self::Room => "room",
            Self::Grant => "grant",
            Self::Chain => "chain",
            Self::Depth => "depth",
            Self::Ancestor => "ancestor",
        }
    }
}

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
        let fits = len >= 1 && len <= limits::KIND_BYTES_MAX && text.bytes().all(allowed);
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

    fn parse(value: &Value<'_>) -> Result<Self, Rejection> {
        let [author, depth, dh, dl, grant, kind, preds, prev, refs, room, seq, ts, v] = exact(
            value,
            [
                "author", "depth", "dh", "dl", "grant", "kind", "preds", "prev", "refs", "room",
                "seq", "ts", "v",
            ],
        )?;
        if v.as_int().ok_or(Rejection::Field("v"))? != VERSION {
            return Err(Rejection::Version);
        }
        let text = |value: &Value<'_>, name| {
            value.as_str().map(String::from).ok_or(Rejection::Field(name))
        };
        Ok(Self {
            room: id(room, "room", RoomId::parse)?,
            author: id(author, "author", AuthorId::parse)?,
            grant: id(grant, "grant", crate::id::parse_hex)?,
            seq: seq.as_count().and_then(Seq::new).ok_or(Rejection::Field("seq"))?,
            prev: match prev {
                Value::Null => None,
                prev => Some(id(prev, "prev", OpId::parse)?),
            },
            preds: ids(preds, "preds", limits::PREDS_MAX)?,
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

    /// What the fields of a head owe one another.
    fn check(&self) -> Result<(), Rejection> {
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
fn exact<'v, 'a, const N: usize>(
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

fn id<T, E>(
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

/// An op of the right shape and size; nothing it says is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawOp {
    /// The id it claims.
    pub id: OpId,
    /// Its head.
    pub head: Head,
    /// Its canonical data.
    pub data: Canonical,
    /// The signature it claims.
    pub sig: Signature,
}

impl RawOp {
    /// Reads an envelope `{"data":…,"head":…,"id":…,"sig":…}`.
    ///
    /// # Errors
    /// [`Rejection::Field`], [`Rejection::Version`], [`Rejection::Size`].
    pub fn decode(value: &Value<'_>) -> Result<Self, Rejection> {
        let [data, head, op_id, sig] = exact(value, ["data", "head", "id", "sig"])?;
        if data.depth() > limits::DATA_DEPTH_MAX {
            return Err(Rejection::Size("data"));
        }
        let data = Canonical::of(data);
        if data.as_str().len() > limits::DATA_BYTES_MAX {
            return Err(Rejection::Size("data"));
        }
        Ok(Self {
            id: id(op_id, "id", OpId::parse)?,
            head: Head::parse(head)?,
            data,
            sig: id(sig, "sig", Signature::parse)?,
        })
    }

    /// Checks what the head says about itself, the data's hash and length, and the id.
    ///
    /// # Errors
    /// [`Rejection::Head`], [`Rejection::Size`], [`Rejection::Data`], [`Rejection::Id`].
    pub fn check_hash(self) -> Result<HashedOp, Rejection> {
        self.head.check()?;
        let mut text = String::with_capacity(1_024);
        self.head.write(&mut text);
        if text.len() > limits::HEAD_BYTES_MAX {
            return Err(Rejection::Size("head"));
        }
        let data = self.data.as_str();
        let len_agrees = usize::try_from(self.head.data_len).is_ok_and(|len| len == data.len());
        if !len_agrees || DataHash::of(data) != self.head.data_hash {
            return Err(Rejection::Data);
        }
        if OpId::from_bytes(sha256(tag::OP, text.as_bytes())) != self.id {
            return Err(Rejection::Id);
        }
        Ok(HashedOp(self))
    }
}

/// An op whose id and data hash are right; who signed it is not proven.
#[derive(Clone, Debug)]
pub struct HashedOp(RawOp);

impl HashedOp {
    /// Its id.
    pub fn id(&self) -> OpId {
        self.0.id
    }

    /// Its head.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// Checks the signature, then the data of a kind this version knows.
    ///
    /// # Errors
    /// [`Rejection::Key`], [`Rejection::Signature`], [`Rejection::Entry`].
    pub fn verify(self) -> Result<Op, Rejection> {
        let key = PublicKey::of(self.0.head.author).map_err(|_| Rejection::Key)?;
        self.verify_with(&key)
    }

    /// The same with the author's key already decoded.
    ///
    /// # Errors
    /// [`Rejection::Signature`], [`Rejection::Entry`].
    pub(crate) fn verify_with(self, key: &PublicKey) -> Result<Op, Rejection> {
        key.verify(self.0.id, &self.0.sig).map_err(|error| match error {
            KeyError::Key => Rejection::Key,
            KeyError::Signature => Rejection::Signature,
        })?;
        self.admit_payload()
    }

    /// Takes the signature on trust. Only for an op read back from this node's own store, which
    /// was verified before it was written there; `verify` checks such ops again.
    ///
    /// # Errors
    /// [`Rejection::Entry`].
    pub fn trust_own_store(self) -> Result<Op, Rejection> {
        self.admit_payload()
    }

    fn admit_payload(self) -> Result<Op, Rejection> {
        let mut entries = 0;
        if self.0.head.kind.is_entry() {
            entries = count_elements(self.0.data.as_str()).ok_or(Rejection::Entry)?;
            if entries < 1 || entries > limits::ENTRIES_MAX {
                return Err(Rejection::Entry);
            }
        }
        Ok(Op { raw: self.0, entries })
    }
}

/// Elements of a canonical array, found without parsing them: commas at nesting 1 outside strings.
fn count_elements(array: &str) -> Option<usize> {
    let inner = array.strip_prefix('[')?.strip_suffix(']')?;
    let (mut commas, mut nesting, mut in_string, mut escaped) = (0_usize, 0_i32, false, false);
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => nesting = nesting.saturating_add(1),
            b']' | b'}' => nesting = nesting.saturating_sub(1),
            b',' if nesting == 0 => commas = commas.saturating_add(1),
            _ => {}
        }
    }
    Some(if inner.is_empty() { 0 } else { commas.saturating_add(1) })
}

/// An op that its author signed. Only [`HashedOp::verify`], [`Draft::sign`] and this node's own
/// store make one.
#[derive(Clone, Debug)]
pub struct Op {
    raw: RawOp,
    entries: usize,
}

impl Op {
    /// Its id.
    pub fn id(&self) -> OpId {
        self.raw.id
    }

    /// Its head.
    pub fn head(&self) -> &Head {
        &self.raw.head
    }

    /// Its canonical data.
    pub fn data(&self) -> &str {
        self.raw.data.as_str()
    }

    /// Its signature.
    pub fn sig(&self) -> &Signature {
        &self.raw.sig
    }

    /// Transactions it holds; 0 unless it is an `entry`.
    pub fn entry_count(&self) -> usize {
        self.entries
    }

    /// Its transactions in order, each as canonical text; none unless it is an `entry`.
    pub fn entries(&self) -> Vec<Canonical> {
        if self.entries == 0 {
            return Vec::new();
        }
        let parsed = Value::parse(self.data().as_bytes(), limits::DATA_DEPTH_MAX);
        let values = parsed.as_ref().ok().and_then(Value::as_array).unwrap_or_default();
        debug_assert_eq!(values.len(), self.entries, "entries are counted when an op is verified");
        values.iter().map(Canonical::of).collect()
    }

    /// Appends the canonical envelope.
    pub fn write(&self, out: &mut String) {
        out.push_str("{\"data\":");
        out.push_str(self.data());
        out.push_str(",\"head\":");
        self.raw.head.write(out);
        out.push_str(",\"id\":\"");
        self.raw.id.push_to(out);
        out.push_str("\",\"sig\":\"");
        self.raw.sig.push_to(out);
        out.push_str("\"}");
    }

    /// Bytes it takes in memory and, nearly, on the wire.
    pub(crate) fn weight(&self) -> usize {
        let ids = self.raw.head.preds.len().saturating_add(self.raw.head.refs.len());
        self.data().len().saturating_add(ids.saturating_mul(67)).saturating_add(900)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// An op about to be signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The room to write to.
    pub room: RoomId,
    /// The author's last place and op there, if any.
    pub tip: Option<(Seq, OpId)>,
    /// Other heads known: sorted, at most 16, without the author's own last op.
    pub preds: Vec<OpId>,
    /// Other ops that the data mentions: sorted, at most 128.
    pub refs: Vec<OpId>,
    /// One more than the deepest dependency.
    pub depth: Depth,
    /// The time to claim.
    pub ts: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// The data.
    pub data: Canonical,
}

impl Draft {
    /// Signs it.
    ///
    /// # Errors
    /// A [`Rejection`] that every receiver would give too, so nothing invalid is ever signed.
    pub fn sign(self, key: &SecretKey) -> Result<Op, Rejection> {
        let data = self.data.as_str();
        if data.len() > limits::DATA_BYTES_MAX {
            return Err(Rejection::Size("data"));
        }
        let head = Head {
            room: self.room,
            author: key.author(),
            grant: *self.room.as_bytes(),
            seq: self.tip.map_or(Seq::FIRST, |(seq, _)| seq.next()),
            prev: self.tip.map(|(_, id)| id),
            preds: self.preds,
            refs: self.refs,
            depth: self.depth,
            ts: self.ts,
            kind: self.kind,
            data_hash: DataHash::of(data),
            data_len: u64::try_from(data.len()).unwrap_or(u64::MAX),
        };
        let id = head.id();
        RawOp { id, head, data: self.data, sig: key.sign(id) }.check_hash()?.admit_payload()
    }
}

#[cfg(test)]
#[path = "op_tests.rs"]
mod tests;
