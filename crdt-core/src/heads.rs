//! The heads of a room's graph, and the fair turn by which new ops merge them.
//!
//! A new op names a bounded number of heads. Heads wait for their turn in the order in which they
//! arrived, at most two of an author at a time: an author who forks his chain ten thousand times
//! takes two places like everybody else, and a head is named after at most as many ops as were
//! waiting when it came. Source: `docs/PROTOCOL.md`, "Writing".

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::id::OpId;
use crate::limits;

/// Place in the order in which heads arrived, or got their turn.
type Ticket = u64;

/// One author's heads.
#[derive(Debug, Default)]
struct OfAuthor {
    /// Those that have a place in the queue.
    offered: BTreeMap<OpId, Ticket>,
    /// Those that wait for one, oldest first.
    waiting: BTreeSet<(Ticket, OpId)>,
    /// When each of those arrived.
    arrived: BTreeMap<OpId, Ticket>,
}

/// The heads of one graph.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    all: BTreeSet<OpId>,
    /// By the author's number in the graph.
    by_author: BTreeMap<u32, OfAuthor>,
    queue: BTreeMap<Ticket, OpId>,
    tickets: Ticket,
}

impl Heads {
    /// Every head, sorted.
    pub(crate) fn all(&self) -> &BTreeSet<OpId> {
        &self.all
    }

    /// The heads whose turn it is, except one.
    pub(crate) fn offered(&self, except: Option<OpId>) -> Vec<OpId> {
        let others = self.queue.values().copied().filter(|id| Some(*id) != except);
        others.take(limits::PREDS_MAX).collect()
    }

    /// Adds the head of an author.
    pub(crate) fn add(&mut self, id: OpId, author: u32) {
        let ticket = self.ticket();
        self.all.insert(id);
        let of_author = self.by_author.entry(author).or_default();
        if of_author.offered.len() < limits::PREDS_PER_AUTHOR_MAX {
            of_author.offered.insert(id, ticket);
            self.queue.insert(ticket, id);
        } else {
            of_author.waiting.insert((ticket, id));
            of_author.arrived.insert(id, ticket);
        }
    }

    /// Removes what is a head no more, if it was one.
    pub(crate) fn remove(&mut self, id: OpId, author: u32) {
        if !self.all.remove(&id) {
            return;
        }
        let next = self.ticket();
        let Some(of_author) = self.by_author.get_mut(&author) else { return };
        if let Some(ticket) = of_author.arrived.remove(&id) {
            of_author.waiting.remove(&(ticket, id));
        } else if let Some(ticket) = of_author.offered.remove(&id) {
            self.queue.remove(&ticket);
            if let Some((_, id)) = of_author.waiting.pop_first() {
                of_author.arrived.remove(&id);
                of_author.offered.insert(id, next);
                self.queue.insert(next, id);
            }
        }
        if of_author.offered.is_empty() {
            self.by_author.remove(&author);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::id_of;

    #[test]
    fn an_author_has_two_places_and_the_next_of_his_heads_goes_to_the_back() {
        let mut heads = Heads::default();
        for byte in [9, 3, 5, 1] {
            heads.add(id_of(byte), 0);
        }
        heads.add(id_of(7), 1);
        assert_eq!(heads.offered(None), [9, 3, 7].map(id_of));
        assert_eq!(heads.offered(Some(id_of(3))), [9, 7].map(id_of));
        heads.remove(id_of(9), 0);
        assert_eq!(heads.offered(None), [3, 7, 5].map(id_of));
        heads.remove(id_of(1), 0);
        heads.remove(id_of(3), 0);
        assert_eq!(heads.offered(None), [7, 5].map(id_of));
        heads.remove(id_of(3), 0);
        heads.remove(id_of(5), 0);
        heads.remove(id_of(7), 1);
        assert!(heads.all.is_empty() && heads.queue.is_empty() && heads.by_author.is_empty());
    }
}
