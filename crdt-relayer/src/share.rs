//! How many bytes of received frames may wait for the driver, so that memory is bounded and one who
//! floods keeps others waiting for no more than its share.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Bytes of received frames that may wait for the driver, over all connections.
const RECEIVED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of received frames of one connection that may wait for the driver: what others wait for who
/// share it with one that floods. A larger frame waits alone.
const RECEIVED_BYTES_PER_PEER_MAX: usize = 256 * 1024;

/// What all connections may take up together.
#[derive(Clone, Debug)]
pub(crate) struct Shares(Arc<Semaphore>);

impl Default for Shares {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(RECEIVED_BYTES_MAX)))
    }
}

impl Shares {
    /// The share of one more connection.
    pub(crate) fn of_peer(&self) -> Share {
        let of_peer = Arc::new(Semaphore::new(RECEIVED_BYTES_PER_PEER_MAX));
        Share { of_all: Arc::clone(&self.0), of_peer }
    }
}

/// What one connection may take up.
#[derive(Debug)]
pub(crate) struct Share {
    of_all: Arc<Semaphore>,
    of_peer: Arc<Semaphore>,
}

impl Share {
    /// Takes up the bytes of a frame. Waits while too many wait already, of this connection or of all.
    ///
    /// # Errors
    /// Nobody takes frames any more.
    pub(crate) async fn take(&self, bytes: usize) -> Result<Taken, AcquireError> {
        let of_peer = take(&self.of_peer, bytes.min(RECEIVED_BYTES_PER_PEER_MAX)).await?;
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
    /// The frame's bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.of_all.num_permits()
    }
}

async fn take(share: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
    Arc::clone(share).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await
}
