//! The hash graph of a room's admitted ops: chains, heads, depth, and every rule that needs an op's
//! causal past. Source: `docs/PROTOCOL.md`, "Validity" and "Order".

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use crate::chain::{Chain, Index, ROOT};
use crate::evidence::Equivocation;
use crate::head::Head;
use crate::heads::Heads;
use crate::id::{AuthorId, Depth, OpId, Position, RoomId, Seq};
use crate::op::Op;
use crate::planted::{Bug, planted};
use crate::rejection::Rejection;
use crate::time::Timestamp;

/// What is kept of an admitted op in memory; the rest is on disk.
#[derive(Clone, Copy, Debug)]
struct Node {
    chain: u32,
    /// The author's op before it.
    prev: Index,
    entries: u32,
    /// No chain is longer than the graph, whose ops are numbered with as many bits.
    seq: u32,
    depth: Depth,
    ts: Timestamp,
}

impl Node {
    fn seq(&self) -> Seq {
        Seq::new(self.seq.into()).unwrap_or(Seq::FIRST)
    }
}

/// Author, place, and the op that two others follow.
pub type ForkPoint = (AuthorId, Seq, Option<OpId>);

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
    heads: Heads,
    entries: u64,
    /// The points at which chains fork, and the two ops with the smallest ids at each.
    forks: BTreeMap<ForkPoint, [OpId; 2]>,
}

impl Graph {
    /// An empty graph. `seed` is secret: it keeps others from choosing ids that collide in the hash
    /// table.
    pub fn new(room: RoomId, seed: u64) -> Self {
        Self {
            room,
            nodes: IndexMap::with_hasher(FixedState::with_seed(seed)),
            chains: IndexMap::with_hasher(FixedState::with_seed(seed)),
            heads: Heads::default(),
            entries: 0,
            forks: BTreeMap::new(),
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

    /// The op at a position.
    pub fn at(&self, position: Position) -> Option<OpId> {
        let index = usize::try_from(position.number()).ok()?.checked_sub(1)?;
        self.nodes.get_index(index).map(|(id, _)| *id)
    }

    /// The position of the last op: the number of ops.
    pub fn end(&self) -> Position {
        Position::of_len(self.nodes.len())
    }

    /// Transactions in all admitted ops.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Every point at which an author's chain forks, by author and place.
    pub fn equivocations(&self) -> impl ExactSizeIterator<Item = Equivocation> + '_ {
        self.forks.iter().map(|(point, ops)| self.equivocation(*point, *ops))
    }

    /// The same, of those after a point.
    pub fn equivocations_after(&self, point: ForkPoint) -> impl Iterator<Item = Equivocation> + '_ {
        let after = (Bound::Excluded(point), Bound::Unbounded);
        self.forks.range(after).map(|(point, ops)| self.equivocation(*point, *ops))
    }

    /// Ops that no other op depends on, sorted.
    pub fn heads(&self) -> &BTreeSet<OpId> {
        self.heads.all()
    }

    /// An author's last op. Where the author forked its chain, the branch that reached the highest
    /// place first.
    pub fn tip(&self, author: AuthorId) -> Option<Tip> {
        let index = self.chains.get(&author)?.last()?;
        let (id, node) = self.nodes.get_index(index as usize)?;
        Some(Tip { seq: node.seq(), id: *id, depth: node.depth, ts: node.ts })
    }

    /// How many ops of an author were admitted after a position, forks counted once.
    pub fn count_after(&self, author: AuthorId, position: Position) -> usize {
        self.chains.get(&author).map_or(0, |chain| chain.count_after(position))
    }

    /// The heads that a new op names besides the op it follows, sorted, and the depth that gives.
    pub fn preds_for(&self, tip: Option<Tip>) -> (Vec<OpId>, Depth) {
        let mut preds = self.heads.offered(tip.map(|tip| tip.id));
        let depths = preds.iter().filter_map(|id| self.nodes.get(id)).map(|node| node.depth);
        let depths = depths.filter(|_| !planted(Bug::OwnDepthByChain));
        let deepest = depths.chain(tip.map(|tip| tip.depth)).max();
        preds.sort_unstable();
        (preds, deepest.map_or(Depth::FIRST, Depth::next))
    }

