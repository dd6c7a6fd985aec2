//! Places for what takes up memory or turns while it lasts: so many of all, and of these so many of
//! one address, so that nobody can hold them all by being slow.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::problem::Problem;
use crate::admission::Seat;
use crate::seats::Seats;

/// One in so many places is the most that one address may hold.
const SHARE: usize = 8;

/// Who asks: the address that its share is counted for; `None` if it is outside the limits by
/// address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker(pub(crate) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.extensions.get::<Seat>().and_then(Seat::address)))
    }
}

/// Places of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    held: Arc<Mutex<Seats>>,
    max: usize,
    /// What who gets none is told to do.
    sentence: &'static str,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    address: Option<IpAddr>,
    since: Instant,
}

impl Places {
    pub(crate) fn new(max: usize, sentence: &'static str) -> Self {
        Self { held: Arc::default(), max, sentence }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// All are held, or this address holds its share.
    pub(crate) fn take(&self, Asker(address): Asker) -> Result<Place, Problem> {
        let mut held = self.held();
        let share = (self.max / SHARE).max(1);
        let own = held.of(address);
        if held.all() >= self.max || own >= share {
            let free_in = held.free_in(if own >= share { own } else { held.all() });
            return Err(Problem::busy(self.sentence, free_in));
        }
        held.take(address);
        drop(held);
        Ok(Place { places: self.clone(), address, since: Instant::now() })
    }

    /// A thread that panicked in between leaves the counts usable.
    fn held(&self) -> MutexGuard<'_, Seats> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().left(self.address, self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> Asker {
        Asker(Some(IpAddr::from([192, 0, 2, last])))
    }

    #[test]
    fn one_address_holds_its_share_and_no_more_and_leaves_the_rest_to_others() {
        let places = Places::new(16, "Too many.");
        let mut first: Vec<Place> = (0..2).map(|_| places.take(from(1)).unwrap()).collect();
        assert!(places.take(from(1)).is_err(), "an eighth of them");
        let rest: Vec<Place> = (2..9)
            .flat_map(|n| [from(n), from(n)])
            .map_while(|asker| places.take(asker).ok())
            .collect();
        assert_eq!(rest.len(), 14);
        assert!(places.take(from(99)).is_err(), "all are held");
        first.pop();
        let again = places.take(from(1)).unwrap();
        drop((first, rest, again));
        let held = places.held();
        assert_eq!((held.all(), held.of(from(1).0)), (0, 0));
    }

    #[test]
    fn who_is_outside_the_limits_by_address_may_hold_all() {
        let places = Places::new(16, "Too many.");
        let all: Vec<Place> = (0..16).map(|_| places.take(Asker(None)).unwrap()).collect();
        assert!(places.take(Asker(None)).is_err());
        drop(all);
        assert!(places.take(from(1)).is_ok());
    }
}
