//! What is queued to be sent on one connection. Bounded: `ops` messages by the credit the peer
//! grants, answers because nothing is read from a peer whose queue is long, and all of it by a last
//! limit at which the connection is given up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crdt_core::effect::PeerId;
use crdt_core::message::Frame;
use tokio::sync::{Notify, mpsc};

use crate::pace::Pace;

/// Queued bytes from which on nothing more is read from the peer.
const READ_BELOW_BYTES: usize = 4 * 1024 * 1024;

/// Queued bytes at which the connection is given up.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Frame(Frame),
    /// A close frame with this code and reason; nothing follows. Boxed, so
    /// that a place in a queue is no larger than a frame.
    Close(Box<(u16, &'static str)>),
}

/// The end of the queue to which frames are added.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    queue: mpsc::UnboundedSender<Outgoing>,
    backlog: Arc<Backlog>,
}

/// A connection that is kept instead of another to the same peer.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) peer: PeerId,
    pub(crate) outbound: Outbound,
}

/// How much is queued.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    given_up: AtomicBool,
    /// The connection that is kept instead of this one.
    kept: Mutex<Option<Kept>>,
    fell: Notify,
    pace: Pace,
}

impl Outbound {
    /// Of a connection that is read at this pace.
    pub(crate) fn new(pace: Pace) -> (Self, mpsc::UnboundedReceiver<Outgoing>, Arc<Backlog>) {
        let (queue, outgoing) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog { pace, ..Backlog::default() });
        (Self { queue, backlog: Arc::clone(&backlog) }, outgoing, backlog)
    }

    pub(crate) fn send(&self, frame: Frame) {
        let before = self.backlog.bytes.fetch_add(frame.len(), Ordering::Relaxed);
        if before <= QUEUED_BYTES_MAX {
            self.push(Outgoing::Frame(frame));
        } else if !self.backlog.given_up.swap(true, Ordering::Relaxed) {
            self.close(1008, "slow");
        }
    }

    pub(crate) fn close(&self, code: u16, reason: &'static str) {
        self.push(Outgoing::Close(Box::new((code, reason))));
    }

    /// Ends this connection in favour of another to the same peer.
    pub(crate) fn close_for(&self, kept: Kept) {
        *self.backlog.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        self.close(1000, "twin");
    }

    /// So many new ops came on this connection.
    pub(crate) fn took_ops(&self, ops: u64) {
        self.backlog.pace.took_ops(ops);
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) {
        self.queue.closed().await;
    }

    fn push(&self, outgoing: Outgoing) {
        // The connection may have ended; its frames are of no use then.
        drop(self.queue.send(outgoing));
    }
}

impl Backlog {
    /// The connection that is kept instead of this one, if that is why it ended.
    pub(crate) fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// So many bytes have left the queue.
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.fell.notify_one();
    }

    /// How fast it is read.
    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Waits until little enough is queued to read on.
    pub(crate) async fn low(&self) {
        while self.bytes.load(Ordering::Relaxed) > READ_BELOW_BYTES {
            self.fell.notified().await;
        }
    }
}
