//! The time that a replica is given.

use std::time::{Duration, Instant, SystemTime};

use crdt_core::time::{Span, Timestamp};

/// Time that follows the wall clock forwards and never goes back, so timers always fire.
pub(crate) struct Clock {
    last: Timestamp,
    at: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { last: wall_clock(), at: Instant::now() }
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        let elapsed = self.at.elapsed();
        let whole_ms = Duration::from_millis(elapsed.as_millis().try_into().unwrap_or(u64::MAX));
        self.at += whole_ms;
        let span = Span::from_ms(whole_ms.as_millis().try_into().unwrap_or(i64::MAX));
        self.last = self.last.after(span).max(wall_clock());
        self.last
    }
}

/// The time of day, as this machine knows it.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
