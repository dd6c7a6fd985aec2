//! The log of one room: takes ops in any order, admits each once its causal past is known.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

use crate::evidence::Equivocation;
use crate::graph::{Graph, Obstacle};
use crate::id::{AuthorId, LogDigest, OpId, Position, RoomId, SetDigest, StoreId};
use crate::key::{CheckSignature, Claim, EachTime, PublicKey};
use crate::limits;
use crate::op::{HashedOp, Op};
use crate::order;
use crate::parked::{Parked, Sourced};
use crate::planted::{Bug, planted};
use crate::rejection::Rejection;

/// An op that entered the log.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The op.
    pub op: Arc<Op>,
    /// Its place in this replica's order of arrival.
    pub position: Position,
    /// The store it came from; `None` if this node wrote it.
    pub source: Option<StoreId>,
    /// The fork of its author's chain that it brought to light, if it is the first to do so.
    pub equivocation: Option<Equivocation>,
}

/// What became of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the log, now or already before.
    Stored,
    /// It waits for a dependency.
    Parked,
    /// It never will be in the log.
    Rejected(Rejection),
}

/// The log of one room.
#[derive(Debug)]
pub struct Log {
    graph: Graph,
    parked: Parked,
    rejected: Recent,
    signatures: Arc<dyn CheckSignature>,
    keys: BTreeMap<AuthorId, PublicKey>,
    repeated: u64,
    /// The set digest, until the next op is admitted: a peer that asks again and again, or a room
    /// with very many heads, costs one hash over them per change.
    set: Cell<Option<SetDigest>>,
}

impl Log {
    /// An empty log. `seed` is secret, see [`Graph::new`].
    pub fn new(room: RoomId, seed: u64) -> Self {
        Self {
            graph: Graph::new(room, seed),
            parked: Parked::default(),
            rejected: Recent::default(),
            signatures: Arc::new(EachTime),
            keys: BTreeMap::new(),
            repeated: 0,
            set: Cell::new(None),
        }
    }

    /// The same log with its signatures checked by another.
    pub(crate) fn checked_by(self, signatures: Arc<dyn CheckSignature>) -> Self {
        Self { signatures, ..self }
    }

    /// The graph of what was admitted.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The digest of the set of ops.
    pub fn set_digest(&self) -> SetDigest {
        let set = self.set.get().unwrap_or_else(|| order::set_digest(self.graph.heads()));
        self.set.set(Some(set));
        set
    }

    /// The digest of the entries in log order; sorts the whole log.
    pub fn log_digest(&self) -> LogDigest {
        order::log_digest(&self.graph)
    }

    /// Ops that wait for a dependency.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Bytes of the ops that wait for a dependency.
    pub fn parked_bytes(&self) -> usize {
        self.parked.bytes()
    }

    /// Parked ops evicted for a limit.
    pub fn parked_evicted(&self) -> u64 {
        self.parked.evicted()
    }

    /// Ids of rejected ops that are remembered.
    pub fn rejected(&self) -> usize {
        self.rejected.ids.len()
    }

    /// Ops that came though they were known: neither their signature nor anything else was checked.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Forgets the oldest parked ops until no more than so many bytes are left.
    pub(crate) fn shrink_parked(&mut self, bytes_max: usize) {
        self.parked.shrink(bytes_max);
    }

