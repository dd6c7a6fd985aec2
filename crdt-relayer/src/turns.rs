//! What waits for the driver, in turns by who sent it: deficit round robin (Shreedhar and Varghese,
//! 1996) in which those for whom nothing waited come first (RFC 8290, section 4.1), so that what one
//! sends who floods is taken no sooner than its turn, and who sends little hardly waits for others.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crdt_core::effect::PeerId;

/// Cost that a lane may take up in one turn, in bytes of frames. A larger frame waits for as many
/// turns as it is worth, and is then taken whole.
const QUANTUM: usize = 4 * 1024;

/// Turns of fresh lanes one after another, while others wait: whoever keeps coming with a new address
/// does not keep them waiting for ever.
const FRESH_MAX: usize = 8;

/// Those whose requests wait behind one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// This process: its user, and whoever asks it over HTTP.
    Own,
    /// A connection whose address does not count.
    Peer(PeerId),
    /// All connections of an address.
    Address(IpAddr),
}

#[derive(Debug)]
struct Waiting<T> {
    /// Each with its cost.
    items: VecDeque<(usize, T)>,
    /// Cost that it may still take up in this turn.
    credit: usize,
}

/// Lanes that take turns. What is in a lane stays in order.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    lanes: HashMap<Lane, Waiting<T>>,
    /// Lanes in which nothing waited until lately: they come first.
    fresh: VecDeque<Lane>,
    /// The others.
    order: VecDeque<Lane>,
    /// Turns of fresh lanes since one of the others had one.
    preferred: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        let (fresh, order) = (VecDeque::new(), VecDeque::new());
        Self { lanes: HashMap::new(), fresh, order, preferred: 0 }
    }
}

impl<T> Turns<T> {
    /// Adds something to the end of a lane.
    pub(crate) fn add(&mut self, lane: Lane, cost: usize, item: T) {
        let waiting = self.lanes.entry(lane).or_insert_with(|| {
            self.fresh.push_back(lane);
            Waiting { items: VecDeque::new(), credit: QUANTUM }
        });
        waiting.items.push_back((cost, item));
    }

    /// Takes what comes next, unless it costs more than that.
    pub(crate) fn next_within(&mut self, cost_max: usize) -> Option<T> {
        loop {
            let others_wait = !self.order.is_empty() && self.preferred >= FRESH_MAX;
            let is_fresh = !self.fresh.is_empty() && !others_wait;
            let lanes = if is_fresh { &mut self.fresh } else { &mut self.order };
            let lane = *lanes.front()?;
            let waiting = self.lanes.get_mut(&lane)?;
            let cost = waiting.items.front().map(|(cost, _)| *cost);
            if let Some(left) = cost.and_then(|cost| waiting.credit.checked_sub(cost)) {
                if cost > Some(cost_max) {
                    return None;
                }
                waiting.credit = left;
                if !is_fresh {
                    self.preferred = 0;
                }
                return waiting.items.pop_front().map(|(_, item)| item);
            }
            // Its turn is over.
            lanes.pop_front();
            self.preferred += usize::from(is_fresh);
            if cost.is_some() {
                waiting.credit = waiting.credit.saturating_add(QUANTUM);
                self.order.push_back(lane);
            } else if is_fresh {
                // It waits for one turn of the others: who comes back at once gains nothing.
                self.order.push_back(lane);
            } else {
                self.lanes.remove(&lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<T> Turns<T> {
        fn next(&mut self) -> Option<T> {
            self.next_within(usize::MAX)
        }
    }

    fn address(last: u8) -> Lane {
        Lane::Address(IpAddr::from([192, 0, 2, last]))
    }

    fn all(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn who_sends_little_waits_for_nobody_that_floods() {
        let mut turns = Turns::default();
        for number in 0..1_000 {
            turns.add(address(1), QUANTUM / 4, number);
            turns.add(address(2), QUANTUM / 2, 1_000 + number);
        }
        let mut next = |count| -> Vec<u32> { (0..count).filter_map(|_| turns.next()).collect() };
        assert_eq!(next(12), [0, 1, 2, 3, 1_000, 1_001, 4, 5, 6, 7, 1_002, 1_003]);
        turns.add(Lane::Own, 100, 5_000);
        turns.add(Lane::Peer(PeerId(1)), 100, 5_001);
        let mut next = |count| -> Vec<u32> { (0..count).filter_map(|_| turns.next()).collect() };
        assert_eq!(next(6), [5_000, 5_001, 8, 9, 10, 11]);
    }

    #[test]
    fn who_comes_again_at_once_waits_for_a_turn_of_the_others() {
        let mut turns = Turns::default();
        for number in 0..100 {
            turns.add(address(1), QUANTUM, number);
            turns.add(address(2), QUANTUM, 100 + number);
        }
        let mut came = Vec::new();
        for number in 0..50 {
            turns.add(address(3), QUANTUM, 1_000 + number);
            while let Some(next) = turns.next() {
                came.push(next);
                if next >= 1_000 {
                    break;
                }
            }
        }
        let flood = came.iter().filter(|number| **number < 1_000).count();
        assert!(flood >= 2 * 49, "{came:?}");
    }

    #[test]
    fn who_keeps_coming_as_somebody_new_does_not_keep_others_waiting() {
        let mut turns = Turns::default();
        for number in 0..100 {
            turns.add(address(1), QUANTUM, number);
        }
        assert_eq!(turns.next(), Some(0));
        let mut came = Vec::new();
        for number in 1_000..3_000_u32 {
            turns.add(Lane::Peer(PeerId(u64::from(number))), 100, number);
            came.extend(turns.next());
            assert!(turns.lanes.len() <= 2 * FRESH_MAX + 100, "{}", turns.lanes.len());
        }
        assert!((1..100).all(|number| came.contains(&number)), "{came:?}");
    }

    #[test]
    fn what_is_in_a_lane_stays_in_order_and_all_of_it_comes() {
        let mut turns = Turns::default();
        for number in 0..300 {
            turns.add(address(u8::try_from(number % 3).unwrap()), 5_000, number);
        }
        let came = all(&mut turns);
        assert_eq!(came.len(), 300);
        for lane in 0..3 {
            let of_lane: Vec<_> = came.iter().filter(|number| *number % 3 == lane).collect();
            assert!(of_lane.is_sorted());
        }
        assert!(turns.lanes.is_empty() && turns.fresh.is_empty() && turns.order.is_empty());
    }

    #[test]
    fn what_costs_too_much_stays_and_is_next() {
        let mut turns = Turns::default();
        turns.add(address(1), QUANTUM, 1);
        turns.add(address(1), 100, 2);
        assert_eq!(turns.next_within(QUANTUM - 1), None);
        assert_eq!(turns.next_within(QUANTUM), Some(1));
        assert_eq!(turns.next_within(100), Some(2));
    }

    #[test]
    fn larger_frames_take_as_many_turns_as_they_are_worth() {
        let mut turns = Turns::default();
        turns.add(address(1), 10 * QUANTUM, 1);
        for number in 0..20 {
            turns.add(address(2), QUANTUM, 100 + number);
        }
        let came = all(&mut turns);
        let place = came.iter().position(|number| *number == 1);
        assert!(place.is_some_and(|place| (9..=11).contains(&place)), "{came:?}");
    }
}
