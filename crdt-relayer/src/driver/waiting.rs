//! What waits for a driver: whose turn it is, and which signatures may be checked before.

use std::collections::VecDeque;
use std::time::Duration;

use crdt_core::Replica;
use crdt_core::time::Timestamp;

use super::filling::JUDGING;
use super::inbox::Inbox;
use super::{Came, Request, Sent};
use crate::turns::Turns;

/// Cost of the requests whose turn has come that are made ready together, in bytes of frames, or of
/// memory where they take more once decoded: enough for signatures of small frames to be checked
/// together, and little to wait for. A larger one is alone.
const HAND_MIN: usize = 8 * 1024;

/// The most that is made ready, where ops are kept for the time it takes: enough for other threads to
/// check signatures while this one judges and writes.
const HAND_MAX: usize = 128 * 1024;

/// Requests that came.
pub(super) struct Waiting {
    inbox: Inbox<Sent>,
    turns: Turns<Sent>,
    /// Those whose turn has come, each with its cost.
    hand: VecDeque<(usize, Request)>,
    /// What they cost, and may.
    cost: usize,
    cost_max: usize,
    /// Time that frames took since the hand was filled last, and ops kept of them.
    spent: Duration,
    kept: u32,
}

impl Waiting {
    pub(super) fn of(inbox: Inbox<Sent>) -> Self {
        Self {
            inbox,
            turns: Turns::default(),
            hand: VecDeque::new(),
            cost: 0,
            cost_max: HAND_MIN,
            spent: Duration::ZERO,
            kept: 0,
        }
    }

    /// What is at hand: whoever's turn it is. Signatures of frames that were decoded where they were
    /// read may be checked from now on, those of others when they come into the hand.
    pub(super) fn at_hand(&mut self, replica: &Replica, now: Timestamp) -> Option<Request> {
        for mut sent in self.inbox.take() {
            look_ahead(&mut sent.request, replica, now);
            self.turns.add(sent.lane, sent.request.cost(), sent);
        }
        if self.hand.is_empty() || (self.pays() && self.cost <= self.cost_max / 2) {
            self.fill_hand(replica, now);
        }
        let (cost, next) = self.hand.pop_front()?;
        self.cost -= cost;
        Some(next)
    }

    /// A frame that was at hand took so long, and so many of its ops are kept.
    pub(super) fn took(&mut self, time: Duration, kept: u32) {
        self.spent += time;
        self.kept = self.kept.saturating_add(kept);
    }

    /// Whether ops are kept for the time that frames take.
    fn pays(&self) -> bool {
        self.kept > 0 && self.spent <= JUDGING.saturating_mul(self.kept)
    }

    fn fill_hand(&mut self, replica: &Replica, now: Timestamp) {
        let most = if self.pays() { HAND_MAX.min(2 * self.cost_max) } else { HAND_MIN };
        let left = if self.hand.is_empty() { usize::MAX } else { most.saturating_sub(self.cost) };
        let mut next = self.turns.next_within(left);
        if next.is_none() && !self.hand.is_empty() {
            return;
        }
        self.cost_max = most;
        (self.spent, self.kept) = (Duration::ZERO, 0);
        while let Some(Sent { mut request, .. }) = next {
            let mut cost = request.cost();
            if let Request::Came(_, came, _) = &mut request {
                cost = cost.max(came.decode());
            }
            look_ahead(&mut request, replica, now);
            self.cost += cost;
            self.hand.push_back((cost, request));
            next = self.turns.next_within(most.saturating_sub(self.cost));
        }
    }

    /// Waits until so many requests have come, or one of this process, but no longer than that.
    /// Returns whether there is, or may still be, something to take.
    pub(super) fn wait(&self, wanted: usize, most: Option<Duration>) -> bool {
        self.inbox.wait(wanted, most)
    }
}