    /// Whether an op may be admitted now.
    ///
    /// # Errors
    /// Missing dependencies, or the rule it breaks.
    pub fn check(&self, head: &Head) -> Result<(), Obstacle> {
        if head.room != self.room && !planted(Bug::ForeignRoomTaken) {
            return Err(Obstacle::Rejected(Rejection::Room));
        }
        let granted = head.grant == *self.room.as_bytes() || planted(Bug::GrantUnchecked);
        if !granted && !planted(Bug::ForeignRoomTaken) {
            return Err(Obstacle::Rejected(Rejection::Grant));
        }
        let missing: Vec<OpId> = head.dependencies().filter(|id| !self.contains(*id)).collect();
        if !missing.is_empty() {
            return Err(Obstacle::Missing(missing));
        }
        if let Some(prev) = head.prev.and_then(|prev| self.nodes.get(&prev)) {
            let same_author = self.chains.get_index_of(&head.author) == Some(prev.chain as usize);
            let continues = prev.seq().next() == Some(head.seq) && head.ts >= prev.ts;
            if !(same_author && continues || planted(Bug::ChainUnchecked)) {
                return Err(Obstacle::Rejected(Rejection::Chain));
            }
        }
        let deepest = head.dependencies().filter_map(|id| self.nodes.get(&id)).map(|n| n.depth);
        let depth = deepest.max().map_or(Depth::FIRST, Depth::next);
        if depth != head.depth && !planted(Bug::DepthUnchecked) {
            return Err(Obstacle::Rejected(Rejection::Depth));
        }
        Ok(())
    }

    /// Adds an op that [`Graph::check`] has passed. Returns its position and, if with it its
    /// author's chain forks at a point where it had not forked before, the proof of that.
    pub fn admit(&mut self, op: &Op) -> (Position, Option<Equivocation>) {
        debug_assert_eq!(self.check(op.head()), Ok(()), "only checked ops are admitted");
        let head = op.head();
        let index = Index::try_from(self.nodes.len()).unwrap_or(ROOT);
        let prev = head.prev.and_then(|prev| self.nodes.get_index_of(&prev));
        let prev = prev.and_then(|prev| Index::try_from(prev).ok()).unwrap_or(ROOT);
        let entry = self.chains.entry(head.author);
        let author = u32::try_from(entry.index()).unwrap_or(u32::MAX);
        let nodes = &self.nodes;
        let prev_of = |index: Index| nodes.get_index(index as usize).map_or(ROOT, |(_, n)| n.prev);
        let sibling = entry.or_default().admit(index, head.seq, prev, prev_of);
        let sibling = sibling.and_then(|index| nodes.get_index(index as usize)).map(|(id, _)| *id);

        for dependency in head.dependencies() {
            let kept = planted(Bug::HeadsStale) && head.prev != Some(dependency);
            if let Some(node) = self.nodes.get(&dependency).filter(|_| !kept) {
                self.heads.remove(dependency, node.chain);
            }
        }
        self.heads.add(op.id(), author);
        let entries = u32::try_from(op.entry_count()).unwrap_or(u32::MAX);
        self.entries += u64::from(entries);
        let seq = u32::try_from(head.seq.number()).unwrap_or(u32::MAX);
        let (depth, ts) = (head.depth, head.ts);
        self.nodes.insert(op.id(), Node { chain: author, prev, entries, seq, depth, ts });
        let sibling = sibling.filter(|_| !planted(Bug::ForkForgotten));
        (self.end(), sibling.and_then(|sibling| self.fork(head, op.id(), sibling)))
    }

    /// Notes that an op follows the one that another op of its author follows already.
    fn fork(&mut self, head: &Head, id: OpId, sibling: OpId) -> Option<Equivocation> {
        let point = (head.author, head.seq, head.prev);
        let smallest = |mut ids: [OpId; 3]| {
            ids.sort_unstable();
            let [a, b, _] = ids;
            [a, b]
        };
        if let Some(ops) = self.forks.get_mut(&point) {
            let [a, b] = *ops;
            *ops = smallest([a, b, id]);
            return None;
        }
        let ops = if id < sibling { [id, sibling] } else { [sibling, id] };
        self.forks.insert(point, ops);
        Some(self.equivocation(point, ops))
    }

