//! What an `ack` says of ops that were not stored.

use crate::intake::Shortage;
use crate::rejection::Rejection;

/// One op of an `ops` message that was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its place in the message, from 0.
    pub index: u64,
    /// Why.
    pub why: NotStored,
}

/// Why an op was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// It waits for a dependency.
    Parked,
    /// It never will be.
    Rejected(Rejection),
    /// Nothing is wrong with it; it may be sent again later.
    Later(Shortage),
}

impl NotStored {
    /// The rule it breaks, if it breaks one.
    pub(crate) fn rejection(self) -> Option<Rejection> {
        if let Self::Rejected(rejection) = self { Some(rejection) } else { None }
    }

    /// What is lacking to take it, if that is why.
    pub(crate) fn shortage(self) -> Option<Shortage> {
        if let Self::Later(shortage) = self { Some(shortage) } else { None }
    }
}
