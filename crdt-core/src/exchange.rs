//! One comparison of a room with a peer's: how far it is, and what it waits for.

use alloc::collections::BTreeSet;

use crate::id::{OpId, Position};
use crate::limits;
use crate::reconcile::Difference;
use crate::time::Timestamp;

/// What this replica began to compare with a peer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) stage: Stage,
    /// Where the peer's stream stood when it began, and this side's.
    pub(crate) pulled: Position,
    pub(crate) through: Position,
    /// Something happened since the peer announced its heads last, and when.
    moved: bool,
    moved_at: Timestamp,
}

#[derive(Debug)]
pub(crate) enum Stage {
    /// Messages go to and fro. `refused` once something was left out that is not taken now.
    Comparing { found: Difference, rounds: u32, refused: bool },
    /// What was found is on its way; `fruitful` if it is not what was moved in vain before.
    Moving { need: BTreeSet<OpId>, asked_at: Timestamp, push: Push, rest: Rest, fruitful: bool },
}

/// What is left when what was found has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// What was too much to be moved at once.
    More,
    /// What the peer holds: nothing is taken of it now.
    Refused,
}

/// Ops that the peer lacks, on their way to it.
#[derive(Debug, Default)]
pub(crate) struct Push {
    /// They wait to be read and sent.
    queued: BTreeSet<Position>,
    /// The number of the last `ops` message with any of them.
    last: u64,
}

impl Push {
    pub(crate) fn of(positions: &[Position]) -> Self {
        Self { queued: positions.iter().copied().collect(), last: 0 }
    }

    /// Whether all were sent, and so many acknowledgements tell that they came.
    pub(crate) fn came(&self, acks: u64) -> bool {
        self.queued.is_empty() && acks >= self.last
    }
}

impl Exchange {
    /// The first question is asked.
    pub(crate) fn begin(now: Timestamp, pulled: Position, through: Position) -> Self {
        let stage = Stage::Comparing { found: Difference::default(), rounds: 1, refused: false };
        Self { stage, pulled, through, moved: true, moved_at: now }
    }

    /// Something happened that brings it forward.
    pub(crate) fn progressed(&mut self, now: Timestamp) {
        (self.moved, self.moved_at) = (true, now);
    }

    /// Whether it was brought forward not long ago.
    pub(crate) fn is_recent(&self, now: Timestamp) -> bool {
        now < self.moved_at.after(limits::FILLING_MAX)
    }

    /// Whether something did since this was asked last.
    pub(crate) fn take_progress(&mut self) -> bool {
        core::mem::take(&mut self.moved)
    }

    /// These are in the `ops` message with this number.
    pub(crate) fn pushed<'p>(
        &mut self,
        positions: impl Iterator<Item = &'p Position>,
        message: u64,
    ) {
        let Stage::Moving { push, .. } = &mut self.stage else { return };
        for position in positions {
            if push.queued.remove(position) {
                push.last = message;
            }
        }
    }

    /// The peer acknowledged the `ops` message with this number.
    pub(crate) fn acked(&mut self, now: Timestamp, message: u64) {
        if let Stage::Moving { push, .. } = &self.stage
            && (!push.queued.is_empty() || message <= push.last)
        {
            self.progressed(now);
        }
    }

    /// The peer brought an op that is not taken now: it is not waited for.
    pub(crate) fn put_off(&mut self, op: &OpId) {
        if let Stage::Moving { need, rest, .. } = &mut self.stage
            && need.remove(op)
            && *rest == Rest::Nothing
        {
            *rest = Rest::Refused;
        }
    }

    /// It waits for this op no more, if it did.
    pub(crate) fn done(&mut self, now: Timestamp, op: &OpId) {
        if let Stage::Moving { need, .. } = &mut self.stage
            && need.remove(op)
        {
            self.progressed(now);
        }
    }

    /// Whether an op was asked for and has not come.
    pub(crate) fn needs(&self, op: OpId) -> bool {
        self.asked_at(op).is_some()
    }

    /// When an op was asked for that has not come.
    pub(crate) fn asked_at(&self, op: OpId) -> Option<Timestamp> {
        match &self.stage {
            Stage::Moving { need, asked_at, .. } if need.contains(&op) => Some(*asked_at),
            Stage::Moving { .. } | Stage::Comparing { .. } => None,
        }
    }
}
