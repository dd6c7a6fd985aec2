//! The hash graph of a room's admitted ops: chains, heads, depth, and every rule that needs an op's
//! causal past. Source: `docs/PROTOCOL.md`, "Validity" and "Order".

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use crate::head::Head;
use crate::id::{AuthorId, Depth, OpId, Position, RoomId, Seq};
use crate::limits;
use crate::op::Op;
use crate::rejection::Rejection;
use crate::time::Timestamp;

/// What is kept of an admitted op in memory; the rest is on disk.
#[derive(Clone, Copy, Debug)]
struct Node {
    chain: u32,
    entries: u32,
    seq: Seq,
    depth: Depth,
    ts: Timestamp,
}

/// One author's ops. Admission requires the previous op, so the places are dense.
#[derive(Debug, Default)]
struct Chain {
    /// For each seq the index of the first op admitted there.
    by_seq: Vec<u32>,
    /// Seqs at which more than one op was admitted.
    forked: BTreeSet<Seq>,
}

/// An author's last op: where its next one continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its place in the chain.
    pub seq: Seq,
    /// Its id.
    pub id: OpId,
    /// Its depth.
    pub depth: Depth,
    /// The time it claims.
    pub ts: Timestamp,
}

/// Why an op is not admitted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// These dependencies are not known yet.
    Missing(Vec<OpId>),
    /// It never will be.
    Rejected(Rejection),
}

/// The graph of one open room.
#[derive(Debug)]
pub struct Graph {
    room: RoomId,
    nodes: IndexMap<OpId, Node, FixedState>,
    chains: IndexMap<AuthorId, Chain, FixedState>,
    heads: BTreeSet<OpId>,
    heads_by_depth: BTreeSet<(Depth, OpId)>,
    entries: u64,
    forks: usize,
}

impl Graph {
    /// An empty graph. `seed` is secret: it keeps others from choosing ids that collide in the hash
    /// table.
    pub fn new(room: RoomId, seed: u64) -> Self {
        Self {
            room,
            nodes: IndexMap::with_hasher(FixedState::with_seed(seed)),
            chains: IndexMap::with_hasher(FixedState::with_seed(seed)),
            heads: BTreeSet::new(),
            heads_by_depth: BTreeSet::new(),
            entries: 0,
            forks: 0,
        }
    }

