//! What waits for a driver: whose turn it is, and which signatures may be checked before.

use std::collections::VecDeque;

use crdt_core::Replica;
use crdt_core::time::Timestamp;
use tokio::sync::mpsc;

use super::{Came, Request, Sent};
use crate::turns::Turns;

/// Cost of the requests whose turn has come that are made ready together, in bytes of frames: enough
/// for signatures of small frames to be checked together, and little to wait for. A larger one is
/// alone.
const HANDFUL: usize = 8 * 1024;

/// Requests that came.
pub(super) struct Waiting {
    inbox: mpsc::UnboundedReceiver<Sent>,
    turns: Turns<Sent>,
    /// Those whose turn has come.
    handful: VecDeque<Request>,
}

impl Waiting {
    pub(super) fn of(inbox: mpsc::UnboundedReceiver<Sent>) -> Self {
        Self { inbox, turns: Turns::default(), handful: VecDeque::new() }
    }

    /// What is at hand: whoever's turn it is. Signatures of frames that were decoded where they were
    /// read may be checked from now on, those of others when they come into the hand.
    pub(super) fn at_hand(&mut self, replica: &Replica, now: Timestamp) -> Option<Request> {
        while let Ok(mut sent) = self.inbox.try_recv() {
            look_ahead(&mut sent.request, replica, now);
            self.turns.add(sent.lane, sent.request.cost(), sent);
        }
        if self.handful.is_empty() {
            self.fill_hand(replica, now);
        }
        self.handful.pop_front()
    }

    fn fill_hand(&mut self, replica: &Replica, now: Timestamp) {
        let mut next = self.turns.next();
        let mut left = HANDFUL;
        while let Some(Sent { mut request, .. }) = next {
            left = left.saturating_sub(request.cost());
            if let Request::Came(_, came, _) = &mut request {
                came.decode();
            }
            look_ahead(&mut request, replica, now);
            self.handful.push_back(request);
            next = self.turns.next_within(left);
        }
    }

    /// What comes next, when nothing is at hand: everybody who could ask having gone is the same as
    /// being told to stop.
    pub(super) async fn recv(&mut self) -> Request {
        self.inbox.recv().await.map_or(Request::Stop, |sent| sent.request)
    }
}

fn look_ahead(request: &mut Request, replica: &Replica, now: Timestamp) {
    if let Request::Came(peer, Came::Decoded(frame), _) = request {
        replica.look_ahead(now, *peer, frame);
    }
}
