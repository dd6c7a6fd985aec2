//! The pauses between two dials: growing, so that what is away costs little, and varied, so that
//! those who lost one server do not all come back at one moment.

use std::time::Duration;

use crate::ended::Cause;

/// First pause; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Longest pause where one side does not want the other: what a rule forbids is rarely allowed
/// soon.
const PAUSE_REFUSED_MAX: Duration = Duration::from_mins(1);

/// A connection that held this long was good, unless it was refused: the next pause is the first
/// again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// How long to wait before dialling again.
#[derive(Debug)]
pub(crate) struct Pause {
    /// What the next one grows from.
    from: Duration,
}

impl Pause {
    /// Nothing has failed yet.
    pub(crate) fn new() -> Self {
        Self { from: PAUSE_FIRST }
    }

    /// The pause after a connection that held so long and ended like this.
    pub(crate) fn next(&mut self, held: Duration, cause: Cause) -> Duration {
        jittered(self.grown(held, cause))
    }

    fn grown(&mut self, held: Duration, cause: Cause) -> Duration {
        let pause = if cause.is_refusal() {
            self.from.min(PAUSE_REFUSED_MAX)
        } else if held >= GOOD_AFTER {
            PAUSE_FIRST
        } else {
            self.from.min(PAUSE_MAX)
        };
        self.from = pause * 2;
        pause
    }
}

/// Between half of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    // Without randomness the pause is only less spread.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after as many connections that each held so long.
    fn pauses(count: usize, held: Duration, cause: Cause) -> Vec<Duration> {
        let mut pause = Pause::new();
        (0..count).map(|_| pause.grown(held, cause)).collect()
    }

    #[test]
    fn pauses_grow_to_five_seconds_and_for_a_refusal_to_a_minute() {
        let ms = |pauses: &[Duration]| pauses.iter().map(Duration::as_millis).collect::<Vec<_>>();
        let lost = pauses(12, Duration::ZERO, Cause::Lost);
        assert_eq!(ms(&lost[..4]), [100, 200, 400, 800]);
        assert_eq!(lost.last(), Some(&PAUSE_MAX));
        let refused = pauses(12, Duration::ZERO, Cause::Refused);
        assert_eq!(refused.last(), Some(&PAUSE_REFUSED_MAX));
    }

    #[test]
    fn a_good_connection_is_dialled_again_soon_and_one_that_was_refused_late_is_not() {
        assert_eq!(pauses(9, GOOD_AFTER, Cause::Lost).last(), Some(&PAUSE_FIRST));
        assert_eq!(pauses(12, GOOD_AFTER, Cause::Refused).last(), Some(&PAUSE_REFUSED_MAX));
    }

    #[test]
    fn a_pause_varies_between_half_of_it_and_all_of_it() {
        for _ in 0..100 {
            let pause = Pause::new().next(Duration::ZERO, Cause::Lost);
            assert!((PAUSE_FIRST / 2..=PAUSE_FIRST).contains(&pause), "{pause:?}");
        }
    }
}
