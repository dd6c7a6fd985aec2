//! What is held at one time, of all and of each address: connections, places for what takes up
//! memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::turnover::Turnover;

/// Addresses remembered in one place before those are forgotten of which nothing is left to know.
pub(crate) const ADDRESSES_KEPT: usize = 4_096;

/// How many are held.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    turnover: Turnover,
}

impl Seats {
    /// How many are held.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// How many an address holds; none if it is outside the limits by address.
    pub(crate) fn of(&self, address: Option<IpAddr>) -> usize {
        address.and_then(|address| self.by_address.get(&address)).copied().unwrap_or(0)
    }

    /// One more is held.
    pub(crate) fn take(&mut self, address: Option<IpAddr>) {
        self.all += 1;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
    }

    /// One was left that was held for so long.
    pub(crate) fn left(&mut self, address: Option<IpAddr>, held: Duration) {
        self.all -= 1;
        self.turnover.left(held);
        if let Some(address) = address
            && let Some(own) = self.by_address.get_mut(&address)
        {
            *own -= 1;
            if *own == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// The time after which one of so many can be expected to be free.
    pub(crate) fn free_in(&self, held: usize) -> Duration {
        self.turnover.next_of(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_is_forgotten() {
        let mut seats = Seats::default();
        let [one, two] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
        for address in [one, one, two, None] {
            seats.take(address);
        }
        assert_eq!((seats.all(), seats.of(one), seats.of(two), seats.of(None)), (4, 2, 1, 0));
        for address in [one, two, None] {
            seats.left(address, Duration::from_secs(1));
        }
        assert_eq!((seats.all(), seats.of(one), seats.of(two)), (1, 1, 0));
        assert_eq!(seats.by_address.len(), 1);
        assert_eq!(seats.free_in(1), Duration::from_secs(1));
    }
}