    /// Dependencies that parked ops wait for.
    pub fn missing(&self) -> impl Iterator<Item = OpId> + '_ {
        self.parked.missing()
    }

    /// Whether an op is admitted or parked: there is no use in asking for it.
    pub fn has(&self, id: OpId) -> bool {
        self.graph.contains(id) || self.parked.contains(id)
    }

    /// Whether a parked op still waits for this one.
    pub fn awaits(&self, id: OpId) -> bool {
        self.parked.awaits(id) && !self.parked.contains(id)
    }

    /// Says whose signatures will be checked if these ops are received. Returns whether that is all:
    /// the keys of all their authors are known.
    pub(crate) fn look_ahead<'o>(&self, ops: impl Iterator<Item = &'o HashedOp>) -> bool {
        let (mut seen, mut whole) = (BTreeSet::new(), true);
        let unknown = ops.filter(|op| !self.has(op.id()) && !self.rejected.contains(op.id()));
        let mut claims = unknown.filter(|op| seen.insert(op.id())).filter_map(|op| {
            // The key of an author who is new here is read when its first op's turn comes.
            let key = self.keys.get(&op.head().author).cloned();
            whole &= key.is_some();
            Some(Claim { key: key?, id: op.id(), signature: *op.sig() })
        });
        self.signatures.ahead(&mut claims);
        whole
    }

    /// Takes an op as it came from a peer. What enters the log is appended to `admitted`: this op
    /// and those that had waited for it, dependencies first.
    pub fn receive(
        &mut self,
        op: HashedOp,
        source: StoreId,
        admitted: &mut Vec<Admitted>,
    ) -> Verdict {
        if self.has(op.id()) && !planted(Bug::AdmittedTwice) {
            self.repeated += 1;
            let parked = self.parked.contains(op.id());
            return if parked { Verdict::Parked } else { Verdict::Stored };
        }
        if self.rejected.contains(op.id()) {
            return Verdict::Rejected(Rejection::Ancestor);
        }
        let id = op.id();
        match self.verify(op) {
            Ok(op) => self.insert((Arc::new(op), Some(source)), admitted),
            Err(rejection) => {
                // Its author signed it, so nothing better can come under this id.
                let remembered = planted(Bug::BadSignatureRemembered);
                if rejection == Rejection::Entry || remembered {
                    self.reject(id);
                }
                Verdict::Rejected(rejection)
            }
        }
    }

    /// Remembers a rejected op, and what waits for it.
    fn reject(&mut self, id: OpId) {
        for fallen in self.parked.rejected(id) {
            self.rejected.insert(fallen);
        }
        self.rejected.insert(id);
    }

    fn verify(&mut self, op: HashedOp) -> Result<Op, Rejection> {
        let author = op.head().author;
        if let Some(key) = self.keys.get(&author) {
            return op.verify_by(&*self.signatures, key);
        }
        let key = PublicKey::of(author).map_err(|_| Rejection::Key)?;
        let verified = op.verify_by(&*self.signatures, &key)?;
        if self.keys.len() >= limits::KEYS_CACHED_MAX {
            self.keys.clear();
        }
        self.keys.insert(author, key);
        Ok(verified)
    }

    /// Takes a verified op. What enters the log is appended to `admitted`, dependencies first.
    pub(crate) fn insert(&mut self, op: Sourced, admitted: &mut Vec<Admitted>) -> Verdict {
        let mut first = None;
        let mut next = VecDeque::from([op]);
        while let Some((op, source)) = next.pop_front() {
            let verdict = match self.check(&op) {
                Ok(()) => {
                    let (position, equivocation) = self.graph.admit(&op);
                    self.set.set(None);
                    next.extend(self.parked.admitted(op.id()));
                    admitted.push(Admitted { op, position, source, equivocation });
                    Verdict::Stored
                }
                Err(Obstacle::Missing(missing)) => {
                    self.parked.park((op, source), missing);
                    Verdict::Parked
                }
                Err(Obstacle::Rejected(rejection)) => {
                    self.reject(op.id());
                    Verdict::Rejected(rejection)
                }
            };
            first.get_or_insert(verdict);
        }
        first.unwrap_or(Verdict::Stored)
    }

    fn check(&self, op: &Op) -> Result<(), Obstacle> {
        if op.head().dependencies().any(|id| self.rejected.contains(id)) {
            return Err(Obstacle::Rejected(Rejection::Ancestor));
        }
        self.graph.check(op.head())
    }
}

/// A bounded memory of ids: the oldest are forgotten.
#[derive(Debug, Default)]
struct Recent {
    ids: BTreeSet<OpId>,
    order: VecDeque<OpId>,
}

impl Recent {
    fn contains(&self, id: OpId) -> bool {
        self.ids.contains(&id)
    }

