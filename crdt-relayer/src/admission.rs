//! Who may connect: so many at a time and so many a second, of all and of each address.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::watch;

use crate::limits::Limits;
use crate::metrics::{Metrics, Refused};
use crate::pace::{Pace, Paces};
use crate::seats::{ADDRESSES_KEPT, Seats};
use crate::session::Patience;

#[cfg(not(test))]
type Clock = governor::clock::DefaultClock;
/// Tests decide how fast time goes.
#[cfg(test)]
type Clock = governor::clock::FakeRelativeClock;

type Quietly = NoOpMiddleware<<Clock as governor::clock::Clock>::Instant>;
type OfAll = RateLimiter<NotKeyed, InMemoryState, Clock, Quietly>;
type ByAddress = RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, Clock, Quietly>;

/// Lets connections in.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    open: Mutex<Seats>,
    rates: Mutex<Rates>,
    limits: watch::Receiver<Limits>,
    metrics: Metrics,
    paces: Arc<Paces>,
}

/// Somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// For this limit.
    pub limit: Refused,
    /// Whoever comes again after this time can expect to be let in.
    pub wait: Duration,
}

/// How many come, for the limits that they were made for.
#[derive(Debug)]
struct Rates {
    made_for: Limits,
    all: OfAll,
    by_address: ByAddress,
}

impl Rates {
    fn of(limits: &Limits) -> Self {
        let quota = |rate: u64| {
            let rate = u32::try_from(rate).unwrap_or(u32::MAX);
            Quota::per_second(NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN))
        };
        Self {
            made_for: limits.clone(),
            all: RateLimiter::direct_with_clock(quota(limits.handshakes), Clock::default()),
            by_address: RateLimiter::new(
                quota(limits.handshakes_per_address),
                DefaultKeyedStateStore::default(),
                Clock::default(),
            ),
        }
    }
}

/// One of the seats, held as long as any part of a connection lives.
#[derive(Clone, Debug)]
pub struct Seat {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    admission: Admission,
    address: Option<IpAddr>,
    since: Instant,
}

impl Seat {
    /// The address whose share it counts for; `None` if that is outside the limits by address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.held.address
    }

    /// How fast the connection is read.
    pub(crate) fn pace(&self) -> Pace {
        let held = &self.held;
        held.address.map_or_else(Pace::default, |address| held.admission.0.paces.of(address))
    }

    /// How long the connection may do nothing.
    pub(crate) fn patience(&self) -> Patience {
        Patience::from(&*self.held.admission.0.limits.borrow())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Admission(shared) = &self.admission;
        let mut open = lock(&shared.open);
        open.left(self.address, self.since.elapsed());
        shared.metrics.connections.set(gauge(open.all()));
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A thread that panicked in between leaves counts usable.
fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    /// Lets in as these limits say, whatever they are at the time.
    pub fn new(limits: watch::Receiver<Limits>, metrics: Metrics) -> Self {
        let rates = Mutex::new(Rates::of(&limits.borrow()));
        let paces = Arc::new(Paces::new(limits.clone(), metrics.clone()));
        Self(Arc::new(Shared { open: Mutex::default(), rates, limits, metrics, paces }))
    }

    /// The limits at the moment.
    pub fn limits(&self) -> Limits {
        self.0.limits.borrow().clone()
    }

    /// A seat for a connection of this address.
    ///
    /// # Errors
    /// The limit that is reached; it is counted.
    pub fn admit(&self, address: IpAddr) -> Result<Seat, TurnedAway> {
        self.seat(address).inspect_err(|turned| self.0.metrics.refused(turned.limit))
    }

    fn seat(&self, address: IpAddr) -> Result<Seat, TurnedAway> {
        let limits = self.0.limits.borrow().clone();
        let exempt = limits.trust_loopback && address.to_canonical().is_loopback();
        let address = (!exempt).then(|| of_one_user(address));
        self.pace(&limits, address)?;
        let mut open = lock(&self.0.open);
        if open.all() >= limits.connections {
            let wait = open.free_in(open.all());
            return Err(TurnedAway { limit: Refused::Connections, wait });
        }
        let own = open.of(address);
        if address.is_some() && own >= limits.connections_per_address {
            let wait = open.free_in(own);
            return Err(TurnedAway { limit: Refused::ConnectionsOfAddress, wait });
        }
        open.take(address);
        self.0.metrics.connections.set(gauge(open.all()));
        let held = Held { admission: self.clone(), address, since: Instant::now() };
        Ok(Seat { held: Arc::new(held) })
    }

    /// One address that comes too often is refused before it counts among all.
    fn pace(&self, limits: &Limits, address: Option<IpAddr>) -> Result<(), TurnedAway> {
        let mut rates = lock(&self.0.rates);
        if rates.made_for != *limits {
            *rates = Rates::of(limits);
        }
        if let Some(address) = address {
            if rates.by_address.len() >= ADDRESSES_KEPT {
                rates.by_address.retain_recent();
            }
            rates.by_address.check_key(&address).map_err(|until| TurnedAway {
                limit: Refused::HandshakesOfAddress,
                wait: until.wait_time_from(rates.by_address.clock().now()),
            })?;
        }
        rates.all.check().map_err(|until| TurnedAway {
            limit: Refused::Handshakes,
            wait: until.wait_time_from(rates.all.clock().now()),
        })
    }
}

