//! How much is taken into one batch, and so into one transaction: so much that writing is a small
//! part of the work, and no more than whoever is in it may be kept waiting for.

use std::time::{Duration, Instant};

use crdt_core::effect::{Effect, Record};

/// Requests taken into one batch.
const REQUESTS_MAX: usize = 1_024;

/// Bytes of received frames taken into one batch.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The time until no more is taken: so many times what writing one batch took last.
const TIMES_WRITING: u32 = 8;
const TIME_MIN: Duration = Duration::from_millis(4);
const TIME_MAX: Duration = Duration::from_millis(50);

/// Time that inputs without an op to keep may take once there is one: whoever sent it waits, and what
/// takes the time need not be in the same transaction.
const VAIN_MAX: Duration = Duration::from_micros(500);

/// The time until no more is taken into a batch, when writing one took so long.
pub(super) fn time_of_batch(writing: Duration) -> Duration {
    writing.saturating_mul(TIMES_WRITING).clamp(TIME_MIN, TIME_MAX)
}

/// What has been taken into a batch.
#[derive(Debug)]
pub(super) struct Filling {
    until: Instant,
    requests: usize,
    bytes: usize,
    has_ops: bool,
    vain: Duration,
}

impl Filling {
    /// Nothing yet.
    pub(super) fn begin(now: Instant, time: Duration) -> Self {
        let until = now + time;
        Self { until, requests: 0, bytes: 0, has_ops: false, vain: Duration::ZERO }
    }

    /// One more request.
    pub(super) fn took(&mut self) {
        self.requests += 1;
    }

    /// It was an input of so many bytes that took so long, and this is what came of it.
    pub(super) fn judged(&mut self, bytes: usize, took: Duration, effects: &[Effect]) {
        self.bytes += bytes;
        let keeps_op = |effect: &Effect| matches!(effect, Effect::Persist(Record::Op { .. }));
        if effects.iter().any(keeps_op) {
            self.has_ops = true;
        } else if self.has_ops {
            self.vain += took;
        }
    }

    /// Whether no more is to be taken.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.requests >= REQUESTS_MAX
            || self.bytes >= BYTES_MAX
            || self.vain >= VAIN_MAX
            || now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crdt_core::id::{Position, StoreId};

    use super::*;
    use crate::fixtures::chain;

    const SHORT: Duration = Duration::from_micros(1);

    fn an_op() -> [Effect; 1] {
        let (op, position) = (Arc::new(chain(1, 1).remove(0)), Position::new(1).unwrap());
        let source = Some(StoreId::from_bytes([1; 32]));
        [Effect::Persist(Record::Op { position, source, op })]
    }

    #[test]
    fn an_op_waits_a_short_time_for_what_brings_none_and_longer_for_others() {
        let now = Instant::now();
        let mut filling = Filling::begin(now, TIME_MIN);
        filling.judged(100, 2 * VAIN_MAX, &[]);
        assert!(!filling.is_full(now), "nobody waits");
        filling.judged(100, 2 * VAIN_MAX, &an_op());
        filling.judged(100, 2 * VAIN_MAX, &an_op());
        filling.judged(100, VAIN_MAX / 2, &[]);
        assert!(!filling.is_full(now + TIME_MIN / 2));
        filling.judged(100, VAIN_MAX / 2, &[]);
        assert!(filling.is_full(now));
    }

    #[test]
    fn a_batch_is_full_after_its_time_its_bytes_or_its_requests() {
        let now = Instant::now();
        let mut filling = Filling::begin(now, TIME_MIN);
        assert!(!filling.is_full(now + TIME_MIN / 2));
        assert!(filling.is_full(now + TIME_MIN));
        filling.judged(BYTES_MAX - 1, SHORT, &[]);
        assert!(!filling.is_full(now));
        filling.judged(1, SHORT, &[]);
        assert!(filling.is_full(now));
        let mut filling = Filling::begin(now, TIME_MIN);
        for _ in 1..REQUESTS_MAX {
            filling.took();
        }
        assert!(!filling.is_full(now));
        filling.took();
        assert!(filling.is_full(now));
    }

    #[test]
    fn the_longer_writing_takes_the_more_is_written_at_one_time() {
        let [fast, usual, slow] = [1, 2_000, 60_000].map(Duration::from_micros).map(time_of_batch);
        assert_eq!((fast, usual, slow), (TIME_MIN, Duration::from_millis(16), TIME_MAX));
    }
}
