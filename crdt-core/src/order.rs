//! The log's order and the two digests by which nodes compare what they hold.
//! Source: `docs/PROTOCOL.md`, "Order" and "Digests".

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::graph::Graph;
use crate::id::{Depth, LogDigest, OpId, SetDigest, tag};
use crate::planted::{Bug, planted};

/// Where an op stands in the log: by depth, then by id. A pure function of the op, and a linear
/// extension of causality, because a dependency is always less deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// Its depth.
    pub depth: Depth,
    /// Its id.
    pub id: OpId,
}

/// The digest of a set of ops: SHA-256 over its heads, given in order.
pub fn set_digest<'h>(heads: impl IntoIterator<Item = &'h OpId>) -> SetDigest {
    let mut hasher = Sha256::new().chain_update(tag::SET);
    for head in heads {
        hasher.update(head.as_bytes());
    }
    SetDigest::from_bytes(hasher.finalize().into())
}

/// Hashes the entries of a log, fed in log order.
#[derive(Clone, Debug)]
pub struct LogHasher(Sha256);

impl Default for LogHasher {
    fn default() -> Self {
        Self(Sha256::new().chain_update(tag::LOG))
    }
}

impl LogHasher {
    /// Adds the next op's entries.
    pub fn add(&mut self, id: OpId, entries: u32) {
        for index in 0..entries {
            self.0.update(id.as_bytes());
            self.0.update(index.to_be_bytes());
        }
    }

    /// The digest of all that was added.
    pub fn finish(self) -> LogDigest {
        LogDigest::from_bytes(self.0.finalize().into())
    }
}

/// The digest of a graph's log. Sorts all of it: computed when asked for, never per op.
pub fn log_digest(graph: &Graph) -> LogDigest {
    let mut ops: Vec<(OrderKey, u32)> =
        graph.iter().map(|(depth, id, entries)| (OrderKey { depth, id }, entries)).collect();
    if !planted(Bug::OrderByArrival) {
        ops.sort_unstable();
    }
    let mut hasher = LogHasher::default();
    for (key, entries) in ops {
        hasher.add(key.id, entries);
    }
    hasher.finish()
}
