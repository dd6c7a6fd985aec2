//! Finds what two replicas' sets of ops differ in, by comparing fingerprints of ranges over (depth,
//! id) and splitting those that differ: negentropy, version 1.
//! Source: `docs/PROTOCOL.md`, "Reconciliation"; A. Meyer, Range-Based Set Reconciliation, SRDS
//! 2023.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use negentropy::{Bound, Error, Id, Item, Negentropy, NegentropyStorageBase};

use crate::graph::Graph;
use crate::id::{OpId, Position};
use crate::limits;

/// The ops of a room in the order in which they are compared, up to a position.
#[derive(Debug, Default)]
pub struct Items {
    sorted: Vec<(u64, OpId)>,
    end: Position,
}

impl Items {
    /// Takes in the ops that were admitted since the last time.
    pub fn update(&mut self, graph: &Graph) {
        let known = self.sorted.len();
        self.sorted.extend(graph.iter().skip(known).map(|(depth, id, _)| (depth.number(), id)));
        self.sorted.sort();
        self.end = graph.end();
    }

    /// The position up to which they are here.
    pub fn end(&self) -> Position {
        self.end
    }

    /// The first message of a comparison.
    pub fn ask(&self) -> Option<Vec<u8>> {
        self.engine().ok()?.initiate().ok()
    }

    /// The answer to a message of whoever began; `None` if it is malformed.
    pub fn answer(&self, asked: &[u8]) -> Option<Vec<u8>> {
        self.engine().ok()?.reconcile(asked).ok()
    }

    /// Takes an answer. What it brings to light is added to `found`; the next message to send is
    /// returned, `Ok(None)` if all is found.
    ///
    /// # Errors
    /// The answer is malformed.
    pub fn compare(
        &self,
        answer: &[u8],
        found: &mut Difference,
    ) -> Result<Option<Vec<u8>>, Malformed> {
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut engine = self.engine()?;
        engine.set_initiator();
        let next = engine.reconcile_with_ids(answer, &mut have, &mut need);
        let next = next.map_err(|_| Malformed)?;
        found.reported = found.reported.saturating_add(have.len());
        found.have.extend(have.into_iter().map(|id| OpId::from_bytes(*id)));
        found.need.extend(need.into_iter().map(|id| OpId::from_bytes(*id)));
        Ok(next)
    }

    fn engine(&self) -> Result<Negentropy<'_, Self>, Malformed> {
        let limit = u64::try_from(limits::RECONCILE_BYTES_MAX).unwrap_or(u64::MAX);
        Negentropy::borrowed(self, limit).map_err(|_| Malformed)
    }
}

/// What a comparison has found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Ops that are here and not there.
    pub have: BTreeSet<OpId>,
    /// Ops that are there, as the peer says, and not here.
    pub need: BTreeSet<OpId>,
    /// How many ops the peer said it lacks, each time it said so.
    reported: usize,
}

impl Difference {
    /// Whether the peer said so of some ops more than once: of more than there are. An honest one
    /// does where its answers are cut short, and each time costs a pass over all that is here.
    pub fn repeats(&self, items: &Items) -> bool {
        self.reported > items.sorted.len()
    }
}

/// An answer that is no message of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of a comparison")]
pub struct Malformed;

fn item((depth, id): &(u64, OpId)) -> Item {
    Item::with_timestamp_and_id(*depth, Id::from_byte_array(*id.as_bytes()))
}