    /// The room.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// Whether an op was admitted.
    pub fn contains(&self, id: OpId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// Where in the order of arrival an op was admitted.
    pub fn position(&self, id: OpId) -> Option<Position> {
        self.nodes.get_index_of(&id).map(|index| Position::of_len(index + 1))
    }

    /// The position of the last op: the number of ops.
    pub fn end(&self) -> Position {
        Position::of_len(self.nodes.len())
    }

    /// Transactions in all admitted ops.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Places at which an author signed more than one op.
    pub fn forks(&self) -> usize {
        self.forks
    }

    /// Ops that no other op depends on, sorted.
    pub fn heads(&self) -> &BTreeSet<OpId> {
        &self.heads
    }

    /// An author's last op. Where the author forked its chain, the branch that arrived first.
    pub fn tip(&self, author: AuthorId) -> Option<Tip> {
        let index = *self.chains.get(&author)?.by_seq.last()?;
        let (id, node) = self.nodes.get_index(index as usize)?;
        Some(Tip { seq: node.seq, id: *id, depth: node.depth, ts: node.ts })
    }

    /// How many ops of an author were admitted after a position, forks counted once.
    pub fn count_after(&self, author: AuthorId, position: Position) -> usize {
        let Some(chain) = self.chains.get(&author) else { return 0 };
        // A node's index is its position less one, so indices below `position` come before it.
        let acked = chain.by_seq.partition_point(|index| u64::from(*index) < position.number());
        chain.by_seq.len() - acked
    }

    /// The heads that a new op of `author` names besides its own last op, sorted, and the depth
    /// that gives. The deepest come first, at most two of one author, at most 16 in all.
    pub fn preds_for(&self, author: AuthorId) -> (Vec<OpId>, Depth) {
        let tip = self.tip(author);
        let mut preds: Vec<OpId> = Vec::new();
        let mut by_author: Vec<u32> = Vec::new();
        let mut deepest = tip.map(|tip| tip.depth);
        // Bounded: an equivocator may own any number of heads.
        for (depth, id) in self.heads_by_depth.iter().rev().take(limits::HEADS_LISTED_MAX) {
            let Some(node) = self.nodes.get(id) else { continue };
            let of_author = by_author.iter().filter(|chain| **chain == node.chain).count();
            let own = tip.is_some_and(|tip| tip.id == *id);
            if own || of_author >= limits::PREDS_PER_AUTHOR_MAX {
                continue;
            }
            by_author.push(node.chain);
            preds.push(*id);
            deepest = deepest.max(Some(*depth));
            if preds.len() == limits::PREDS_MAX {
                break;
            }
        }
        preds.sort_unstable();
        (preds, deepest.map_or(Depth::FIRST, Depth::next))
    }

    /// Whether an op may be admitted now.
    ///
    /// # Errors
    /// Missing dependencies, or the rule it breaks.
    pub fn check(&self, head: &Head) -> Result<(), Obstacle> {
        if head.room != self.room {
            return Err(Obstacle::Rejected(Rejection::Room));
        }
        if head.grant != *self.room.as_bytes() {
            return Err(Obstacle::Rejected(Rejection::Grant));
        }
        let missing: Vec<OpId> = head.dependencies().filter(|id| !self.contains(*id)).collect();
        if !missing.is_empty() {
            return Err(Obstacle::Missing(missing));
        }
        if let Some(prev) = head.prev.and_then(|prev| self.nodes.get(&prev)) {
            let same_author = self.chains.get_index_of(&head.author) == Some(prev.chain as usize);
            if !same_author || prev.seq.next() != Some(head.seq) || head.ts < prev.ts {
                return Err(Obstacle::Rejected(Rejection::Chain));
            }
        }
        let deepest = head.dependencies().filter_map(|id| self.nodes.get(&id)).map(|n| n.depth);
        if deepest.max().map_or(Depth::FIRST, Depth::next) != head.depth {
            return Err(Obstacle::Rejected(Rejection::Depth));
        }
        Ok(())
    }

    /// Adds an op that [`Graph::check`] has passed. Returns its position and, if its author had
    /// already signed another op at this place, that other op.
    pub fn admit(&mut self, op: &Op) -> (Position, Option<OpId>) {
        debug_assert_eq!(self.check(op.head()), Ok(()), "only checked ops are admitted");
        let head = op.head();
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let entry = self.chains.entry(head.author);
        let chain_index = u32::try_from(entry.index()).unwrap_or(u32::MAX);
        let chain = entry.or_default();
        let place = usize::try_from(head.seq.number()).unwrap_or(usize::MAX);
        let first = chain.by_seq.get(place).copied();
        if first.is_none() {
            debug_assert_eq!(chain.by_seq.len(), place, "places of a chain are dense");
            chain.by_seq.push(index);
        } else if chain.forked.insert(head.seq) {
            self.forks += 1;
        }
        let other = first.and_then(|index| self.nodes.get_index(index as usize));
        let other = other.map(|(id, _)| *id);

        for dependency in head.dependencies() {
            if self.heads.remove(&dependency)
                && let Some(node) = self.nodes.get(&dependency)
            {
                self.heads_by_depth.remove(&(node.depth, dependency));
            }
        }
        self.heads.insert(op.id());
        self.heads_by_depth.insert((head.depth, op.id()));
        let entries = u32::try_from(op.entry_count()).unwrap_or(u32::MAX);
        self.entries += u64::from(entries);
        let node =
            Node { chain: chain_index, entries, seq: head.seq, depth: head.depth, ts: head.ts };
        self.nodes.insert(op.id(), node);
        (self.end(), other)
    }

    /// Every admitted op in order of arrival: depth, id and number of entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Depth, OpId, u32)> + '_ {
        self.nodes.iter().map(|(id, node)| (node.depth, *id, node.entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Author, entry, id_of, room};

    #[test]
    fn ops_of_another_room_or_grant_are_rejected() {
        let mut op = entry(&Author::new(1), &[], "1");
        let graph = Graph::new(room("other"), 0);
        assert_eq!(graph.check(op.head()), Err(Obstacle::Rejected(Rejection::Room)));
        op = Author::new(1).with(|head| head.grant = [0; 32]);
        let graph = Graph::new(room("main"), 0);
        assert_eq!(graph.check(op.head()), Err(Obstacle::Rejected(Rejection::Grant)));
    }

    #[test]
    fn every_missing_dependency_is_named() {
        let author = Author::new(1);
        let op = author.with(|head| {
            head.prev = Some(id_of(1));
            head.seq = Seq::new(1).unwrap();
            head.preds = alloc::vec![id_of(2)];
            head.refs = alloc::vec![id_of(3)];
        });
        let graph = Graph::new(room("main"), 0);
        let missing = alloc::vec![id_of(1), id_of(2), id_of(3)];
        assert_eq!(graph.check(op.head()), Err(Obstacle::Missing(missing)));
    }

    #[test]
    fn a_chain_continues_its_own_author_place_and_time() {
        let (alice, bob) = (Author::new(1), Author::new(2));
        let mut graph = Graph::new(room("main"), 0);
        let first = alice.with(|head| head.ts = Timestamp::from_ms(10));
        graph.admit(&first);
        let follow = |author: &Author, seq: u64, ts: i64| {
            author.with(|head| {
                head.prev = Some(first.id());
                head.seq = Seq::new(seq).unwrap();
                head.depth = Depth::new(2).unwrap();
                head.ts = Timestamp::from_ms(ts);
            })
        };
        assert_eq!(graph.check(follow(&alice, 1, 10).head()), Ok(()));
        for (bad, why) in [
            (follow(&bob, 1, 10), "another author's chain"),
            (follow(&alice, 2, 10), "a place is skipped"),
            (follow(&alice, 1, 9), "time goes back"),
        ] {
            let rejected = Err(Obstacle::Rejected(Rejection::Chain));
            assert_eq!(graph.check(bad.head()), rejected, "{why}");
        }
    }

    #[test]
    fn depth_is_one_more_than_the_deepest_dependency() {
        let alice = Author::new(1);
        let mut graph = Graph::new(room("main"), 0);
        let root = entry(&alice, &[], "1");
        let second = entry(&Author::new(2), &[&root], "1");
        graph.admit(&root);
        graph.admit(&second);
        for (depth, good) in [(1, false), (2, false), (3, true), (4, false)] {
            let op = Author::new(3).with(|head| {
                head.preds = alloc::vec![second.id()];
                head.refs = alloc::vec![root.id()];
                head.depth = Depth::new(depth).unwrap();
            });
            assert_eq!(graph.check(op.head()).is_ok(), good, "depth {depth}");
        }
        let rootless = Author::new(3).with(|head| head.depth = Depth::new(2).unwrap());
        let rejected = Err(Obstacle::Rejected(Rejection::Depth));
        assert_eq!(graph.check(rootless.head()), rejected);
    }

    #[test]
    fn heads_are_what_nothing_depends_on() {
        let mut graph = Graph::new(room("main"), 0);
        let (a, b) = (entry(&Author::new(1), &[], "1"), entry(&Author::new(2), &[], "1"));
        graph.admit(&a);
        graph.admit(&b);
        assert_eq!(graph.heads().len(), 2);
        let merge = entry(&Author::new(3), &[&a, &b], "1");
        graph.admit(&merge);
        assert_eq!(graph.heads().iter().copied().collect::<Vec<_>>(), [merge.id()]);
    }

    #[test]
    fn both_ops_of_an_equivocation_are_admitted_and_the_fork_is_counted_once() {
        let alice = Author::new(1);
        let mut graph = Graph::new(room("main"), 0);
        let forks: Vec<Op> = ["1", "2", "3"].map(|data| entry(&alice, &[], data)).into();
        assert_eq!(graph.admit(&forks[0]).1, None);
        assert_eq!(graph.admit(&forks[1]).1, Some(forks[0].id()));
        assert_eq!(graph.admit(&forks[2]).1, Some(forks[0].id()));
        assert_eq!((graph.forks(), graph.end().number()), (1, 3));
        assert_eq!(graph.tip(alice.id()).unwrap().id, forks[0].id());
    }

    #[test]
    fn preds_take_two_heads_of_an_author_and_sixteen_in_all() {
        let liar = Author::new(1);
        let mut graph = Graph::new(room("main"), 0);
        for fork in 0..5 {
            graph.admit(&entry(&liar, &[], &alloc::format!("{fork}")));
        }
        assert_eq!(graph.preds_for(Author::new(99).id()).0.len(), 2);
        for author in 2..40 {
            graph.admit(&entry(&Author::new(author), &[], "1"));
        }
        let (preds, depth) = graph.preds_for(Author::new(99).id());
        assert_eq!((preds.len(), depth.number()), (limits::PREDS_MAX, 2));
        assert!(preds.is_sorted());
        let own = Author::new(2).id();
        assert!(!graph.preds_for(own).0.contains(&graph.tip(own).unwrap().id));
    }

    #[test]
    fn ops_after_a_position_are_counted_per_author() {
        let (alice, bob) = (Author::new(1), Author::new(2));
        let mut graph = Graph::new(room("main"), 0);
        let first = entry(&alice, &[], "1");
        let between = entry(&bob, &[&first], "1");
        let second = alice.after(&first, &[&between], "2");
        for op in [&first, &between, &second] {
            graph.admit(op);
        }
        let counts = (0..=3).map(|p| graph.count_after(alice.id(), Position::new(p).unwrap()));
        assert_eq!(counts.collect::<Vec<_>>(), [2, 1, 1, 0]);
    }
}
