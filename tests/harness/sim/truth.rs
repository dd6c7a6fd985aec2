//! What is true of a run, whoever says otherwise: every op that its author signed, what honest
//! authors were told is durable, and at which place.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crdt_core::id::{AuthorId, Depth, OpId, RoomId, Seq};
use crdt_core::op::Op;

use super::model;

/// An op that liars may build on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) room: RoomId,
    pub(super) id: OpId,
    pub(super) depth: Depth,
    pub(super) author: AuthorId,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Ops of which every byte was judged and found good, once.
    good: HashMap<OpId, Arc<Op>>,
    /// What honest authors have at each place of their chains.
    places: HashMap<(RoomId, AuthorId, Seq), OpId>,
    /// Honest authors.
    pub(super) honest: BTreeSet<AuthorId>,
    /// Ops of honest authors that were synced to their own disks.
    pub(super) durable: BTreeSet<(RoomId, OpId)>,
    /// Ops that ever were on an honest disk, as they came.
    pub(super) known: Vec<Known>,
    /// Different ops signed by each author in each room.
    signed: HashMap<(RoomId, AuthorId), BTreeSet<OpId>>,
}

impl Truth {
    /// Judges an op as it is about to be kept by an honest party.
    pub(super) fn judge(&mut self, op: &Arc<Op>) -> Result<(), &'static str> {
        if let Some(same) = self.good.get(&op.id()) {
            // The same id with other data or another signature is judged anew.
            if Arc::ptr_eq(same, op) || (same.data() == op.data() && same.sig() == op.sig()) {
                return Ok(());
            }
        }
        model::judge_alone(op)?;
        let head = op.head();
        let (room, author) = (head.room, head.author);
        if self.good.insert(op.id(), Arc::clone(op)).is_none() {
            self.known.push(Known { room, id: op.id(), depth: head.depth, author });
            self.note_signed(room, author, op.id());
        }
        if self.honest.contains(&author) {
            let place = (room, author, head.seq);
            if *self.places.entry(place).or_insert(op.id()) != op.id() {
                return Err("an honest author signed two ops at one place");
            }
        }
        Ok(())
    }

    /// An author signed an op, whatever becomes of it.
    pub(super) fn note_signed(&mut self, room: RoomId, author: AuthorId, id: OpId) {
        self.signed.entry((room, author)).or_default().insert(id);
    }

    /// How many different ops each author signed in a room.
    pub(super) fn signed_in(&self, room: RoomId) -> Vec<(AuthorId, usize)> {
        let of_room = self.signed.iter().filter(|((of, _), _)| *of == room);
        let mut counts: Vec<_> = of_room.map(|((_, author), ids)| (*author, ids.len())).collect();
        counts.sort_unstable();
        counts
    }

    /// A good op, by its id.
    pub(super) fn good(&self, id: OpId) -> Option<&Arc<Op>> {
        self.good.get(&id)
    }
}
