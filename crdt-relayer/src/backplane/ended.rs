//! How a connection between the bus and the replica ends.

use crate::driver::Stopped;
use crate::error::StoreError;

/// Why a peer ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The connection to the replica should be made anew, at once.
    Renew,
    /// The bus is gone, or the replica.
    Lost(String),
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self::Lost(reason)
    }
}

impl From<&str> for Ended {
    fn from(reason: &str) -> Self {
        Self::Lost(reason.to_owned())
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<Stopped> for Ended {
    fn from(stopped: Stopped) -> Self {
        Self::Lost(stopped.to_string())
    }
}
