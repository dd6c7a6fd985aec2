//! How soon a place becomes free, told from how long the last ones were held.

use std::time::Duration;

/// What is said as long as nobody has left a place yet.
const UNKNOWN: Duration = Duration::from_secs(5);

/// The most that anybody is told to wait: by then it may look different.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Of so many places the mean is remembered.
const REMEMBERED: u32 = 16;

/// How long places of one kind are held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turnover {
    mean: Option<Duration>,
}

impl Turnover {
    /// A place was left that was held for so long.
    pub(crate) fn left(&mut self, held: Duration) {
        self.mean = Some(match self.mean {
            Some(mean) => mean.saturating_mul(REMEMBERED - 1).saturating_add(held) / REMEMBERED,
            None => held,
        });
    }

    /// The time after which one of so many places that are held can be expected to be free.
    pub(crate) fn next_of(&self, held: usize) -> Duration {
        let held = u32::try_from(held).unwrap_or(u32::MAX).max(1);
        self.mean.map_or(UNKNOWN, |mean| mean / held).min(WAIT_MAX)
    }
}

/// Whole seconds to wait, as `Retry-After` says them; one at least.
pub(crate) fn seconds(wait: Duration) -> u64 {
    let whole = wait.as_secs();
    let rest = u64::from(wait.subsec_nanos() > 0);
    whole.saturating_add(rest).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_how_long_places_are_held_and_how_many_there_are() {
        let mut turnover = Turnover::default();
        assert_eq!(turnover.next_of(64), UNKNOWN);
        turnover.left(Duration::from_secs(64));
        assert_eq!(turnover.next_of(8), Duration::from_secs(8));
        assert_eq!(turnover.next_of(64), Duration::from_secs(1));
        assert_eq!(turnover.next_of(1), WAIT_MAX);
        for _ in 0..200 {
            turnover.left(Duration::from_millis(80));
        }
        assert!(turnover.next_of(8) < Duration::from_millis(20));
    }

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        let of = |ms| seconds(Duration::from_millis(ms));
        assert_eq!([of(0), of(1), of(1_000), of(1_001), of(8_000)], [1, 1, 1, 2, 8]);
    }
}
