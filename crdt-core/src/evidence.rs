//! Equivocation: two ops that one author signed after one and the same op. The two signed heads
//! prove it to anybody, without the room and without the data.
//! Source: `docs/PROTOCOL.md`, "Equivocation".
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::string::String;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::head::{Head, exact, id};
use crate::id::{AuthorId, ForkId, OpId, RoomId, Seq, tag};
use crate::json::{JsonError, Value};
use crate::key::{KeyError, PublicKey, Signature};
use crate::limits;
use crate::op::Op;
use crate::rejection::Rejection;

/// A point at which an author's chain forks, as any node that holds both ops sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The room.
    pub room: RoomId,
    /// What let the author write; in an open room the room.
    pub grant: [u8; 32],
    /// Who signed both.
    pub author: AuthorId,
    /// Their place in the author's chain.
    pub seq: Seq,
    /// The op that both follow; `None` if they are first ops.
    pub prev: Option<OpId>,
    /// Of all ops that the author signed there, the two with the smallest ids, in order: which ops
    /// a node holds decides, never when they came.
    pub ops: [OpId; 2],
}

impl Equivocation {
    /// Its name: stays the same however many more ops the author signs at this point.
    pub fn id(&self) -> ForkId {
        let nothing = OpId::from_bytes([0; 32]);
        let hasher = Sha256::new()
            .chain_update(tag::FORK)
            .chain_update(self.room.as_bytes())
            .chain_update(self.grant)
            .chain_update(self.author.as_bytes())
            .chain_update(self.prev.unwrap_or(nothing).as_bytes());
        ForkId::from_bytes(hasher.finalize().into())
    }
}

/// A head, its id and its author's signature, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SignedHead {
    id: OpId,
    head: Head,
    sig: Signature,
}

impl SignedHead {
    fn of(op: &Op) -> Self {
        Self { id: op.id(), head: op.head().clone(), sig: *op.sig() }
    }

    fn verify(value: &Value<'_>) -> Result<Self, EvidenceError> {
        let [head, op_id, sig] = exact(value, ["head", "id", "sig"])?;
        let signed = Self {
            id: id(op_id, "id", OpId::parse)?,
            head: Head::decode(head)?,
            sig: id(sig, "sig", Signature::parse)?,
        };
        signed.head.check()?;
        if signed.head.id() != signed.id {
            return Err(Rejection::Id.into());
        }
        PublicKey::of(signed.head.author)?.verify(signed.id, &signed.sig)?;
        Ok(signed)
    }

    fn write(&self, out: &mut String) {
        out.push_str("{\"head\":");
        self.head.write(out);
        out.push_str(",\"id\":\"");
        self.id.push_to(out);
        out.push_str("\",\"sig\":\"");
        self.sig.push_to(out);
        out.push_str("\"}");
    }
}

/// Two signed heads that no honest author signs both. Only made of verified ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence([SignedHead; 2]);

