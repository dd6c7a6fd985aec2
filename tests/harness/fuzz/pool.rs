//! Every op that the authors of a fuzzed history have made so far.

use std::collections::BTreeSet;
use std::fmt::Write;

use crdt_core::head::Head;
use crdt_core::id::{Depth, OpId, Seq};
use crdt_core::op::RawOp;

use super::forge;
use super::tape::Tape;

/// Ops on top of one another, honest ones and others.
#[derive(Debug, Default)]
pub struct Pool {
    made: Vec<Made>,
    signed: BTreeSet<OpId>,
}

#[derive(Debug)]
struct Made {
    author: u8,
    raw: RawOp,
    envelope: String,
}

impl Pool {
    /// Somebody signs something, on top of this pool and of `others`.
    pub fn make(&mut self, tape: &mut Tape<'_>, others: &[(OpId, Depth)]) {
        let author = tape.byte() % forge::AUTHORS;
        let data = forge::data(tape);
        let room = forge::room(usize::from(tape.byte() > 240)).id();
        let mut head = forge::first(forge::key(author).author(), room, &data);
        let known: Vec<OpId> = self.ids().chain(others.iter().map(|(id, _)| *id)).collect();
        let own_last = self.made.iter().rev().find(|made| made.author == author);
        // Mostly the author goes on from its last op, sometimes from any: a fork, or a lie.
        let before = if tape.byte() < 200 { own_last } else { tape.pick(&self.made) };
        if let Some(before) = before {
            head.prev = Some(before.raw.id);
            head.seq = before.raw.head.seq.next().unwrap_or(Seq::FIRST);
        }
        for _ in 0..tape.below(4) {
            head.preds.extend(tape.pick(&known));
        }
        head.preds.sort_unstable();
        head.preds.dedup();
        head.preds.retain(|id| head.prev != Some(*id));
        head.depth = self.depth(&head, others);
        for _ in 0..tape.below(16).saturating_sub(12) {
            forge::bend(tape, &mut head, &known);
        }
        let (raw, honest) = forge::sign(tape, author, head, data);
        if honest {
            self.signed.insert(raw.id);
        }
        self.made.push(Made { author, envelope: envelope(&raw), raw });
    }

    fn depth(&self, head: &Head, others: &[(OpId, Depth)]) -> Depth {
        let made = self.made.iter().map(|made| (made.raw.id, made.raw.head.depth));
        let known = made.chain(others.iter().copied());
        let named: BTreeSet<OpId> = head.dependencies().collect();
        let depths = known.filter(|(id, _)| named.contains(id)).map(|(_, depth)| depth);
        depths.max().map_or(Depth::FIRST, Depth::next)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.made.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Their ids, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = OpId> + '_ {
        self.made.iter().map(|made| made.raw.id)
    }

    /// Whether the author of an op really signed it.
    pub fn is_signed(&self, id: OpId) -> bool {
        self.signed.contains(&id)
    }

    /// Those with these ids, as their envelopes.
    pub fn with_ids(&self, ids: &[OpId]) -> Vec<(OpId, String)> {
        self.made.iter().filter(|made| ids.contains(&made.raw.id)).map(Made::sent).collect()
    }

    /// Those this many places before the newest, as their envelopes.
    pub fn newest(&self, places: &[usize]) -> Vec<(OpId, String)> {
        places.iter().filter_map(|back| self.made.iter().rev().nth(*back)).map(Made::sent).collect()
    }
}

impl Made {
    fn sent(&self) -> (OpId, String) {
        (self.raw.id, self.envelope.clone())
    }
}

/// The envelope of an op that need not be good.
fn envelope(raw: &RawOp) -> String {
    let (mut head, mut sig) = (String::new(), String::new());
    raw.head.write(&mut head);
    for byte in raw.sig.as_bytes() {
        write!(sig, "{byte:02x}").unwrap();
    }
    format!(r#"{{"data":{},"head":{head},"id":"{}","sig":"{sig}"}}"#, raw.data, raw.id)
}