/// Addresses that one user has count as one: 64 bits of IPv6 are what a household is given.
fn of_one_user(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limits: Limits) -> (Admission, watch::Sender<Limits>) {
        let (sender, limits) = watch::channel(limits);
        (Admission::new(limits, Metrics::default()), sender)
    }

    fn refused(admission: &Admission, address: IpAddr) -> Refused {
        admission.admit(address).unwrap_err().limit
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn seats_of_all_and_of_one_address_are_bounded_and_come_back() {
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let (admission, _limits) = admission(limits);
        let first = admission.admit(address(1)).unwrap();
        let _second = admission.admit(address(1)).unwrap();
        assert_eq!(refused(&admission, address(1)), Refused::ConnectionsOfAddress);
        let _third = admission.admit(address(2)).unwrap();
        assert_eq!(refused(&admission, address(3)), Refused::Connections);
        assert_eq!(admission.0.metrics.connections.get(), 3);
        drop(first);
        let _again = admission.admit(address(1)).unwrap();
        assert_eq!(refused(&admission, address(4)), Refused::Connections);
    }

    #[test]
    fn one_address_that_comes_too_often_does_not_use_up_the_rate_of_all() {
        let limits = Limits { handshakes: 10, handshakes_per_address: 3, ..Limits::default() };
        let (admission, _limits) = admission(limits);
        let came = |last| (0..100).filter(|_| admission.admit(address(last)).is_ok()).count();
        assert_eq!((came(1), came(2), came(3), came(4)), (3, 3, 3, 1));
        assert_eq!(refused(&admission, address(5)), Refused::Handshakes);
        assert_eq!(admission.0.metrics.refusals(Refused::HandshakesOfAddress), 4 * 97);
    }

    #[test]
    fn who_comes_too_often_is_told_when_to_come_again() {
        let limits = Limits { handshakes_per_address: 2, ..Limits::default() };
        let (admission, _limits) = admission(limits);
        let _let_in = [0; 2].map(|_| admission.admit(address(1)).unwrap());
        let turned = admission.admit(address(1)).unwrap_err();
        assert_eq!(turned.wait, Duration::from_millis(500), "two a second");
    }

    #[test]
    fn what_one_household_has_counts_as_one_address() {
        let of = |text: &str| of_one_user(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), address(1));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn this_machine_is_outside_the_limits_by_address_if_it_is_trusted() {
        let strict = Limits { connections_per_address: 1, ..Limits::default() };
        let (admission, limits) = admission(strict.clone());
        let here = IpAddr::from([127, 0, 0, 1]);
        // As who listens on [::] sees it.
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let _held = [here, mapped, here].map(|address| admission.admit(address).unwrap());
        limits.send_replace(Limits { trust_loopback: false, ..strict });
        let _first = admission.admit(here).unwrap();
        assert_eq!(refused(&admission, here), Refused::ConnectionsOfAddress);
    }
}
