//! Verified ops whose dependencies are not known yet. Bounded: evicting one is harmless, because it
//! is fetched again by hash when an admitted op or an announced head needs it.
//! Source: `docs/PROTOCOL.md`, "Fetching".

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::{AuthorId, OpId, StoreId};
use crate::limits;
use crate::op::Op;
use crate::planted::{Bug, planted};

/// An op and the store it came from; `None` if this node wrote it.
pub(crate) type Sourced = (Arc<Op>, Option<StoreId>);

#[derive(Debug)]
struct Waiting {
    op: Arc<Op>,
    source: Option<StoreId>,
    missing: BTreeSet<OpId>,
    arrival: u64,
    bytes: usize,
}

/// The parked ops of one room.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    ops: BTreeMap<OpId, Waiting>,
    waiters: BTreeMap<OpId, BTreeSet<OpId>>,
    by_arrival: BTreeMap<u64, OpId>,
    by_author: Shares<AuthorId>,
    by_source: Shares<Option<StoreId>>,
    arrivals: u64,
    bytes: usize,
    evicted: u64,
}

/// Who has which parked ops, by arrival.
#[derive(Debug)]
struct Shares<K>(BTreeMap<K, BTreeSet<u64>>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Shares<K> {
    /// Adds an arrival. Returns the oldest of the same owner if that makes too many.
    fn add(&mut self, owner: K, arrival: u64, max: usize) -> Option<u64> {
        let share = self.0.entry(owner).or_default();
        share.insert(arrival);
        if share.len() > max { share.first().copied() } else { None }
    }

    fn remove(&mut self, owner: &K, arrival: u64) {
        if let Some(share) = self.0.get_mut(owner) {
            share.remove(&arrival);
            if share.is_empty() {
                self.0.remove(owner);
            }
        }
    }
}

impl Parked {
    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Bytes they take, indices included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were evicted for a limit.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn contains(&self, id: OpId) -> bool {
        self.ops.contains_key(&id)
    }

    /// Whether a parked op waits for this one.
    pub(crate) fn awaits(&self, id: OpId) -> bool {
        self.waiters.contains_key(&id)
    }

    /// Ops that parked ones wait for and that are not parked themselves. As many as there are.
    pub(crate) fn missing(&self) -> impl Iterator<Item = OpId> + '_ {
        self.waiters.keys().copied().filter(|id| !self.contains(*id))
    }

    /// Parks an op and evicts the oldest ones beyond the limits.
    pub(crate) fn park(&mut self, (op, source): Sourced, missing: Vec<OpId>) {
        if self.contains(op.id()) {
            return;
        }
        let (id, author) = (op.id(), op.head().author);
        let arrival = self.arrivals;
        self.arrivals += 1;
        let bytes = op.weight() + missing.len() * limits::PARKED_BYTES_PER_MISSING;
        self.bytes += bytes;
        self.by_arrival.insert(arrival, id);
        let beyond = [
            self.by_author.add(author, arrival, limits::PARKED_PER_AUTHOR_MAX),
            self.by_source.add(source, arrival, limits::PARKED_PER_SOURCE_MAX),
        ];
        for dependency in &missing {
            self.waiters.entry(*dependency).or_default().insert(id);
        }
        let missing = missing.into_iter().collect();
        self.ops.insert(id, Waiting { op, source, missing, arrival, bytes });

        for arrival in beyond.into_iter().flatten().filter(|_| !planted(Bug::ParkedUnbounded)) {
            self.evict(arrival);
        }
        while self.ops.len() > limits::PARKED_OPS_MAX {
            self.evict_oldest();
        }
        self.shrink(limits::PARKED_BYTES_MAX);
    }

    /// Evicts the oldest until no more than so many bytes are left.
    pub(crate) fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        let oldest = self.by_arrival.first_key_value().map(|(arrival, _)| *arrival);
        debug_assert!(oldest.is_some(), "over a limit there is an op to evict");
        if let Some(arrival) = oldest {
            self.evict(arrival);
        }
    }

    /// Evicts the op that arrived then. It may be gone already: one op can be beyond two limits.
    fn evict(&mut self, arrival: u64) {
        let id = self.by_arrival.get(&arrival).copied();
        if id.and_then(|id| self.remove(id)).is_some() {
            self.evicted += 1;
        }
    }

    /// Tells that an op was admitted: returns those that waited for nothing else.
    pub(crate) fn admitted(&mut self, id: OpId) -> Vec<Sourced> {
        let mut ready = Vec::new();
        for waiter in self.waiters.remove(&id).unwrap_or_default() {
            let Some(waiting) = self.ops.get_mut(&waiter) else { continue };
            waiting.missing.remove(&id);
            if waiting.missing.is_empty()
                && let Some(waiting) = self.remove(waiter)
            {
                ready.push((waiting.op, waiting.source));
            }
        }
        ready
    }

    /// Removes every op that depends, directly or not, on one that was rejected.
    pub(crate) fn rejected(&mut self, id: OpId) -> Vec<OpId> {
        let mut fallen = Vec::new();
        let mut next = alloc::vec![id];
        while let Some(id) = next.pop() {
            for waiter in self.waiters.get(&id).cloned().unwrap_or_default() {
                if self.remove(waiter).is_some() {
                    fallen.push(waiter);
                    next.push(waiter);
                }
            }
        }
        fallen
    }

    fn remove(&mut self, id: OpId) -> Option<Waiting> {
        let waiting = self.ops.remove(&id)?;
        self.bytes -= waiting.bytes;
        self.by_arrival.remove(&waiting.arrival);
        self.by_author.remove(&waiting.op.head().author, waiting.arrival);
        self.by_source.remove(&waiting.source, waiting.arrival);
        for dependency in &waiting.missing {
            if let Some(waiters) = self.waiters.get_mut(dependency) {
                waiters.remove(&id);
                if waiters.is_empty() {
                    self.waiters.remove(dependency);
                }
            }
        }
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Author, entry, id_of};

    fn op(author: u8, data: usize) -> Arc<Op> {
        Arc::new(entry(&Author::new(author), &[], &alloc::format!("{data}")))
    }

    #[test]
    fn an_op_is_ready_when_its_last_dependency_is() {
        let mut parked = Parked::default();
        let waiting = op(1, 1);
        parked.park((waiting.clone(), None), alloc::vec![id_of(1), id_of(2)]);
        assert!(parked.admitted(id_of(1)).is_empty());
        assert_eq!(parked.missing().collect::<Vec<_>>(), [id_of(2)]);
        assert_eq!(parked.admitted(id_of(2))[0].0.id(), waiting.id());
        assert_eq!((parked.len(), parked.bytes), (0, 0));
        assert!(parked.waiters.is_empty());
        assert!(parked.by_author.0.is_empty() && parked.by_source.0.is_empty());
    }

    #[test]
    fn what_depends_on_a_rejected_op_falls_with_it() {
        let mut parked = Parked::default();
        let (child, grandchild, other) = (op(1, 1), op(1, 2), op(1, 3));
        parked.park((child.clone(), None), alloc::vec![id_of(1), id_of(9)]);
        parked.park((grandchild, None), alloc::vec![child.id()]);
        parked.park((other.clone(), None), alloc::vec![id_of(2)]);
        assert_eq!(parked.rejected(id_of(1)).len(), 2);
        assert!(parked.contains(other.id()) && parked.len() == 1);
        assert_eq!(parked.missing().collect::<Vec<_>>(), [id_of(2)]);
    }

    #[test]
    fn one_author_cannot_crowd_out_another() {
        let mut parked = Parked::default();
        let honest = op(1, 0);
        parked.park((honest.clone(), None), alloc::vec![id_of(1)]);
        for data in 0..=limits::PARKED_PER_AUTHOR_MAX {
            parked.park((op(2, data), None), alloc::vec![id_of(2)]);
        }
        assert_eq!(parked.len(), limits::PARKED_PER_AUTHOR_MAX + 1);
        assert!(parked.contains(honest.id()));
        assert!(!parked.contains(op(2, 0).id()), "the flooder's own oldest goes first");
    }

    #[test]
    fn one_peer_with_many_keys_cannot_crowd_out_another() {
        let mut parked = Parked::default();
        let (good, bad) = (StoreId::from_bytes([1; 32]), StoreId::from_bytes([2; 32]));
        let honest = op(1, 0);
        parked.park((honest.clone(), Some(good)), alloc::vec![id_of(1)]);
        for data in 0..limits::PARKED_PER_SOURCE_MAX + 5 {
            let author = u8::try_from(2 + data % 9).unwrap();
            parked.park((op(author, data), Some(bad)), alloc::vec![id_of(2)]);
        }
        assert_eq!(parked.len(), limits::PARKED_PER_SOURCE_MAX + 1);
        assert_eq!(parked.evicted(), 5);
        assert!(parked.contains(honest.id()));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut parked = Parked::default();
        let text = alloc::format!("\"{}\"", "x".repeat(60_000));
        for author in 0..250 {
            for fork in 0..3 {
                let data = alloc::format!("{text},{fork}");
                let op = Arc::new(entry(&Author::new(author), &[], &data));
                parked.park((op, None), alloc::vec![id_of(1)]);
            }
        }
        assert!(parked.bytes <= limits::PARKED_BYTES_MAX);
        assert!(parked.bytes > limits::PARKED_BYTES_MAX - 70_000);
    }
}
