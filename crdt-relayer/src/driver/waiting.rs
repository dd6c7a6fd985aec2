//! What waits for a driver: whose turn it is, and which signatures may be checked before.

use crdt_core::Replica;
use crdt_core::effect::Input;
use crdt_core::time::Timestamp;
use tokio::sync::mpsc;

use super::{Request, Sent};
use crate::turns::Turns;

/// Bytes of frames whose signatures are looked ahead at.
const LOOK_AHEAD_BYTES: usize = 512 * 1024;

/// Requests that came.
pub(super) struct Waiting {
    inbox: mpsc::UnboundedReceiver<Sent>,
    turns: Turns<Sent>,
    /// Requests to take before it is looked ahead again.
    looked: usize,
}

impl Waiting {
    pub(super) fn of(inbox: mpsc::UnboundedReceiver<Sent>) -> Self {
        Self { inbox, turns: Turns::default(), looked: 0 }
    }

    /// What is at hand: whoever's turn it is.
    pub(super) fn at_hand(&mut self, replica: &Replica, now: Timestamp) -> Option<Request> {
        while let Ok(sent) = self.inbox.try_recv() {
            self.turns.add(sent.lane, sent.request.cost(), sent);
        }
        self.look_ahead(replica, now);
        self.turns.next().map(|sent| sent.request)
    }

    /// What comes next, when nothing is at hand: everybody who could ask having gone is the same as
    /// being told to stop.
    pub(super) async fn recv(&mut self) -> Request {
        self.inbox.recv().await.map_or(Request::Stop, |sent| sent.request)
    }

    /// Lets signatures of frames that wait be checked while others are dealt with.
    fn look_ahead(&mut self, replica: &Replica, now: Timestamp) {
        if let Some(less) = self.looked.checked_sub(1) {
            self.looked = less;
            return;
        }
        let look = |sent: &mut Sent| {
            if let Request::Input(Input::Received(peer, frame), _) = &mut sent.request {
                replica.look_ahead(now, *peer, frame);
            }
        };
        // Once half of these are taken, more may have come.
        self.looked = self.turns.show(LOOK_AHEAD_BYTES, look) / 2;
    }
}
