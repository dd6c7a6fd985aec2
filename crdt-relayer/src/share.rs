//! How many bytes of received frames may wait for the driver, so that memory is bounded and one who
//! floods keeps others waiting for no more than its share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crdt_core::effect::Side;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::seats::ADDRESSES_KEPT;

/// Bytes that any frame counts for besides its own: a short one is work and takes memory too.
pub(crate) const FRAME_BYTES: usize = 512;

/// Bytes of received frames that may wait for the driver, over all connections.
const RECEIVED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of received frames of one connection, or of all of one address, that may wait for the
/// driver: what others wait for who share it with one that floods. A larger frame waits alone.
const RECEIVED_BYTES_PER_PEER_MAX: usize = 256 * 1024;

/// The same of a connection that this side opened: a window, so that the driver finds something to
/// do while it waits for the disk.
const RECEIVED_BYTES_PER_CHOSEN_MAX: usize = 2 * 1024 * 1024;

/// What all connections may take up together.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    of_all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, Weak<Semaphore>>>>,
}

impl Default for Shares {
    fn default() -> Self {
        Self { of_all: Arc::new(Semaphore::new(RECEIVED_BYTES_MAX)), by_address: Arc::default() }
    }
}

impl Shares {
    /// The share of one more connection: that of its address, or one of its own if none counts.
    pub(crate) fn of_peer(&self, address: Option<IpAddr>, side: Side) -> Share {
        let most = match (address, side) {
            (None, Side::Dialled) => RECEIVED_BYTES_PER_CHOSEN_MAX,
            (None, Side::Accepted) | (Some(_), _) => RECEIVED_BYTES_PER_PEER_MAX,
        };
        let new = || Arc::new(Semaphore::new(most));
        let of_peer = address.map_or_else(new, |address| self.of_address(address));
        Share { of_all: Arc::clone(&self.of_all), of_peer, most }
    }

    fn of_address(&self, address: IpAddr) -> Arc<Semaphore> {
        // A thread that panicked in between leaves the map usable.
        let mut shares = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&address).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= ADDRESSES_KEPT {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(RECEIVED_BYTES_PER_PEER_MAX));
        shares.insert(address, Arc::downgrade(&share));
        share
    }
}

/// What one connection may take up.
#[derive(Debug)]
pub(crate) struct Share {
    of_all: Arc<Semaphore>,
    of_peer: Arc<Semaphore>,
    /// Bytes of it.
    most: usize,
}

impl Share {
    /// Takes up the bytes of a frame. Waits while too many wait already, of its share or of all.
    ///
    /// # Errors
    /// Nobody takes frames any more.
    pub(crate) async fn take(&self, frame: usize) -> Result<Taken, AcquireError> {
        let bytes = frame + FRAME_BYTES;
        let of_peer = take(&self.of_peer, bytes.min(self.most)).await?;
        Ok(Taken { of_all: take(&self.of_all, bytes).await?, _of_peer: of_peer })
    }
}

/// What a received frame takes up, until it is dealt with.
#[derive(Debug)]
pub(crate) struct Taken {
    of_all: OwnedSemaphorePermit,
    _of_peer: OwnedSemaphorePermit,
}

impl Taken {
    /// What the frame counts for.
    pub(crate) fn bytes(&self) -> usize {
        self.of_all.num_permits()
    }
}

async fn take(share: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
    Arc::clone(share).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_of_one_address_share_what_may_wait_and_others_do_not() {
        let shares = Shares::default();
        let of = |last| shares.of_peer(Some(IpAddr::from([192, 0, 2, last])), Side::Accepted);
        let local = shares.of_peer(None, Side::Accepted);
        let (first, second, other) = (of(1), of(1), of(2));
        let taken = first.take(RECEIVED_BYTES_PER_PEER_MAX - FRAME_BYTES).await.unwrap();
        for (share, left) in [(&second, 0), (&other, RECEIVED_BYTES_PER_PEER_MAX)] {
            assert_eq!(share.of_peer.available_permits(), left);
        }
        assert_eq!(local.of_peer.available_permits(), RECEIVED_BYTES_PER_PEER_MAX);
        drop(taken);
        assert_eq!(second.of_peer.available_permits(), RECEIVED_BYTES_PER_PEER_MAX);
    }

    #[tokio::test]
    async fn of_a_connection_that_was_dialled_a_window_may_wait() {
        let share = Shares::default().of_peer(None, Side::Dialled);
        let window = usize::try_from(crdt_core::limits::WINDOW_BYTES).unwrap();
        let taken = share.take(window - FRAME_BYTES).await.unwrap();
        assert_eq!(share.of_peer.available_permits(), 0);
        drop(taken);
        // A larger frame waits alone, and does so no longer than for the others.
        let taken = share.take(2 * window).await.unwrap();
        assert_eq!(share.of_peer.available_permits(), 0);
        drop(taken);
        assert_eq!(share.of_peer.available_permits(), window);
    }

    #[test]
    fn an_address_that_has_left_is_forgotten() {
        let shares = Shares::default();
        for number in 0..2 * ADDRESSES_KEPT {
            let number = u32::try_from(number).unwrap();
            let address = IpAddr::from(number.to_be_bytes());
            drop(shares.of_peer(Some(address), Side::Accepted));
        }
        assert!(shares.by_address.lock().unwrap().len() <= ADDRESSES_KEPT);
    }
}
