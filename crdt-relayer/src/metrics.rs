//! What a relayer counts, in the text format of Prometheus. No series is made by what a stranger
//! sends: labels come from lists of this program, from its settings, or are the largest rooms.
//! Source: `docs/operations/METRICS.md`.

mod counts;
mod sampled;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt_core::intake::Shortage;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use counts::{Counts, Timed};
use sampled::Sampled;
pub(crate) use sampled::{PeerSample, ROOMS_SHOWN, Sample};

/// A limit that refused somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub enum Refused {
    /// Too many connections are open.
    Connections,
    /// Too many connections of one address are open.
    ConnectionsOfAddress,
    /// Too many connections come.
    Handshakes,
    /// Too many connections of one address come.
    HandshakesOfAddress,
    /// A browser asked by a name that is not this relayer's.
    Host,
    /// A web page that is not allowed.
    Origin,
    /// An op for which the disk has no room.
    Disk,
    /// An op for which its room has no room.
    RoomBytes,
    /// An op of an author who writes too fast.
    RateOfKey,
    /// Connections of an address that send too fast: one is not read from for a while.
    RateOfAddress,
}

impl Refused {
    /// What who is refused is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Connections => "Too many connections are open.",
            Self::ConnectionsOfAddress => "Too many connections of this address are open.",
            Self::Handshakes => "Too many connections come.",
            Self::HandshakesOfAddress => "Too many connections of this address come.",
            Self::Host => {
                "This relayer has another name; its operator allows this one with --host."
            }
            Self::Origin => {
                "This web page may not connect; the relayer's operator allows it with --origin."
            }
            Self::Disk => Shortage::Disk.sentence(),
            Self::RoomBytes => Shortage::Quota.sentence(),
            Self::RateOfKey => Shortage::Rate.sentence(),
            Self::RateOfAddress => "This address sends faster than is taken; send again later.",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: Refused,
}

/// The counters of one relayer. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Open connections.
    pub connections: Gauge,
    refused: Family<Limit, Counter>,
    /// Refusals that nobody was told of yet.
    untold: Arc<Mutex<BTreeMap<Refused, u64>>>,
    /// What its driver counts.
    pub counts: Counts,
    sampled: Sampled,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("crdt_relayer");
        let (connections, refused) = (Gauge::default(), Family::default());
        let (counts, sampled) = (Counts::default(), Sampled::default());
        sampled.register(&mut registry);
        registry.register("connections", "Open connections", connections.clone());
        registry.register("refused", "Refused for a limit, by limit", refused.clone());
        counts.register(&mut registry);
        Self {
            registry: Arc::new(registry),
            connections,
            refused,
            untold: Arc::default(),
            counts,
            sampled,
        }
    }
}

impl Metrics {
    /// Counts a refusal.
    pub fn refused(&self, limit: Refused) {
        self.refused.get_or_create(&Limit { limit }).inc();
        *self.untold().entry(limit).or_default() += 1;
    }

    /// How often each limit has refused since this was asked last.
    pub fn take_refusals(&self) -> BTreeMap<Refused, u64> {
        std::mem::take(&mut *self.untold())
    }

    /// A thread that panicked in between leaves the map usable.
    fn untold(&self) -> MutexGuard<'_, BTreeMap<Refused, u64>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts ops that were put off, or a connection that was paused: nobody was turned away.
    pub(crate) fn held_back(&self, limit: Refused, count: u64) {
        self.refused.get_or_create(&Limit { limit }).inc_by(count);
    }

    /// How often a limit has refused.
    pub fn refusals(&self, limit: Refused) -> u64 {
        self.refused.get_or_create(&Limit { limit }).get()
    }

    /// Takes over what a relayer was seen to be.
    pub(crate) fn sampled(&self, sample: &Sample) {
        self.sampled.set(sample);
    }

    /// All of it, in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// None that the library is known to make.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
