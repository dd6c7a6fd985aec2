//! The operation: its bytes, its hash, its signature, and every rule that needs nothing but itself.
//!
//! Three types, each stronger than the last: [`RawOp`] has the right shape, [`HashedOp`] is what
//! its id says, [`Op`] was signed by its author. Source: `docs/PROTOCOL.md`, "Op" and "Validity".
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::head::{Head, Kind, exact, id};
use crate::id::{DataHash, Depth, OpId, RoomId, Seq, sha256, tag};
use crate::json::{Canonical, JsonError, Scanner, Value};
use crate::key::{CheckSignature, EachTime, KeyError, PublicKey, SecretKey, Signature};
use crate::limits;
use crate::planted::{Bug, planted};
use crate::rejection::Rejection;
use crate::time::Timestamp;

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

/// Why a text is no op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is not JSON of the profile.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// It has not the shape of an op.
    #[error("{0}")]
    Rejected(#[from] Rejection),
}

impl EnvelopeError {
    /// The code for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Rejected(rejection) => rejection.code(),
        }
    }
}

impl RawOp {
    /// Reads an envelope `{"data":…,"head":…,"id":…,"sig":…}` from its text.
    ///
    /// # Errors
    /// [`EnvelopeError`]; its rejections are those of [`RawOp::decode`].
    pub fn parse(envelope: &[u8]) -> Result<Self, EnvelopeError> {
        let text = core::str::from_utf8(envelope).ok();
        match text.and_then(|text| Scanner::all(text, Self::scan)) {
            Some(raw) => Ok(raw),
            None => Ok(Self::decode(&Value::parse(envelope, limits::FRAME_DEPTH_MAX)?)?),
        }
    }

    /// The same from JSON that was taken apart.
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
            head: Head::decode(head)?,
            data,
            sig: id(sig, "sig", Signature::parse)?,
        })
    }

    /// Reads what [`Op::write`] writes, unless a key in the data has an escape; `None` is not yet a
    /// refusal.
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Option<Self> {
        scanner.eat("{\"data\":")?;
        let data = scanner.canonical(limits::DATA_DEPTH_MAX)?;
        if data.as_str().len() > limits::DATA_BYTES_MAX {
            return None;
        }
        scanner.eat(",\"head\":")?;
        let head = Head::scan(scanner)?;
        scanner.eat(",\"id\":")?;
        let id = OpId::from_bytes(scanner.hex()?);
        scanner.eat(",\"sig\":")?;
        let sig = Signature::from_bytes(scanner.hex()?);
        scanner.eat("}")?;
        Some(Self { id, head, data, sig })
    }

    /// Checks what the head says about itself, the data's hash and length, and the id.
    ///
    /// # Errors
    /// [`Rejection::Head`], [`Rejection::Size`], [`Rejection::Data`], [`Rejection::Id`].
    pub fn check_hash(self) -> Result<HashedOp, Rejection> {
        let head = self.checked_head()?;
        let data = self.data.as_str();
        let len_agrees = usize::try_from(self.head.data_len).is_ok_and(|len| len == data.len());
        let agrees = len_agrees && DataHash::of(data) == self.head.data_hash;
        if !agrees && !planted(Bug::DataUnchecked) {
            return Err(Rejection::Data);
        }
        self.check_id(&head)
    }

    /// The same of an op whose head was kept without the hash and length of its data: they are those
    /// of this data.
    ///
    /// # Errors
    /// [`Rejection::Head`], [`Rejection::Size`], [`Rejection::Id`].
    pub fn rebuild(mut self) -> Result<HashedOp, Rejection> {
        let data = self.data.as_str();
        self.head.data_hash = DataHash::of(data);
        self.head.data_len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let head = self.checked_head()?;
        self.check_id(&head)
    }

    /// The head, canonical.
    fn checked_head(&self) -> Result<String, Rejection> {
        self.head.check()?;
        let mut text = String::with_capacity(1_024);
        self.head.write(&mut text);
        if text.len() > limits::HEAD_BYTES_MAX {
            return Err(Rejection::Size("head"));
        }
        Ok(text)
    }

    fn check_id(self, head: &str) -> Result<HashedOp, Rejection> {
        if OpId::from_bytes(sha256(tag::OP, head.as_bytes())) != self.id {
            return Err(Rejection::Id);
        }
        Ok(HashedOp(self))
    }
}

/// An op whose id and data hash are right; who signed it is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// The signature it claims.
    pub(crate) fn sig(&self) -> &Signature {
        &self.0.sig
    }

    /// Checks the signature, then the data of a kind this version knows.
    ///
    /// # Errors
    /// [`Rejection::Key`], [`Rejection::Signature`], [`Rejection::Entry`].
    pub fn verify(self) -> Result<Op, Rejection> {
        let key = PublicKey::of(self.0.head.author).map_err(|_| Rejection::Key)?;
        self.verify_by(&EachTime, &key)
    }

    /// The same with the author's key already decoded, and its signature checked by another.
    ///
    /// # Errors
    /// [`Rejection::Signature`], [`Rejection::Entry`].
    pub(crate) fn verify_by(
        self,
        signatures: &dyn CheckSignature,
        key: &PublicKey,
    ) -> Result<Op, Rejection> {
        signatures
            .check(key, self.0.id, &self.0.sig)
            .map_err(|error| match error {
                KeyError::Key => Rejection::Key,
                KeyError::Signature => Rejection::Signature,
            })
            .or_else(|refused| planted(Bug::SignatureUnchecked).then_some(()).ok_or(refused))?;
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
            entries = self.0.data.elements().ok_or(Rejection::Entry)?;
            if !(1..=limits::ENTRIES_MAX).contains(&entries) {
                return Err(Rejection::Entry);
            }
        }
        Ok(Op { raw: self.0, entries })
    }
}

/// An op that its author signed. Only [`HashedOp::verify`], [`Draft::sign`] and this node's own
/// store make one.
#[derive(Clone, Debug)]
pub struct Op {
    raw: RawOp,
    entries: usize,
}

impl Op {
    /// The same op with its signature still to be checked, to check it again.
    pub fn unproven(self) -> HashedOp {
        HashedOp(self.raw)
    }

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
    pub fn weight(&self) -> usize {
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
        if data.len() > limits::DATA_BYTES_MAX || self.data.depth() > limits::DATA_DEPTH_MAX {
            return Err(Rejection::Size("data"));
        }
        let seq = match self.tip {
            None => Seq::FIRST,
            Some((seq, _)) => seq.next().ok_or(Rejection::Field("seq"))?,
        };
        let head = Head {
            room: self.room,
            author: key.author(),
            grant: *self.room.as_bytes(),
            seq,
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
#[path = "tests/op.rs"]
mod tests;
