//! One author's ops in one room: a chain, or a tree if the author ever signed two ops after one.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use crate::id::{Position, Seq};

/// An op by its number in the order of arrival, from 0.
pub(crate) type Index = u32;

/// Stands for "nothing": what comes before an author's first op.
pub(crate) const ROOT: Index = Index::MAX;

/// One author's ops. Admission requires the previous op, so the places are dense.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// For each seq the first op admitted there.
    by_seq: Vec<Index>,
    /// At seqs with more than one op: the first op admitted after each previous one.
    after: BTreeMap<Index, Index>,
}

impl Chain {
    /// Adds an op that follows `prev`. `prev_of` tells what an earlier op follows. Returns the op
    /// admitted before it after the same one, if there is one: its author has forked the chain.
    pub(crate) fn admit(
        &mut self,
        index: Index,
        seq: Seq,
        prev: Index,
        prev_of: impl Fn(Index) -> Index,
    ) -> Option<Index> {
        let place = usize::try_from(seq.number()).unwrap_or(usize::MAX);
        let Some(first) = self.by_seq.get(place).copied() else {
            debug_assert_eq!(self.by_seq.len(), place, "places of a chain are dense");
            self.by_seq.push(index);
            return None;
        };
        self.after.entry(prev_of(first)).or_insert(first);
        match self.after.entry(prev) {
            Entry::Occupied(sibling) => Some(*sibling.get()),
            Entry::Vacant(none) => {
                none.insert(index);
                None
            }
        }
    }

    /// The first op admitted at the highest place.
    pub(crate) fn last(&self) -> Option<Index> {
        self.by_seq.last().copied()
    }

    /// How many places were first filled after a position.
    pub(crate) fn count_after(&self, position: Position) -> usize {
        // An index is its position less one, so indices below `position` come before it.
        let before = self.by_seq.partition_point(|index| u64::from(*index) < position.number());
        self.by_seq.len() - before
    }
}
