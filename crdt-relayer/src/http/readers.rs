//! Reads from the store for whoever asks over HTTP, on threads that may wait: so many at one time,
//! and none makes the driver wait.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::error::StoreError;
use crate::store::reader::Reader;

/// Reads at one time. Others wait their turn.
const READS_MAX: usize = 4;

/// Connections to the store, opened when they are first needed.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    store: Arc<Idle>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Idle {
    path: PathBuf,
    readers: Mutex<Vec<Reader>>,
}

impl Readers {
    pub(crate) fn of(path: PathBuf) -> Self {
        let store = Arc::new(Idle { path, readers: Mutex::default() });
        Self { store, turns: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Reads something.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let stopping = || Problem::from(crate::driver::Stopped);
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| stopping())?;
        let store = Arc::clone(&self.store);
        let reading = tokio::task::spawn_blocking(move || {
            let read = store.read(look);
            drop(turn);
            read
        });
        Ok(reading.await.map_err(|_| stopping())??)
    }
}

impl Idle {
    fn read<T>(
        &self,
        look: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = idle.map_or_else(|| Reader::open(&self.path), Ok)?;
        // One that failed is not used again.
        let read = look(&reader)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(read)
    }
}
