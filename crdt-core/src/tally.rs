//! What became of the ops that came, counted since the start: plain numbers.

use alloc::collections::BTreeMap;

use crate::rejection::Rejection;

/// What became of every op that a peer sent and that was not put off, since the replica started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ops that entered a log, at once or after having waited.
    pub stored: u64,
    /// Ops that were in the log or waiting already, and were not looked at again.
    pub known: u64,
    /// Ops that came before one they depend on, and wait for it.
    pub parked: u64,
    /// Ops that were new when they came, whether they entered a log or wait.
    pub brought: u64,
    rejected: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn rejected(&mut self, rejection: Rejection, ops: u64) {
        let count = self.rejected.entry(rejection.code()).or_default();
        *count = count.saturating_add(ops);
    }

    /// Ops that were rejected, by the code of [`Rejection::code`]: no more kinds than there are
    /// rules.
    pub fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.rejected.iter().map(|(code, count)| (*code, *count))
    }
}
