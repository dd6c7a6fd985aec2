//! The protocol written naively a second time: every rule over the whole set at once, nothing kept,
//! nothing shared with the core but its types and its signature check.
//! Source: `docs/PROTOCOL.md`, "Validity", "Order" and "Digests".

use std::collections::{BTreeMap, BTreeSet};

use crdt_core::id::{LogDigest, OpId, SetDigest};
use crdt_core::key::PublicKey;
use crdt_core::op::Op;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::mangle::hex;

/// What a set of ops comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) ops: usize,
    pub(super) entries: u64,
    pub(super) heads: BTreeSet<OpId>,
    pub(super) forks: usize,
    pub(super) set: SetDigest,
    pub(super) log: LogDigest,
}

impl Model {
    /// Sorts and folds all of them.
    pub(super) fn of<'o>(ops: impl Iterator<Item = &'o Op>) -> Self {
        let ops: BTreeMap<(u64, OpId), &Op> =
            ops.map(|op| ((op.head().depth.number(), op.id()), op)).collect();
        let named: BTreeSet<OpId> = ops.values().flat_map(|op| dependencies(op)).collect();
        let heads: BTreeSet<OpId> =
            ops.values().map(|op| op.id()).filter(|id| !named.contains(id)).collect();
        let mut places: BTreeMap<_, BTreeSet<OpId>> = BTreeMap::new();
        let mut log = Sha256::new().chain_update(b"bft-crdt/v1/log\0");
        let mut entries = 0;
        for op in ops.values() {
            let head = op.head();
            places.entry((head.author, head.seq, head.prev)).or_default().insert(op.id());
            for index in 0..entry_count(op) {
                log.update(op.id().as_bytes());
                log.update(index.to_be_bytes());
                entries += 1;
            }
        }
        let mut set = Sha256::new().chain_update(b"bft-crdt/v1/set\0");
        for head in &heads {
            set.update(head.as_bytes());
        }
        Self {
            ops: ops.len(),
            entries,
            heads,
            forks: places.values().filter(|ids| ids.len() > 1).count(),
            set: SetDigest::from_bytes(set.finalize().into()),
            log: LogDigest::from_bytes(log.finalize().into()),
        }
    }
}

fn dependencies(op: &Op) -> Vec<OpId> {
    let head = op.head();
    head.prev.iter().chain(&head.preds).chain(&head.refs).copied().collect()
}

fn entry_count(op: &Op) -> u32 {
    if op.head().kind.as_str() != "entry" {
        return 0;
    }
    let data: Value = serde_json::from_str(op.data()).unwrap_or_default();
    data.as_array().map_or(0, |entries| u32::try_from(entries.len()).unwrap_or(u32::MAX))
}

/// The rules that need nothing but the op.
pub(super) fn judge_alone(op: &Op) -> Result<(), &'static str> {
    let head = op.head();
    let tagged = |tag: &[u8], bytes: &[u8]| -> [u8; 32] {
        Sha256::new().chain_update(tag).chain_update(bytes).finalize().into()
    };
    let all_of = |ids: &[OpId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Keys are given in canonical order; every value here is ASCII.
    let text = json!({
        "author": head.author.to_string(),
        "depth": head.depth.number(),
        "dh": head.data_hash.to_string(),
        "dl": head.data_len,
        "grant": hex(&head.grant),
        "kind": head.kind.as_str(),
        "preds": all_of(&head.preds),
        "prev": head.prev.map(|id| id.to_string()),
        "refs": all_of(&head.refs),
        "room": head.room.to_string(),
        "seq": head.seq.number(),
        "ts": head.ts.as_ms(),
        "v": 1,
    })
    .to_string();
    let data = op.data().as_bytes();
    let entries = entry_count(op);
    let dependencies = dependencies(op);
    let distinct: BTreeSet<&OpId> = dependencies.iter().collect();
    let ascending = |ids: &[OpId]| ids.windows(2).all(|pair| pair[0] < pair[1]);
    let rules = [
        (tagged(b"bft-crdt/v1/op\0", text.as_bytes()) == *op.id().as_bytes(), "id"),
        (tagged(b"bft-crdt/v1/data\0", data) == *head.data_hash.as_bytes(), "data"),
        (u64::try_from(data.len()) == Ok(head.data_len), "data length"),
        (data.len() <= 65_536 && text.len() <= 16_384, "size"),
        (head.preds.len() <= 16 && head.refs.len() <= 128, "too many dependencies"),
        (ascending(&head.preds) && ascending(&head.refs), "dependencies not ascending"),
        (distinct.len() == dependencies.len(), "a dependency twice"),
        (head.prev.is_none() == (head.seq.number() == 0), "seq without prev"),
        (head.kind.as_str() != "entry" || (1..=256).contains(&entries), "entries"),
        (head.grant == *head.room.as_bytes(), "grant"),
    ];
    let signed = PublicKey::of(head.author).and_then(|key| key.verify(op.id(), op.sig())).is_ok();
    rules
        .into_iter()
        .chain([(signed, "signature")])
        .find(|(holds, _)| !holds)
        .map_or(Ok(()), |(_, rule)| Err(rule))
}

/// The rules that need the ops it depends on.
pub(super) fn judge_past<'o>(
    op: &Op,
    lookup: impl Fn(OpId) -> Option<&'o Op>,
) -> Result<(), &'static str> {
    let mut deepest = 0;
    for id in dependencies(op) {
        let dependency = lookup(id).ok_or("a dependency is not there")?;
        deepest = deepest.max(dependency.head().depth.number());
    }
    if op.head().depth.number() != deepest + 1 {
        return Err("depth");
    }
    if let Some(prev) = op.head().prev.and_then(lookup) {
        let (before, head) = (prev.head(), op.head());
        let follows = before.author == head.author
            && before.seq.number() + 1 == head.seq.number()
            && before.ts <= head.ts;
        if !follows {
            return Err("chain");
        }
    }
    Ok(())
}
