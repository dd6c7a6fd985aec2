//! How much is taken into one batch, and so into one transaction: so much that writing is a small
//! part of the work, and no more than whoever is in it may be kept waiting for.

use std::time::{Duration, Instant};

/// Requests taken into one batch.
const REQUESTS_MAX: usize = 1_024;

/// Bytes of received frames taken into one batch.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The time until no more is taken: so many times what writing one batch took last.
const TIMES_WRITING: u32 = 8;
const TIME_MIN: Duration = Duration::from_millis(4);
const TIME_MAX: Duration = Duration::from_millis(50);

/// Time that may go by in vain once somebody waits for the batch, unless writing one took more than
/// twice as long: what takes it need not be in the same transaction.
const VAIN_MIN: Duration = Duration::from_micros(500);

/// What judging an op takes, but for a very large one: more than that for each op that is kept is
/// time in vain.
pub(super) const JUDGING: Duration = Duration::from_micros(100);

/// What has been taken into a batch.
#[derive(Debug)]
pub(super) struct Filling {
    until: Instant,
    requests: usize,
    bytes: usize,
    awaited: bool,
    vain: Duration,
    vain_max: Duration,
}

impl Filling {
    /// Nothing yet, when writing the last one took so long.
    pub(super) fn begin(now: Instant, writing: Duration) -> Self {
        let until = now + writing.saturating_mul(TIMES_WRITING).clamp(TIME_MIN, TIME_MAX);
        let vain_max = VAIN_MIN.max(writing / 2);
        Self { until, requests: 0, bytes: 0, awaited: false, vain: Duration::ZERO, vain_max }
    }

    /// One more request, for which somebody in this process waits, that took so long.
    pub(super) fn took_own(&mut self, time: Duration) {
        self.took(0, time, 0);
        self.awaited = true;
    }

    /// One more request, of so many bytes, that took so long. So many ops are kept.
    pub(super) fn took(&mut self, bytes: usize, time: Duration, ops: u32) {
        self.requests += 1;
        self.bytes += bytes;
        if self.awaited {
            // Signatures are checked together, when the first is asked for: those that follow make up
            // for it, but for nothing that comes later.
            self.vain = (self.vain + time).saturating_sub(JUDGING.saturating_mul(ops));
        }
        self.awaited |= ops > 0;
    }

    /// Whether no more is to be taken.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.requests >= REQUESTS_MAX
            || self.bytes >= BYTES_MAX
            || self.vain >= self.vain_max
            || now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    /// A batch in which somebody waits, when writing the last one took so long.
    fn awaited(now: Instant, writing: Duration) -> Filling {
        let mut filling = Filling::begin(now, writing);
        filling.took(100, TIME_MIN, 1);
        assert!(!filling.is_full(now), "nobody waited before");
        filling
    }

    #[test]
    fn who_waits_does_so_a_short_time_for_what_brings_no_ops_and_longer_for_what_does() {
        let now = Instant::now();
        let mut filling = awaited(now, NONE);
        for _ in 0..100 {
            filling.took(100, 10 * JUDGING, 10);
        }
        filling.took(100, VAIN_MIN / 2, 0);
        assert!(!filling.is_full(now + TIME_MIN / 2));
        filling.took(100, VAIN_MIN / 2, 0);
        assert!(filling.is_full(now));
    }

    #[test]
    fn ops_make_up_for_what_was_checked_for_them_and_not_for_what_comes_later() {
        let now = Instant::now();
        let mut filling = awaited(now, NONE);
        filling.took(100, VAIN_MIN, 1);
        filling.took(100, NONE, 4);
        filling.took(100, VAIN_MIN, 1);
        assert!(!filling.is_full(now));
        filling.took(100, NONE, 1_000);
        filling.took(100, VAIN_MIN, 0);
        assert!(filling.is_full(now));
    }

    #[test]
    fn an_op_does_not_hide_what_comes_along_with_it() {
        let now = Instant::now();
        let mut filling = awaited(now, NONE);
        filling.took(1_000_000, VAIN_MIN + JUDGING, 1);
        assert!(filling.is_full(now));
    }

    #[test]
    fn what_this_process_asks_for_is_waited_for_and_is_not_in_vain() {
        let now = Instant::now();
        let mut filling = Filling::begin(now, NONE);
        filling.took(100, TIME_MIN, 0);
        filling.took_own(NONE);
        assert!(!filling.is_full(now));
        filling.took(100, VAIN_MIN, 0);
        assert!(filling.is_full(now));
    }

    #[test]
    fn a_batch_is_full_after_its_time_its_bytes_or_its_requests() {
        let now = Instant::now();
        let mut filling = Filling::begin(now, NONE);
        assert!(!filling.is_full(now + TIME_MIN / 2));
        assert!(filling.is_full(now + TIME_MIN));
        filling.took(BYTES_MAX - 1, NONE, 0);
        assert!(!filling.is_full(now));
        filling.took(1, NONE, 0);
        assert!(filling.is_full(now));
        let mut filling = Filling::begin(now, NONE);
        for _ in 1..REQUESTS_MAX {
            filling.took_own(NONE);
        }
        assert!(!filling.is_full(now));
        filling.took_own(NONE);
        assert!(filling.is_full(now));
    }

    #[test]
    fn the_longer_writing_takes_the_more_is_written_at_one_time() {
        let (now, slow) = (Instant::now(), 4 * VAIN_MIN);
        let mut filling = awaited(now, slow);
        filling.took(100, VAIN_MIN, 0);
        assert!(!filling.is_full(now + TIMES_WRITING * slow / 2));
        assert!(filling.is_full(now + TIMES_WRITING * slow));
        filling.took(100, VAIN_MIN, 0);
        assert!(filling.is_full(now), "half of what writing takes");
        assert!(Filling::begin(now, TIME_MAX).is_full(now + TIME_MAX), "there is a limit to it");
    }
}