    fn equivocation(&self, point: ForkPoint, ops: [OpId; 2]) -> Equivocation {
        let (author, seq, prev) = point;
        // In an open room the grant is the room.
        let (room, grant) = (self.room, *self.room.as_bytes());
        Equivocation { room, grant, author, seq, prev, ops }
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
    fn a_fork_is_one_equivocation_however_many_ops_and_in_whatever_order() {
        let alice = Author::new(1);
        let mut forks: Vec<Op> = ["1", "2", "3", "4"].map(|data| entry(&alice, &[], data)).into();
        forks.sort_by_key(Op::id);
        let smallest = [forks[0].id(), forks[1].id()];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut graph = Graph::new(room("main"), 0);
            let news: Vec<bool> =
                order.iter().map(|at| graph.admit(&forks[*at]).1.is_some()).collect();
            assert_eq!(news, [false, true, false, false], "it is news once");
            let found: Vec<Equivocation> = graph.equivocations().collect();
            assert_eq!(found.iter().map(|e| e.ops).collect::<Vec<_>>(), [smallest]);
            assert_eq!(graph.end().number(), 4);
            assert_eq!(graph.tip(alice.id()).unwrap().id, forks[order[0]].id());
        }
    }

    #[test]
    fn branches_that_go_on_are_no_further_equivocations() {
        let alice = Author::new(1);
        let root = entry(&alice, &[], "0");
        let mut branches = [alice.after(&root, &[], "1"), alice.after(&root, &[], "2")];
        let mut ops = alloc::vec![root.clone(), branches[0].clone(), branches[1].clone()];
        for step in 0..5 {
            for branch in &mut branches {
                *branch = alice.after(branch, &[], &alloc::format!("{step}"));
                ops.push(branch.clone());
            }
        }
        let again = alice.after(&branches[1], &[], "7");
        ops.extend([again.clone(), alice.after(&branches[1], &[], "8")]);
        let mut graph = Graph::new(room("main"), 0);
        for op in &ops {
            graph.admit(op);
        }
        let points: Vec<_> = graph.equivocations().map(|e| (e.seq.number(), e.prev)).collect();
        assert_eq!(points, [(1, Some(root.id())), (7, Some(branches[1].id()))]);
    }

    #[test]
    fn preds_take_two_heads_of_an_author_and_sixteen_in_all() {
        let liar = Author::new(1);
        let mut graph = Graph::new(room("main"), 0);
        for fork in 0..5 {
            graph.admit(&entry(&liar, &[], &alloc::format!("{fork}")));
        }
        assert_eq!(graph.preds_for(None).0.len(), 2);
        for author in 2..40 {
            graph.admit(&entry(&Author::new(author), &[], "1"));
        }
        let (preds, depth) = graph.preds_for(None);
        assert_eq!((preds.len(), depth.number()), (crate::limits::PREDS_MAX, 2));
        assert!(preds.is_sorted());
        let own = graph.tip(Author::new(2).id());
        assert!(!graph.preds_for(own).0.contains(&own.unwrap().id));
    }

    /// However many and however deep heads an equivocator makes, before and after.
    #[test]
    fn an_honest_head_is_merged_after_as_many_ops_as_heads_were_offered_before_it() {
        let (liar, honest, writer) = (Author::new(1), Author::new(2), Author::new(3));
        let mut graph = Graph::new(room("main"), 0);
        let mut deep = entry(&liar, &[], "0");
        graph.admit(&deep);
        for step in 0..40 {
            let siblings = (0..50).map(|n| liar.after(&deep, &[], &alloc::format!("{step},{n}")));
            let siblings: Vec<Op> = siblings.collect();
            for op in &siblings {
                graph.admit(op);
            }
            deep = siblings[0].clone();
        }
        let quiet = entry(&honest, &[], "1");
        graph.admit(&quiet);
        assert!(graph.heads().len() > 1_900);
        let (preds, depth) = graph.preds_for(None);
        assert_eq!(preds.len(), 3, "two of the liar's, and the honest one");
        assert!(preds.contains(&quiet.id()));
        let op = writer.with(|head| (head.preds, head.depth) = (preds, depth));
        graph.admit(&op);
        assert!(!graph.heads().contains(&quiet.id()));
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
