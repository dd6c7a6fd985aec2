//! How fast connections of one address are read: who sends more is not read from for a while, and
//! nothing of it is lost. Source: `docs/OPERATIONS.md`, "Rates".

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crdt_core::rates::{Account, Rate};
use crdt_core::time::{Span, Timestamp};
use tokio::sync::watch;

use crate::limits::Limits;
use crate::metrics::{Metrics, Refused};
use crate::seats::ADDRESSES_KEPT;

/// Longest wait before it is looked again whether the limits are still the same.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What was taken of all addresses lately.
#[derive(Debug)]
pub(crate) struct Paces {
    accounts: Mutex<HashMap<IpAddr, [Account; 2]>>,
    limits: watch::Receiver<Limits>,
    metrics: Metrics,
    start: Instant,
}

/// The pace of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(Option<(Arc<Paces>, IpAddr)>);

impl Paces {
    pub(crate) fn new(limits: watch::Receiver<Limits>, metrics: Metrics) -> Self {
        Self { accounts: Mutex::default(), limits, metrics, start: Instant::now() }
    }

    /// The pace of a connection of an address.
    pub(crate) fn of(self: &Arc<Self>, address: IpAddr) -> Pace {
        Pace(Some((Arc::clone(self), address)))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ms(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Ops and bytes a second.
    fn rates(&self) -> [Option<Rate>; 2] {
        let limits = self.limits.borrow();
        [limits.rate(limits.ops_per_address), limits.rate(limits.bytes_per_address)]
    }

    fn take(&self, now: Timestamp, address: IpAddr, amounts: [u64; 2]) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ADDRESSES_KEPT && !accounts.contains_key(&address) {
            accounts.retain(|_, accounts| !accounts.iter().all(|account| account.is_level(now)));
        }
        let accounts = accounts.entry(address).or_default();
        for ((account, rate), amount) in accounts.iter_mut().zip(self.rates()).zip(amounts) {
            if let Some(rate) = rate {
                account.take(now, rate, amount);
            }
        }
    }

    fn owes(&self, now: Timestamp, address: IpAddr) -> Duration {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(accounts) = accounts.get(&address) else { return Duration::ZERO };
        let owed = accounts.iter().zip(self.rates());
        let owed = owed.filter_map(|(account, rate)| Some(account.owes(now, rate?).as_ms()));
        Duration::from_millis(owed.max().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
    }
}

impl Pace {
    /// So many bytes came.
    pub(crate) fn took_bytes(&self, bytes: usize) {
        self.take([0, bytes as u64]);
    }

    /// So many new ops came.
    pub(crate) fn took_ops(&self, ops: u64) {
        if ops > 0 {
            self.take([ops, 0]);
        }
    }

    fn take(&self, amounts: [u64; 2]) {
        if let Self(Some((paces, address))) = self {
            paces.take(paces.now(), *address, amounts);
        }
    }

    /// How long nothing is to be read; counted if that is any time.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let Self(Some((paces, address))) = self else { return None };
        let wait = Some(paces.owes(paces.now(), *address)).filter(|wait| !wait.is_zero());
        if wait.is_some() {
            paces.metrics.held_back(Refused::RateOfAddress, 1);
        }
        wait
    }

    /// Waits until it may be read on.
    pub(crate) async fn ready(&self) {
        let mut wait = self.wait();
        while let (Some(pause), Self(Some((paces, address)))) = (wait, self) {
            tokio::time::sleep(pause.min(WAIT_MAX)).await;
            wait = Some(paces.owes(paces.now(), *address)).filter(|wait| !wait.is_zero());
        }
    }
}

impl Limits {
    /// So much a second, with the burst of all rates.
    pub(crate) fn rate(&self, per_second: Option<u64>) -> Option<Rate> {
        let burst = i64::try_from(self.burst_time.as_millis()).unwrap_or(i64::MAX);
        per_second.map(|per_second| Rate { per_second, burst: Span::from_ms(burst) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paces(limits: Limits) -> Paces {
        Paces::new(watch::channel(limits).1, Metrics::default())
    }

    /// Ops that an address brings in so many seconds if it brings ten times what it may.
    fn brought(paces: &Paces, address: IpAddr, seconds: i64) -> u64 {
        let mut ops = 0;
        for ms in 0..seconds * 1_000 {
            let now = Timestamp::from_ms(ms);
            if paces.owes(now, address).is_zero() {
                paces.take(now, address, [1, 700]);
                ops += 1;
            }
        }
        ops
    }

    #[test]
    fn an_address_that_sends_ten_times_its_rate_is_read_at_its_rate_and_another_one_at_once() {
        let limits = Limits {
            ops_per_address: Some(100),
            burst_time: Duration::from_secs(2),
            ..Limits::default()
        };
        let paces = paces(limits);
        let [loud, quiet] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!(brought(&paces, loud, 60), 60 * 100 + 2 * 100);
        assert!(paces.owes(Timestamp::from_ms(59_999), quiet).is_zero());
    }

    #[test]
    fn bytes_count_as_well_as_ops() {
        let limits = Limits {
            bytes_per_address: Some(7_000),
            burst_time: Duration::from_secs(1),
            ..Limits::default()
        };
        let (paces, address) = (paces(limits), IpAddr::from([192, 0, 2, 1]));
        let ops = brought(&paces, address, 60);
        assert!((610..=611).contains(&ops), "{ops}");
    }
}
