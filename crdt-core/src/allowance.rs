//! How often a peer may make this side do what costs much.

use crate::limits;
use crate::time::Timestamp;

/// How often something may be done: so many times, and as often again after a while.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    used: u32,
    since: Timestamp,
    last: Timestamp,
}

impl Allowance {
    pub(crate) fn allow(&mut self, now: Timestamp) -> bool {
        if now >= self.since.after(limits::HEADS_EVERY) {
            (self.used, self.since) = (0, now);
        }
        self.used += 1;
        self.last = now;
        self.used <= 2 * limits::RECONCILE_ROUNDS_MAX
    }

    /// Whether it was done just now.
    pub(crate) fn is_recent(&self, now: Timestamp) -> bool {
        self.used > 0 && now < self.last.after(limits::RECONCILE_WAIT)
    }
}