/// Why a file is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// It is no canonical JSON.
    #[error("it is no canonical JSON: {0}")]
    Json(JsonError),
    /// It is JSON, but spelled in another way than the one.
    #[error("it is not spelled in the canonical way")]
    Spelling,
    /// A head is malformed or does not match its id.
    #[error("a head is refused: {0}")]
    Head(#[from] Rejection),
    /// A signature is not by the author.
    #[error("a head is refused: {0}")]
    Signature(#[from] KeyError),
    /// An honest author may have signed both.
    #[error("the two heads do not contradict each other")]
    Consistent,
}

impl Evidence {
    /// The evidence that two ops give, in either order.
    ///
    /// # Errors
    /// [`EvidenceError::Consistent`].
    pub fn of(a: &Op, b: &Op) -> Result<Self, EvidenceError> {
        let mut heads = [SignedHead::of(a), SignedHead::of(b)];
        heads.sort_by_key(|signed| signed.id);
        Self::contradicting(heads)
    }

    /// Reads an evidence file and checks everything it says.
    ///
    /// # Errors
    /// [`EvidenceError`]. One changed byte is enough.
    pub fn verify(file: &[u8]) -> Result<Self, EvidenceError> {
        let text = file.strip_suffix(b"\n").unwrap_or(file);
        let value = Value::parse(text, limits::FRAME_DEPTH_MAX).map_err(EvidenceError::Json)?;
        let [evidence] = exact(&value, ["evidence"])?;
        let heads = evidence.as_array().ok_or(Rejection::Field("evidence"))?;
        let [a, b] = heads else { return Err(Rejection::Field("evidence").into()) };
        let verified = Self::contradicting([SignedHead::verify(a)?, SignedHead::verify(b)?])?;
        if alloc::string::ToString::to_string(&verified).as_bytes() == text {
            Ok(verified)
        } else {
            Err(EvidenceError::Spelling)
        }
    }

    fn contradicting(heads: [SignedHead; 2]) -> Result<Self, EvidenceError> {
        let [a, b] = &heads;
        let place = |signed: &SignedHead| {
            let head = &signed.head;
            (head.room, head.grant, head.author, head.seq, head.prev)
        };
        if place(a) == place(b) && a.id < b.id {
            Ok(Self(heads))
        } else {
            Err(EvidenceError::Consistent)
        }
    }

    /// What it proves.
    pub fn equivocation(&self) -> Equivocation {
        let [a, b] = &self.0;
        let head = &a.head;
        Equivocation {
            room: head.room,
            grant: head.grant,
            author: head.author,
            seq: head.seq,
            prev: head.prev,
            ops: [a.id, b.id],
        }
    }
}

/// The canonical file, without a line end.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("{\"evidence\":[");
        let [a, b] = &self.0;
        a.write(&mut text);
        text.push(',');
        b.write(&mut text);
        text.push_str("]}");
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::fixtures::{Author, entry};

    fn forked() -> (Op, Op) {
        let liar = Author::new(1);
        let first = entry(&liar, &[], "1");
        (liar.after(&first, &[], "2"), liar.after(&first, &[], "3"))
    }

    #[test]
    fn evidence_is_the_same_from_either_side_and_verifies_alone() {
        let (a, b) = forked();
        let evidence = Evidence::of(&a, &b).unwrap();
        assert_eq!(Evidence::of(&b, &a), Ok(evidence.clone()));
        let file = evidence.to_string() + "\n";
        let verified = Evidence::verify(file.as_bytes()).unwrap();
        assert_eq!(verified, evidence);
        assert!(!file.contains("data"), "heads are enough");
    }

    #[test]
    fn no_byte_of_it_can_be_changed_left_out_or_added() {
        let (a, b) = forked();
        let file = Evidence::of(&a, &b).unwrap().to_string();
        for at in 0..file.len() {
            let mut changed = file.clone().into_bytes();
            changed[at] ^= 1;
            assert!(Evidence::verify(&changed).is_err(), "byte {at} changed");
            let mut shorter = file.clone().into_bytes();
            shorter.remove(at);
            assert!(Evidence::verify(&shorter).is_err(), "byte {at} left out");
            let mut longer = file.clone().into_bytes();
            longer.insert(at, b' ');
            assert!(Evidence::verify(&longer).is_err(), "a space before byte {at}");
        }
    }

    #[test]
    fn an_honest_author_cannot_be_accused() {
        let (alice, bob) = (Author::new(1), Author::new(2));
        let first = entry(&alice, &[], "1");
        let second = alice.after(&first, &[], "2");
        let consistent = Err(EvidenceError::Consistent);
        assert_eq!(Evidence::of(&first, &second), consistent);
        assert_eq!(Evidence::of(&first, &first), consistent);
        assert_eq!(Evidence::of(&first, &entry(&bob, &[], "1")), consistent);
        let elsewhere = alice.with(|head| {
            head.room = crate::fixtures::room("other");
            head.grant = *head.room.as_bytes();
        });
        assert_eq!(Evidence::of(&first, &elsewhere), consistent, "chains of two rooms");
        // Two branches of one fork: their later ops share a place, but only the first two of them
        // were signed after the same op.
        let (a, b) = forked();
        let liar = Author::new(1);
        let later = Evidence::of(&liar.after(&a, &[], "4"), &liar.after(&b, &[], "4"));
        assert_eq!(later, consistent);
    }

    #[test]
    fn a_signature_by_another_or_a_swapped_order_is_no_evidence() {
        let (a, b) = forked();
        let file = Evidence::of(&a, &b).unwrap().to_string();
        let heads = file.strip_prefix("{\"evidence\":[").unwrap().strip_suffix("]}").unwrap();
        let (first, second) = heads.split_once("},{\"head\"").unwrap();
        let (first, second) = (alloc::format!("{first}}}"), alloc::format!("{{\"head\"{second}"));
        let swapped = alloc::format!("{{\"evidence\":[{second},{first}]}}");
        assert_eq!(Evidence::verify(swapped.as_bytes()), Err(EvidenceError::Consistent));
        let twice = alloc::format!("{{\"evidence\":[{first},{first}]}}");
        assert_eq!(Evidence::verify(twice.as_bytes()), Err(EvidenceError::Consistent));
        let sig = |part: &str| part.rsplit_once(':').unwrap().1.to_string();
        let exchanged = file.replacen(&sig(&first), &sig(&second), 1);
        let refused = Err(EvidenceError::Signature(KeyError::Signature));
        assert_eq!(Evidence::verify(exchanged.as_bytes()), refused);
    }
}