impl NegentropyStorageBase for Items {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.sorted.len())
    }

    fn get_item(&self, index: usize) -> Result<Option<Item>, Error> {
        Ok(self.sorted.get(index).map(item))
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        each: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let range = self.sorted.get(begin..end).ok_or(Error::BadRange)?;
        for (index, pair) in (begin..end).zip(range) {
            if !each(item(pair), index)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        let range = self.sorted.get(first..last).unwrap_or_default();
        first + range.partition_point(|pair| item(pair) < value.item)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::model;

    /// Compares two sets; returns what was found, messages one way, and bytes both ways.
    fn compared(ours: &Items, theirs: &Items) -> (Difference, usize, usize) {
        let mut found = Difference::default();
        let mut asked = ours.ask();
        let (mut rounds, mut bytes) = (0, 0);
        while let Some(ask) = asked {
            let answer = theirs.answer(&ask).unwrap();
            rounds += 1;
            bytes += ask.len() + answer.len();
            asked = ours.compare(&answer, &mut found).unwrap();
            assert!(rounds < 100, "a comparison ends");
        }
        (found, rounds, bytes)
    }

    fn items(pairs: impl IntoIterator<Item = (u64, OpId)>) -> Items {
        let mut sorted: Vec<(u64, OpId)> = pairs.into_iter().collect();
        sorted.sort_unstable();
        Items { sorted, end: Position::START }
    }

    fn numbered(number: u64) -> (u64, OpId) {
        let mut bytes = crate::id::sha256(crate::id::tag::OP, &number.to_be_bytes());
        bytes[31] = 0;
        (number / 3, OpId::from_bytes(bytes))
    }

    #[test]
    fn a_hundred_scattered_ops_of_a_hundred_thousand_are_found_in_six_rounds() {
        let ours = items((0..100_000).filter(|n| n % 1_000 != 7).map(numbered));
        let theirs = items((0..100_000).map(numbered));
        for (ours, theirs, have, need) in [(&ours, &theirs, 0, 100), (&theirs, &ours, 100, 0)] {
            let (found, rounds, bytes) = compared(ours, theirs);
            assert_eq!((found.have.len(), found.need.len()), (have, need));
            assert!(rounds <= 6, "{rounds} rounds");
            // As text on the wire: four thirds.
            assert!(bytes * 4 / 3 <= 200_000, "{bytes} bytes");
        }
    }

    #[test]
    fn nonsense_is_refused_and_breaks_nothing() {
        let set = items((0..100).map(numbered));
        let long_list = vec![0x61, 0, 0, 2, 0xc0, 0x80, 0x80, 0x80, 0];
        for nonsense in [vec![], vec![0], vec![0x61, 0, 9], vec![0x61, 0, 0, 2, 9], long_list] {
            assert_eq!(set.answer(&nonsense), None, "{nonsense:?}");
            let compared = set.compare(&nonsense, &mut Difference::default());
            assert_eq!(compared, Err(Malformed), "{nonsense:?}");
        }
    }

    #[test]
    fn what_a_peer_says_of_an_op_twice_is_counted() {
        let set = items((0..100).map(numbered));
        // Nothing up to the end, and a fingerprint of nothing beyond it.
        let lacks_all = vec![0x61, 0, 0, 2, 0];
        let mut found = Difference::default();
        assert_eq!(set.compare(&lacks_all, &mut found), Ok(None));
        assert!(found.have.len() == 100 && !found.repeats(&set));
        assert_eq!(set.compare(&lacks_all, &mut found), Ok(None));
        assert!(found.have.len() == 100 && found.repeats(&set));
    }

    /// Where an answer is cut short, its end covers what was told already.
    #[test]
    fn an_honest_peer_that_lacks_much_says_so_more_than_once() {
        let ours = items((0..40_000).step_by(16).chain(100_000..110_000).map(numbered));
        let theirs = items((0..40_000).filter(|n| n % 16 != 0).map(numbered));
        let (found, _, _) = compared(&ours, &theirs);
        assert_eq!((found.have.len(), found.need.len()), (12_500, 37_500));
        assert!(found.repeats(&ours), "{} times", found.reported);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever two replicas hold, each finds what it has and what it needs, no more and no
        /// less.
        #[test]
        fn any_difference_is_found(
            all in prop::collection::btree_set(0_u64..5_000, 0..600),
            ours in prop::collection::vec(any::<bool>(), 600),
            theirs in prop::collection::vec(any::<bool>(), 600),
        ) {
            let all: Vec<(u64, OpId)> = all.into_iter().map(numbered).collect();
            let pick = |flags: &[bool]| {
                let kept = all.iter().zip(flags).filter(|(_, kept)| **kept);
                kept.map(|(pair, _)| *pair).collect::<BTreeSet<_>>()
            };
            let (a, b) = (pick(&ours), pick(&theirs));
            let (found, _, _) = compared(&items(a.clone()), &items(b.clone()));
            let ids = |set: BTreeSet<(u64, OpId)>| set.into_iter().map(|(_, id)| id).collect();
            let have: BTreeSet<OpId> = ids(&a - &b);
            let need: BTreeSet<OpId> = ids(&b - &a);
            prop_assert_eq!((found.have, found.need), (have, need));
        }

        /// What is taken in bit by bit is what is taken in at once.
        #[test]
        fn items_are_kept_in_order(steps in prop::collection::vec(model::any_step(), 1..30)) {
            let ops = model::build(&steps);
            let mut log = crate::log::Log::new(crate::fixtures::room("main"), 0);
            let mut bit_by_bit = Items::default();
            for op in &ops {
                let store = crate::id::StoreId::from_bytes([0; 32]);
                log.receive(crate::fixtures::reread(op), store, &mut Vec::new());
                bit_by_bit.update(log.graph());
            }
            let mut at_once = Items::default();
            at_once.update(log.graph());
            prop_assert_eq!(&bit_by_bit.sorted, &at_once.sorted);
            prop_assert_eq!(at_once.end(), log.graph().end());
            prop_assert!(at_once.sorted.is_sorted());
        }
    }
}