    fn insert(&mut self, id: OpId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > limits::REJECTED_IDS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{Author, entry, reread, room};
    use crate::id::Depth;
    use crate::model;

    const SOURCE: StoreId = StoreId::from_bytes([0; 32]);

    fn log_of<'o>(ops: impl IntoIterator<Item = &'o Op>) -> (Log, Vec<Admitted>) {
        let mut log = Log::new(room("main"), 0);
        let mut admitted = Vec::new();
        for op in ops {
            log.receive(reread(op), SOURCE, &mut admitted);
        }
        (log, admitted)
    }

    #[test]
    fn a_long_chain_in_reverse_is_admitted_without_recursion() {
        let alice = Author::new(1);
        let mut chain = alloc::vec![entry(&alice, &[], "0")];
        for number in 1..1_000 {
            let next = alice.after(&chain[number - 1], &[], "1");
            chain.push(next);
        }
        let (log, admitted) = log_of(chain.iter().rev());
        let order: Vec<OpId> = admitted.iter().map(|a| a.op.id()).collect();
        assert_eq!(order, chain.iter().map(Op::id).collect::<Vec<_>>());
        assert_eq!(log.parked(), 0);
    }

    #[test]
    fn descendants_of_a_rejected_op_are_rejected_in_any_order() {
        let (alice, bob) = (Author::new(1), Author::new(2));
        let bad = alice.with(|head| head.depth = Depth::new(7).unwrap());
        let child = entry(&bob, &[&bad], "1");
        let grandchild = bob.after(&child, &[], "2");
        for ops in [[&bad, &child, &grandchild], [&grandchild, &child, &bad]] {
            let (mut log, admitted) = log_of(ops);
            assert!(admitted.is_empty() && log.parked() == 0);
            let again = log.receive(reread(&grandchild), SOURCE, &mut Vec::new());
            assert_eq!(again, Verdict::Rejected(Rejection::Ancestor));
        }
    }

    #[test]
    fn a_bad_signature_does_not_keep_the_good_one_out() {
        let op = entry(&Author::new(1), &[], "1");
        let text = alloc::string::ToString::to_string(&op);
        let last = if text.ends_with("0\"}") { "1\"}" } else { "0\"}" };
        let kept = text.get(..text.len() - 3).unwrap();
        let forged = alloc::format!("{kept}{last}");
        let forged = crate::op::RawOp::parse(forged.as_bytes()).unwrap().check_hash().unwrap();
        let mut log = Log::new(room("main"), 0);
        let mut admitted = Vec::new();
        let refused = log.receive(forged, SOURCE, &mut admitted);
        assert_eq!(refused, Verdict::Rejected(Rejection::Signature));
        assert_eq!(log.receive(reread(&op), SOURCE, &mut admitted), Verdict::Stored);
        assert_eq!(log.receive(reread(&op), SOURCE, &mut admitted), Verdict::Stored);
        assert_eq!(admitted.len(), 1);
    }

    #[test]
    fn memory_of_rejected_ids_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..limits::REJECTED_IDS_MAX as u64 + 10 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            recent.insert(OpId::from_bytes(bytes));
        }
        assert_eq!(recent.ids.len(), limits::REJECTED_IDS_MAX);
        assert!(!recent.contains(OpId::from_bytes([0; 32])));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any order of arrival, duplicates included, gives what the naive model gives.
        #[test]
        fn any_order_of_arrival_gives_one_log(
            steps in prop::collection::vec(model::any_step(), 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        ) {
            let ops = model::build(&steps);
            let shuffled = model::shuffle(&ops, &order);
            let (log, admitted) = log_of(shuffled);
            let expected = model::Naive::of(&ops);
            prop_assert_eq!(admitted.len(), expected.admitted.len());
            prop_assert_eq!(log.parked(), expected.parked);
            prop_assert_eq!(log.graph().heads(), &expected.heads);
            prop_assert_eq!(log.set_digest(), expected.set);
            prop_assert_eq!(log.log_digest(), expected.log);
            prop_assert_eq!(log.graph().equivocations().map(|e| e.ops).collect::<Vec<_>>(), expected.forks);
            prop_assert_eq!(log.graph().entries(), expected.entries);
            let ids: BTreeSet<OpId> = admitted.iter().map(|a| a.op.id()).collect();
            prop_assert_eq!(ids, expected.admitted);
        }
    }
}
