//! This replica's own chain in one room: where it goes on, and whether all of it is known.
//!
//! An author who signs two ops after one is a liar for ever. So a replica whose store may be older
//! than what its key has signed learns its own chain from others before it signs again.
//! Source: `docs/ARCHITECTURE.md`, "Own chain".

use alloc::collections::BTreeMap;

use crate::graph::Tip;
use crate::id::{AuthorId, RoomId};
use crate::limits;
use crate::op::Op;
use crate::planted::{Bug, planted};
use crate::time::Timestamp;

/// How many ops a key is known to have signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// At least so many in these rooms.
    pub rooms: BTreeMap<RoomId, u64>,
    /// In all other rooms: none if the key never was anywhere else, else nobody knows.
    pub others: Option<u64>,
    /// Peers that will be asked: while fewer have told all they know, more may come.
    pub peers: usize,
}

impl Signed {
    /// Ops signed in a room, if that is known.
    pub fn in_room(&self, room: RoomId) -> Option<u64> {
        self.rooms.get(&room).copied().or(self.others)
    }
}

/// What a replica knows of its own chain in one room.
#[derive(Debug)]
pub(crate) struct Own {
    author: AuthorId,
    tip: Option<Tip>,
    learning: Option<Learning>,
    /// An op came that this key signed and this replica did not.
    told: bool,
}

/// What a replica waits for before it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// Ops this key is known to have signed in the room; `None` if that is not known.
    pub signed: Option<u64>,
    /// When a peer first had nothing more to tell.
    complete: Option<Timestamp>,
    /// When an op of the chain, and when any op, came last.
    own_came: Timestamp,
    any_came: Timestamp,
}

impl Own {
    pub(crate) fn new(author: AuthorId) -> Self {
        Self { author, tip: None, learning: None, told: false }
    }

    /// Whose it is.
    pub(crate) fn author(&self) -> AuthorId {
        self.author
    }

    /// The op that the next one follows. Where the chain forks, the branch of this replica: two
    /// replicas with one key never fork it anew.
    pub(crate) fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// An op entered the log. `true` if this key signed it elsewhere, and that is news.
    pub(crate) fn admitted(&mut self, op: &Op, written_here: bool) -> bool {
        let head = op.head();
        if head.author != self.author {
            return false;
        }
        if written_here || head.prev == self.tip.map(|tip| tip.id) {
            let (seq, depth, ts) = (head.seq, head.depth, head.ts);
            self.tip = Some(Tip { seq, id: op.id(), depth, ts });
        }
        let unexpected = !written_here && self.learning.is_none();
        unexpected && !core::mem::replace(&mut self.told, true)
    }

    /// Signs nothing more until the chain is known: `signed` ops of it at least, if that is known.
    pub(crate) fn doubt(&mut self, signed: Option<u64>) {
        let ignored = planted(Bug::DoubtIgnored);
        let never = Timestamp::default();
        let learning = Learning { signed, complete: None, own_came: never, any_came: never };
        self.learning = Some(learning).filter(|_| !ignored);
    }

    /// What is waited for.
    pub(crate) fn learning(&self) -> Option<Learning> {
        self.learning
    }

    /// A peer announced nothing that is unknown here.
    pub(crate) fn complete(&mut self, now: Timestamp) {
        if let Some(learning) = &mut self.learning {
            learning.complete.get_or_insert(now);
        }
    }

    /// Ops came from a peer, those of this chain among them or not: there may be more.
    pub(crate) fn came(&mut self, now: Timestamp, own: bool) {
        if let Some(learning) = &mut self.learning {
            learning.any_came = now;
            if own {
                learning.own_came = now;
            }
        }
    }

    /// Whether the chain has just become known. `known` ops of it are here; `all_complete` if every
    /// peer that was to be asked has nothing more to tell.
    pub(crate) fn is_learnt(&mut self, now: Timestamp, known: u64, all_complete: bool) -> bool {
        let Some(learning) = self.learning else { return false };
        let learnt = match (learning.complete, learning.signed) {
            (None, _) => false,
            (Some(_), Some(signed)) => known >= signed,
            // Another peer may know more: give it the time to connect and to tell.
            (Some(_), None) => learning.due(all_complete).is_some_and(|due| now >= due),
        };
        if learnt {
            self.learning = None;
        }
        learnt
    }

    /// When to look again though nothing happens.
    pub(crate) fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        let learning = self.learning.filter(|learning| learning.signed.is_none())?;
        let due = [true, false].map(|all_complete| learning.due(all_complete));
        due.into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl Learning {
    /// When a chain of unknown length counts as learnt, if nothing more comes.
    fn due(self, all_complete: bool) -> Option<Timestamp> {
        let complete = self.complete?;
        Some(if all_complete {
            complete.max(self.own_came).after(limits::LEARN_WAIT)
        } else {
            complete.max(self.any_came).after(limits::LEARN_WAIT_MAX)
        })
    }
}
