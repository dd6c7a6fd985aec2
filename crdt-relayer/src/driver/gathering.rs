//! Whether a transaction waits for more to come first, so that many small ones soon after one
//! another become few, as group commit does in databases: where it turns out to help.

use std::time::{Duration, Instant};

use crdt_core::effect::{Effect, Record};

/// Time from one transaction until the next is written, if more comes meanwhile.
const GATHERED: Duration = Duration::from_millis(2);

/// Requests since the last transaction, acknowledgements among them, after which the next does not
/// wait: in a large room what it takes to pass an op on hides the transaction, and waiting does not.
const REQUESTS_MAX: usize = 64;

/// Most transactions that do not wait after one that waited in vain: whoever sends nothing before
/// the last is acknowledged hardly ever waits.
const HURRIED_MAX: u32 = 64;

/// When the last transaction was, and whether waiting was of any use.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    last: Option<Instant>,
    /// Requests since then.
    requests: usize,
    /// This process asked for something itself in this batch.
    asked: bool,
    /// The next has been waited for.
    waited: bool,
    /// Ops came in that wait.
    came: bool,
    /// Transactions that are not to wait.
    hurried: u32,
    /// How many were not to after the last wait in vain; twice as many after the next.
    pause: u32,
}

impl Gathering {
    /// For how many requests more is to be waited, and how long.
    pub(super) fn wait(&self, now: Instant) -> Option<(usize, Duration)> {
        let last = self.last.filter(|_| self.hurried == 0 && !self.asked)?;
        let requests = REQUESTS_MAX.checked_sub(self.requests).filter(|left| *left > 0)?;
        let left = (last + GATHERED).checked_duration_since(now)?;
        Some((requests, left))
    }

    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.asked = false;
    }

    /// A request was taken. What this process asks for itself is not kept waiting, and a wait that it
    /// cut short was not in vain.
    pub(super) fn took(&mut self, own: bool) {
        self.requests += 1;
        if own {
            self.asked = true;
            self.waited = false;
        }
    }

    /// Such a wait is over.
    pub(super) fn waited(&mut self) {
        self.waited = true;
    }

    /// So many ops of a request are kept: those that came in a wait were worth it.
    pub(super) fn kept(&mut self, ops: u32) {
        if self.waited && ops > 0 {
            self.came = true;
            self.pause = 0;
        }
    }

    /// A transaction was written. A wait for it was in vain unless ops came meanwhile.
    pub(super) fn committed(&mut self, now: Instant) {
        self.hurried = self.hurried.saturating_sub(1);
        if self.waited && !self.came {
            self.pause = (2 * self.pause).clamp(1, HURRIED_MAX);
            self.hurried = self.pause;
        }
        (self.waited, self.came) = (false, false);
        self.last = Some(now);
        self.requests = 0;
    }
}

/// Whether there are ops to be written that others brought. What the user wrote never waits.
pub(super) fn has_others_ops(effects: &[Effect]) -> bool {
    let brought =
        |effect: &Effect| matches!(effect, Effect::Persist(Record::Op { source: Some(_), .. }));
    effects.iter().any(brought)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crdt_core::id::{Position, StoreId};

    use super::*;
    use crate::fixtures::chain;

    #[test]
    fn only_a_transaction_soon_after_another_waits_and_no_longer_than_until_then() {
        let (mut gathering, start) = (Gathering::default(), Instant::now());
        assert_eq!(gathering.wait(start), None);
        gathering.committed(start);
        assert_eq!(gathering.wait(start), Some((REQUESTS_MAX, GATHERED)));
        assert_eq!(gathering.wait(start + GATHERED / 2), Some((REQUESTS_MAX, GATHERED / 2)));
        assert_eq!(gathering.wait(start + 2 * GATHERED), None);
    }

    #[test]
    fn where_much_comes_nothing_waits() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.committed(now);
        for left in (1..=REQUESTS_MAX).rev() {
            assert_eq!(gathering.wait(now), Some((left, GATHERED)));
            gathering.took(false);
        }
        assert_eq!(gathering.wait(now), None);
        gathering.committed(now);
        assert_eq!(gathering.wait(now), Some((REQUESTS_MAX, GATHERED)));
    }

    #[test]
    fn what_this_process_asks_for_does_not_wait_and_is_no_wait_in_vain() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.committed(now);
        gathering.waited();
        gathering.took(true);
        assert_eq!(gathering.wait(now), None);
        gathering.committed(now);
        gathering.begin();
        assert!(gathering.wait(now).is_some());
    }

    #[test]
    fn who_waits_for_each_answer_is_held_up_ever_less_often() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        let mut held_up = 0;
        for _ in 0..1_000 {
            if gathering.wait(now).is_some() {
                gathering.waited();
                gathering.kept(0);
                held_up += 1;
            }
            gathering.committed(now);
        }
        // The 2nd, 4th, 7th, 12th, 21st, 38th, 71st, 136th, and then every 65th.
        assert_eq!(held_up, 8 + (1_000 - 136) / 65);
        gathering.waited();
        gathering.kept(1);
        for _ in 0..=HURRIED_MAX {
            gathering.committed(now);
        }
        gathering.waited();
        for _ in 0..2 {
            gathering.committed(now);
        }
        assert!(gathering.wait(now).is_some(), "what helped is tried again soon");
    }

    #[test]
    fn a_wait_is_not_in_vain_after_one_in_which_something_came() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.waited();
        gathering.kept(1);
        gathering.waited();
        gathering.committed(now);
        assert!(gathering.wait(now).is_some());
        gathering.kept(1);
        gathering.waited();
        gathering.committed(now);
        assert_eq!(gathering.wait(now), None, "what came before the wait does not count");
    }

    #[test]
    fn what_others_brought_is_gathered_and_what_the_user_wrote_is_not() {
        let op = Arc::new(chain(1, 1).remove(0));
        let position = Position::new(1).unwrap();
        let kept = |source| Effect::Persist(Record::Op { position, source, op: Arc::clone(&op) });
        assert!(!has_others_ops(&[kept(None)]));
        assert!(has_others_ops(&[kept(None), kept(Some(StoreId::from_bytes([1; 32])))]));
    }
}
