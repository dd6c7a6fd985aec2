//! Ops that a lying author signs: right in every byte, or wrong in one way.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crdt_core::head::{Head, Kind};
use crdt_core::id::{AuthorId, DataHash, Depth, OpId, RoomId, Seq};
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_core::message::Frame;
use crdt_core::time::Timestamp;

use super::mangle::hex;
use super::tape::Tape;
use super::truth::{Known, Truth};

/// A signed op as a text, good or not.
#[derive(Clone, Debug)]
pub(super) struct Forged {
    pub(super) head: Head,
    pub(super) id: OpId,
    pub(super) text: String,
}

/// Where an author's chain stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    pub(super) seq: Seq,
    pub(super) id: OpId,
    pub(super) depth: Depth,
    pub(super) ts: Timestamp,
}

impl Forged {
    /// Signs a head over some data, whatever the two say.
    pub(super) fn seal(head: Head, data: &str, key: &SecretKey) -> Self {
        let id = head.id();
        let text = envelope(&head, data, id, key.sign(id).as_bytes());
        Self { head, id, text }
    }

    /// The same with something else where the signature stands.
    pub(super) fn badly_signed(&self, data: &str) -> String {
        envelope(&self.head, data, self.id, &[7; 64])
    }

    pub(super) fn tip(&self) -> Tip {
        Tip { seq: self.head.seq, id: self.id, depth: self.head.depth, ts: self.head.ts }
    }
}

fn envelope(head: &Head, data: &str, id: OpId, sig: &[u8]) -> String {
    let mut text = format!("{{\"data\":{data},\"head\":");
    head.write(&mut text);
    // Writing to a string cannot fail.
    write!(text, ",\"id\":\"{id}\",\"sig\":\"{}\"}}", hex(sig)).ok();
    text
}

/// A head that follows every rule, on top of a tip and of some known ops.
pub(super) fn good_head(
    (author, room): (AuthorId, RoomId),
    tip: Option<Tip>,
    preds: &[Known],
    data: &str,
) -> Head {
    let ids: BTreeSet<OpId> = preds.iter().map(|known| known.id).collect();
    let deepest = preds.iter().map(|known| known.depth).chain(tip.map(|tip| tip.depth)).max();
    Head {
        room,
        author,
        grant: *room.as_bytes(),
        seq: tip.map_or(Seq::FIRST, |tip| tip.seq.next().unwrap_or(Seq::FIRST)),
        prev: tip.map(|tip| tip.id),
        preds: ids.into_iter().filter(|id| tip.is_none_or(|tip| tip.id != *id)).collect(),
        refs: Vec::new(),
        depth: deepest.map_or(Depth::FIRST, Depth::next),
        ts: tip.map_or(Timestamp::from_ms(1), |tip| tip.ts),
        kind: Kind::entry(),
        data_hash: DataHash::of(data),
        data_len: u64::try_from(data.len()).unwrap_or_default(),
    }
}

/// So many ops of a room that somebody holds, mostly late ones, none twice.
pub(super) fn known_ops(truth: &Truth, room: RoomId, count: usize, tape: &mut Tape) -> Vec<Known> {
    let mut picked: Vec<Known> = Vec::new();
    for _ in 0..count {
        let back = tape.below(truth.known.len().min(64));
        let known = truth.known.len().checked_sub(1 + back).and_then(|at| truth.known.get(at));
        if let Some(known) = known.filter(|known| known.room == room)
            && picked.iter().all(|other| other.id != known.id)
        {
            picked.push(*known);
        }
    }
    picked
}

/// An entry that no other op holds.
pub(super) fn data(tape: &mut Tape) -> String {
    let word = format!("[{{\"liar\":{}}}]", tape.below(1_000_000_000));
    Canonical::parse(word.as_bytes()).map_or(word, |data| data.as_str().to_owned())
}

/// An `ops` message with these envelopes.
pub(super) fn frame(room: RoomId, envelopes: &[&str]) -> Frame {
    let ops = envelopes.join(",");
    format!("{{\"type\":\"ops\",\"room\":\"{room}\",\"ops\":[{ops}]}}").into()
}
