//! What is looked at when somebody asks, instead of being counted all the time.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Rooms whose heads are shown: those with the most ops, so that whoever makes rooms makes no
/// series.
pub(crate) const ROOMS_SHOWN: usize = 10;

/// A relayer at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// It takes ops.
    pub(crate) ready: bool,
    /// The rooms with the most ops: name or id, and heads.
    pub(crate) heads: Vec<(String, usize)>,
    /// Bytes of the store's files.
    pub(crate) store_bytes: u64,
    /// Bytes that may still be written to its disk; `None` if the system does not say.
    pub(crate) disk_free_bytes: Option<u64>,
    /// The relayers that this one dials.
    pub(crate) peers: Vec<PeerSample>,
}

/// A relayer that this one dials.
#[derive(Clone, Debug)]
pub(crate) struct PeerSample {
    /// Its address.
    pub(crate) peer: String,
    /// It is connected and has introduced itself.
    pub(crate) connected: bool,
    /// Ops there that are not here; at least.
    pub(crate) lag_ops: u64,
    /// Ops here that it has not acknowledged; at most.
    pub(crate) unacked_ops: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoom {
    room: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPeer {
    peer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    protocol: i64,
}

/// The gauges that a sample sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampled {
    ready: Gauge,
    heads: Family<OfRoom, Gauge>,
    store: Gauge,
    free: Gauge<f64, AtomicU64>,
    connected: Family<OfPeer, Gauge>,
    lag: Family<OfPeer, Gauge>,
    unacked: Family<OfPeer, Gauge>,
    build: Family<Build, Gauge>,
}

impl Sampled {
    pub(super) fn register(&self, registry: &mut Registry) {
        let build =
            Build { version: env!("CARGO_PKG_VERSION"), protocol: crdt_core::head::VERSION };
        self.build.get_or_create(&build).set(1);
        registry.register("build_info", "What runs here; always 1", self.build.clone());
        registry.register("ready", "1 if ops sent now are taken", self.ready.clone());
        let help = "Heads of a room, of the ten rooms with the most ops";
        registry.register("heads", help, self.heads.clone());
        let help = "Size of the store's files";
        registry.register_with_unit("store", help, Unit::Bytes, self.store.clone());
        let help = "Space on the store's disk that may still be used";
        registry.register_with_unit("disk_free", help, Unit::Bytes, self.free.clone());
        let help = "1 if a relayer that this one dials is connected";
        registry.register("peer_connected", help, self.connected.clone());
        let help = "Ops that a relayer has announced and that are not here, at least";
        registry.register("peer_lag_ops", help, self.lag.clone());
        let help = "Ops here that a relayer has not acknowledged, at most";
        registry.register("peer_unacked_ops", help, self.unacked.clone());
    }

    /// Shows this sample, and nothing of the one before.
    pub(super) fn set(&self, sample: &Sample) {
        self.ready.set(i64::from(sample.ready));
        self.heads.clear();
        for (room, heads) in &sample.heads {
            let room = OfRoom { room: room.clone() };
            self.heads.get_or_create(&room).set(i64::try_from(*heads).unwrap_or(i64::MAX));
        }
        self.store.set(gauge(sample.store_bytes));
        self.free.set(sample.disk_free_bytes.map_or(f64::NAN, rounded));
        for of in &sample.peers {
            let peer = OfPeer { peer: of.peer.clone() };
            self.connected.get_or_create(&peer).set(i64::from(of.connected));
            self.lag.get_or_create(&peer).set(gauge(of.lag_ops));
            self.unacked.get_or_create(&peer).set(gauge(of.unacked_ops));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 bytes nobody counts single ones")]
fn rounded(bytes: u64) -> f64 {
    bytes as f64
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
