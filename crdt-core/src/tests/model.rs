//! Test-only oracle: the protocol's rules written the naive way, over the whole set at once, with
//! nothing incremental. The differential tests compare the log with it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::fixtures::{Author, entry, id_of, room};
use crate::id::{Depth, LogDigest, OpId, SetDigest};
use crate::op::Op;

/// One op of a random history: who writes, on top of which earlier ops, and which lie it tells.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    author: u8,
    prev: prop::sample::Index,
    preds: Vec<prop::sample::Index>,
    lie: Option<Lie>,
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    Fork,
    Depth,
    ForeignPrev,
    Phantom,
    Grant,
}

pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let lie = prop_oneof![
        12 => Just(None),
        2 => Just(Some(Lie::Fork)),
        1 => Just(Some(Lie::Depth)),
        1 => Just(Some(Lie::ForeignPrev)),
        1 => Just(Some(Lie::Phantom)),
        1 => Just(Some(Lie::Grant)),
    ];
    let preds = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (1..5_u8, any::<prop::sample::Index>(), preds, lie)
        .prop_map(|(author, prev, preds, lie)| Step { author, prev, preds, lie })
}

/// The ops of a random history, dependencies first.
pub(crate) fn build(steps: &[Step]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for (serial, step) in steps.iter().enumerate() {
        let author = Author::new(step.author);
        let own: Vec<&Op> = ops.iter().filter(|op| op.head().author == author.id()).collect();
        let prev = match step.lie {
            Some(Lie::ForeignPrev) if !ops.is_empty() => Some(&ops[step.prev.index(ops.len())]),
            Some(Lie::Fork) if !own.is_empty() => Some(own[step.prev.index(own.len())]),
            _ => own.last().copied(),
        };
        let mut preds: Vec<&Op> = Vec::new();
        for index in step.preds.iter().filter(|_| !ops.is_empty()) {
            let other = &ops[index.index(ops.len())];
            if prev.map(Op::id) != Some(other.id()) && preds.iter().all(|p| p.id() != other.id()) {
                preds.push(other);
            }
        }
        let data = format!("{serial}");
        let honest = match prev {
            Some(prev) => author.after(prev, &preds, &data),
            None => entry(&author, &preds, &data),
        };
        let op = match step.lie {
            Some(Lie::Depth) => relabel(&author, &honest, |head| head.depth = head.depth.next()),
            Some(Lie::Grant) => relabel(&author, &honest, |head| head.grant = [1; 32]),
            Some(Lie::Phantom) => relabel(&author, &honest, |head| head.refs = [id_of(7)].into()),
            _ => honest,
        };
        ops.push(op);
    }
    ops
}

/// The same data under a head that was changed and signed again.
fn relabel(author: &Author, op: &Op, change: impl FnOnce(&mut crate::head::Head)) -> Op {
    let mut head = op.head().clone();
    change(&mut head);
    let id = head.id();
    let data = crate::json::Canonical::parse(op.data().as_bytes()).unwrap();
    let raw = crate::op::RawOp { id, head, data, sig: author.0.sign(id) };
    raw.check_hash().unwrap().verify().unwrap()
}

/// The ops in another order, some of them twice, all of them at least once.
pub(crate) fn shuffle<'o>(ops: &'o [Op], picks: &[prop::sample::Index]) -> Vec<&'o Op> {
    let picked = picks.iter().map(|pick| &ops[pick.index(ops.len())]);
    picked.chain(ops.iter().rev()).collect()
}

/// What the rules make of a set of ops.
pub(crate) struct Naive {
    pub(crate) admitted: BTreeSet<OpId>,
    pub(crate) parked: usize,
    pub(crate) heads: BTreeSet<OpId>,
    pub(crate) set: SetDigest,
    pub(crate) log: LogDigest,
    /// The two smallest ids at each point where a chain forks, by author, place and op before.
    pub(crate) forks: Vec<[OpId; 2]>,
    pub(crate) entries: u64,
}

impl Naive {
    pub(crate) fn of(ops: &[Op]) -> Self {
        let mut admitted: BTreeMap<OpId, &Op> = BTreeMap::new();
        let mut rejected: BTreeSet<OpId> = BTreeSet::new();
        // Dependencies come first in `ops`, so one pass reaches the fixpoint.
        for op in ops {
            let deps: Vec<OpId> = op.head().dependencies().collect();
            let fallen = deps.iter().any(|id| rejected.contains(id));
            if fallen || op.head().grant != *room("main").as_bytes() {
                rejected.insert(op.id());
            } else if deps.iter().all(|id| admitted.contains_key(id)) {
                let good = chain_holds(op, &admitted) && depth_holds(op, &deps, &admitted);
                if good {
                    admitted.insert(op.id(), op);
                } else {
                    rejected.insert(op.id());
                }
            }
        }
        let mentioned: BTreeSet<OpId> =
            admitted.values().flat_map(|op| op.head().dependencies()).collect();
        let heads: BTreeSet<OpId> =
            admitted.keys().copied().filter(|id| !mentioned.contains(id)).collect();
        let mut points: BTreeMap<_, BTreeSet<OpId>> = BTreeMap::new();
        for op in admitted.values() {
            let head = op.head();
            points.entry((head.author, head.seq, head.prev)).or_default().insert(op.id());
        }
        let forks = points.values().filter(|ids| ids.len() > 1);
        let parked = ops
            .iter()
            .filter(|op| !admitted.contains_key(&op.id()) && !rejected.contains(&op.id()))
            .map(Op::id)
            .collect::<BTreeSet<_>>();
        Self {
            set: SetDigest::from_bytes(hash(b"bft-crdt/v1/set\0", heads.iter().map(bytes))),
            log: log_digest(&admitted),
            forks: forks.map(two_smallest).collect(),
            entries: admitted.values().map(|op| op.entry_count() as u64).sum(),
            parked: parked.len(),
            admitted: admitted.into_keys().collect(),
            heads,
        }
    }
}

fn chain_holds(op: &Op, admitted: &BTreeMap<OpId, &Op>) -> bool {
    let head = op.head();
    head.prev.is_none_or(|prev| {
        let prev = admitted[&prev].head();
        prev.author == head.author && prev.seq.next() == Some(head.seq) && prev.ts <= head.ts
    })
}

fn depth_holds(op: &Op, deps: &[OpId], admitted: &BTreeMap<OpId, &Op>) -> bool {
    let deepest = deps.iter().map(|id| admitted[id].head().depth).max();
    deepest.map_or(Depth::FIRST, Depth::next) == op.head().depth
}

fn log_digest(admitted: &BTreeMap<OpId, &Op>) -> LogDigest {
    let mut sorted: Vec<&&Op> = admitted.values().collect();
    sorted.sort_by_key(|op| (op.head().depth, op.id()));
    let entries = sorted.iter().flat_map(|op| {
        (0..u32::try_from(op.entry_count()).unwrap())
            .map(|index| [op.id().as_bytes().as_slice(), &index.to_be_bytes()].concat())
    });
    LogDigest::from_bytes(hash(b"bft-crdt/v1/log\0", entries))
}

fn bytes(id: &OpId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn hash(tag: &[u8], parts: impl Iterator<Item = Vec<u8>>) -> [u8; 32] {
    let mut all = tag.to_vec();
    parts.for_each(|part| all.extend(part));
    Sha256::digest(all).into()
}

fn two_smallest(ids: &BTreeSet<OpId>) -> [OpId; 2] {
    let mut ids = ids.iter().copied();
    [ids.next().unwrap(), ids.next().unwrap()]
}
