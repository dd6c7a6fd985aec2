//! What a person is told of those who connect to a node: one line a minute at most, however often
//! they come and go. Programs are told of each.

use std::time::Duration;

use tokio::time::Instant;

/// Time between two lines about those who connect.
const PAUSE: Duration = Duration::from_mins(1);

/// What happened around those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    /// One was let in.
    Came,
    /// One has gone.
    Left,
    /// One was not let in, or was sent away.
    Refused,
    /// One did something wrong.
    Problem,
}

/// What was not told yet.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    /// Of each kind of [`Knock`], in its order.
    counts: [u64; 4],
    /// No line before this.
    quiet_until: Option<Instant>,
}

impl Knocks {
    /// Whether a person may be told of this at once. If not, it is part of the next sum.
    pub(super) fn may_tell(&mut self, knock: Knock, now: Instant) -> bool {
        let quiet = self.quiet_until.is_some_and(|until| now < until);
        if quiet || self.counts != [0; 4] {
            let [came, left, refused, problems] = &mut self.counts;
            let count = match knock {
                Knock::Came => came,
                Knock::Left => left,
                Knock::Refused => refused,
                Knock::Problem => problems,
            };
            *count += 1;
            return false;
        }
        self.quiet_until = Some(now + PAUSE);
        true
    }

    /// When to tell the sum, if there is any.
    pub(super) fn due(&self) -> Option<Instant> {
        self.quiet_until.filter(|_| self.counts != [0; 4])
    }

    /// The sum of what was not told, which is told now.
    pub(super) fn sum(&mut self, now: Instant) -> String {
        self.quiet_until = Some(now + PAUSE);
        let words = ["came", "left", "refused", "problems"];
        let counts = std::mem::take(&mut self.counts);
        let mut parts = Vec::new();
        for (count, word) in counts.into_iter().zip(words).filter(|(count, _)| *count > 0) {
            let peers = match (parts.is_empty() && word != "problems", count) {
                (false, _) => "",
                (true, 1) => " peer",
                (true, _) => " peers",
            };
            parts.push(format!("{count}{peers} {word}"));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_in_sum_a_minute_later() {
        let (mut knocks, start) = (Knocks::default(), Instant::now());
        assert!(knocks.may_tell(Knock::Came, start));
        assert_eq!(knocks.due(), None);
        for knock in [Knock::Left, Knock::Came, Knock::Came, Knock::Left, Knock::Came] {
            assert!(!knocks.may_tell(knock, start + PAUSE / 2));
        }
        assert_eq!(knocks.due(), Some(start + PAUSE));
        let due = start + PAUSE;
        assert!(!knocks.may_tell(Knock::Problem, due), "it belongs to the sum");
        assert_eq!(knocks.sum(due), "3 peers came, 2 left, 1 problems");
        assert_eq!(knocks.due(), None);
        assert!(!knocks.may_tell(Knock::Refused, due + PAUSE / 2));
        assert_eq!(knocks.sum(due + PAUSE), "1 peer refused");
        assert!(knocks.may_tell(Knock::Came, due + PAUSE * 2));
    }
}
