//! Ops a room lacks and has asked for: whom, when, and when to ask somebody else.
//! Source: `docs/PROTOCOL.md`, "Fetching".

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::effect::PeerId;
use crate::id::OpId;
use crate::limits;
use crate::time::{Span, Timestamp};

#[derive(Debug)]
struct Want {
    /// Who named it first: counts against that peer's share of the list.
    named_by: PeerId,
    /// Who was asked last.
    peer: PeerId,
    next: Timestamp,
    wait: Span,
    tries: u32,
}

/// The want-list of one room. Bounded; what does not fit is found again when heads are announced.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    wants: BTreeMap<OpId, Want>,
    named: BTreeMap<PeerId, usize>,
    /// No request is due before this.
    next: Option<Timestamp>,
    /// When ops that were given up may be asked for again though others are still wanted.
    again: Timestamp,
    refused: u64,
    given_up: u64,
}

impl Fetch {
    /// Notes that these are about to be asked of `peer`. Returns those not asked for already.
    pub(crate) fn want(
        &mut self,
        now: Timestamp,
        peer: PeerId,
        ids: impl IntoIterator<Item = OpId>,
    ) -> Vec<OpId> {
        let mut fresh = Vec::new();
        let next = now.after(limits::FETCH_WAIT);
        for id in ids {
            let named = self.named.get(&peer).copied().unwrap_or_default();
            if self.wants.contains_key(&id) {
                continue;
            }
            if self.wants.len() >= limits::WANTS_MAX || named >= limits::WANTS_PER_PEER_MAX {
                self.refused += 1;
                continue;
            }
            fresh.push(id);
            self.named.insert(peer, named + 1);
            let wait = limits::FETCH_WAIT;
            self.wants.insert(id, Want { named_by: peer, peer, next, wait, tries: 1 });
        }
        if !fresh.is_empty() {
            self.next = Some(self.next.map_or(next, |earlier| earlier.min(next)));
        }
        fresh
    }

    /// A peer that was asked says that it does not hold an op: the next is asked at once, once for
    /// each time of asking.
    pub(crate) fn denied(&mut self, now: Timestamp, peer: PeerId, id: OpId) {
        if let Some(want) = self.wants.get_mut(&id)
            && want.peer == peer
            && want.next > now
            && want.tries <= 2
        {
            want.next = now;
            self.next = Some(now);
        }
    }

    /// Forgets an op: it came.
    pub(crate) fn came(&mut self, id: OpId) {
        if let Some(want) = self.wants.remove(&id) {
            uncount(&mut self.named, want.named_by);
        }
    }

    /// What is asked for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = OpId> + '_ {
        self.wants.keys().copied()
    }

    /// Whether nothing is asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.wants.is_empty()
    }

    /// Whether what was given up or evicted may be asked for again: when nothing else is wanted,
    /// and from time to time though somebody keeps naming ops that do not exist.
    pub(crate) fn may_ask_again(&mut self, now: Timestamp) -> bool {
        let may = self.is_idle() || now >= self.again;
        if may {
            self.again = now.after(limits::FETCH_WAIT_MAX);
        }
        may
    }

    /// Ops on the list.
    pub(crate) fn len(&self) -> usize {
        self.wants.len()
    }

    /// Ops that were not asked for because too many were, and ops given up.
    pub(crate) fn refused_and_given_up(&self) -> (u64, u64) {
        (self.refused, self.given_up)
    }

    /// Nothing is due before this.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        self.next
    }

    /// The requests due now: each goes to the peer after the one that did not answer. What was
    /// asked for in vain too often is given up, so that ids nobody holds do not fill the list.
    pub(crate) fn due(&mut self, now: Timestamp, peers: &[PeerId]) -> Vec<(PeerId, OpId)> {
        let mut requests = Vec::new();
        for (id, want) in &mut self.wants {
            if want.next > now {
                continue;
            }
            want.tries += 1;
            want.wait = want.wait.doubled(limits::FETCH_WAIT_MAX);
            want.next = now.after(want.wait);
            let after = peers.iter().find(|peer| **peer > want.peer).or(peers.first());
            if let Some(peer) = after {
                want.peer = *peer;
                requests.push((*peer, *id));
            }
        }
        let before = self.wants.len();
        self.drop_unless(|_, want| want.tries < limits::FETCH_TRIES_MAX);
        self.given_up += (before - self.wants.len()) as u64;
        self.next = self.wants.values().map(|want| want.next).min();
        requests
    }

    /// Drops what was named by a peer that has gone.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.drop_unless(|_, want| want.named_by != peer);
    }

    /// Drops what `needed` does not name.
    pub(crate) fn retain(&mut self, needed: impl Fn(OpId) -> bool) {
        self.drop_unless(|id, _| needed(id));
    }

    fn drop_unless(&mut self, keep: impl Fn(OpId, &Want) -> bool) {
        let named = &mut self.named;
        self.wants.retain(|id, want| {
            let kept = keep(*id, want);
            if !kept {
                uncount(named, want.named_by);
            }
            kept
        });
    }
}

fn uncount(named: &mut BTreeMap<PeerId, usize>, peer: PeerId) {
    if let Some(count) = named.get_mut(&peer) {
        *count -= 1;
        if *count == 0 {
            named.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::id_of;

    #[test]
    fn each_op_is_asked_for_once_then_of_the_next_peer_ever_more_slowly() {
        let mut fetch = Fetch::default();
        let start = Timestamp::from_ms(0);
        let peers = [PeerId(1), PeerId(2)];
        assert_eq!(fetch.want(start, PeerId(1), [id_of(1)]), [id_of(1)]);
        assert!(fetch.want(start, PeerId(2), [id_of(1)]).is_empty());
        assert!(fetch.due(Timestamp::from_ms(2_999), &peers).is_empty());
        let mut now = fetch.due_at().unwrap();
        for (peer, wait) in [(2, 6_000), (1, 12_000), (2, 24_000), (1, 48_000), (2, 60_000)] {
            assert_eq!(fetch.due(now, &peers), [(PeerId(peer), id_of(1))]);
            assert_eq!(fetch.due_at(), Some(now.after(Span::from_ms(wait))));
            now = fetch.due_at().unwrap();
        }
    }

    #[test]
    fn what_came_or_was_asked_for_in_vain_too_often_is_forgotten() {
        let mut fetch = Fetch::default();
        fetch.want(Timestamp::from_ms(0), PeerId(1), [id_of(1), id_of(2)]);
        fetch.came(id_of(1));
        let mut asked = 0;
        while let Some(now) = fetch.due_at() {
            asked += fetch.due(now, &[PeerId(1)]).len();
        }
        assert_eq!(1 + asked, limits::FETCH_TRIES_MAX as usize);
        assert!(fetch.is_idle() && fetch.named.is_empty());
    }

    #[test]
    fn one_peer_fills_only_its_share_of_the_list() {
        let mut fetch = Fetch::default();
        let ids = |from: u64, count: u64| {
            (from..from + count).map(|number| {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                OpId::from_bytes(bytes)
            })
        };
        let now = Timestamp::from_ms(0);
        for peer in 0..10 {
            let asked = fetch.want(now, PeerId(peer), ids(peer * 10_000, 10_000)).len();
            assert!(asked <= limits::WANTS_PER_PEER_MAX);
        }
        assert_eq!(fetch.wants.len(), limits::WANTS_MAX);
        fetch.retain(|_| false);
        assert!(fetch.named.is_empty());
    }
}