fn look_ahead(request: &mut Request, replica: &Replica, now: Timestamp) {
    if let Request::Came(peer, Came::Decoded(frame), _) = request {
        replica.look_ahead(now, *peer, frame);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use crdt_core::effect::{PeerId, Side};
    use crdt_core::id::StoreId;
    use crdt_core::key::EachTime;

    use super::super::inbox::{Sender, inbox};
    use super::*;
    use crate::fixtures::{refused_ops, replica};
    use crate::share::{FRAME_BYTES, Share, Shares};
    use crate::turns::Lane;

    const PEER: PeerId = PeerId(1);

    /// Cost of each frame: four fit in the smallest hand.
    const COST: usize = HAND_MIN / 4;

    struct Test {
        replica: Replica,
        inbox: Sender<Sent>,
        waiting: Waiting,
        share: Share,
    }

    impl Test {
        fn new() -> Self {
            let (inbox, received) = inbox();
            let replica = replica(StoreId::from_bytes([9; 32]), Arc::new(EachTime));
            let share = Shares::default().of_peer(None, Side::Dialled);
            Self { replica, inbox, waiting: Waiting::of(received), share }
        }

        async fn send(&self, count: usize, cost: usize) {
            for _ in 0..count {
                self.send_frame(vec![b' '; cost - FRAME_BYTES].into()).await;
            }
        }

        async fn send_frame(&self, frame: Bytes) {
            let taken = self.share.take(frame.len()).await.unwrap();
            let request = Request::Came(PEER, Came::Text(frame), taken);
            let sent = Sent { lane: Lane::Peer(PEER), request, _place: None };
            assert!(self.inbox.send(sent, false).is_ok());
        }

        /// Takes what is at hand, which takes so long and brings so many ops. Returns how much is at
        /// hand besides.
        fn take(&mut self, time: Duration, kept: u32) -> usize {
            let now = Timestamp::from_ms(0);
            assert!(self.waiting.at_hand(&self.replica, now).is_some());
            self.waiting.took(time, kept);
            self.waiting.hand.len()
        }
    }

    #[tokio::test]
    async fn more_is_made_ready_while_ops_are_kept_for_the_time_it_takes() {
        let mut test = Test::new();
        test.send(500, COST).await;
        let most = HAND_MAX / COST;
        let hands: Vec<usize> = (0..3 * most).map(|_| test.take(JUDGING, 1)).collect();
        assert_eq!(hands[..8], [3, 2, 7, 6, 5, 4, 15, 14][..], "it is filled when half is left");
        let (least, full) = (hands[most..].iter().min(), hands.iter().max());
        assert_eq!((least, full), (Some(&(most / 2)), Some(&(most - 1))));
    }

    #[tokio::test]
    async fn little_is_made_ready_of_what_brings_no_ops_or_takes_longer_than_they_are_worth() {
        for (time, kept) in [(Duration::ZERO, 0), (JUDGING + Duration::from_nanos(1), 1)] {
            let mut test = Test::new();
            test.send(500, COST).await;
            while test.take(JUDGING, 1) < HAND_MAX / COST / 2 {}
            while test.take(time, kept) > 0 {}
            let hands: Vec<usize> = (0..8).map(|_| test.take(time, kept)).collect();
            assert_eq!(hands, [3, 2, 1, 0, 3, 2, 1, 0]);
        }
    }

    #[tokio::test]
    async fn a_hand_that_nothing_is_added_to_grows_no_larger() {
        let mut test = Test::new();
        test.send(4, COST).await;
        for left in [3, 2, 1] {
            assert_eq!(test.take(JUDGING, 1), left);
        }
        test.send(500, COST).await;
        assert_eq!(test.take(JUDGING, 1), 2 * HAND_MIN / COST - 1);
    }

    #[tokio::test]
    async fn a_frame_counts_for_what_it_takes_of_memory() {
        let mut test = Test::new();
        for _ in 0..3 {
            test.send_frame(refused_ops().into()).await;
        }
        assert_eq!([(); 3].map(|()| test.take(Duration::ZERO, 0)), [0, 0, 0]);
    }

    #[tokio::test]
    async fn a_large_frame_is_alone() {
        let mut test = Test::new();
        test.send(2, HAND_MIN + 1).await;
        test.send(1, COST).await;
        assert_eq!([(); 3].map(|()| test.take(JUDGING, 0)), [0, 0, 0]);
    }
}
