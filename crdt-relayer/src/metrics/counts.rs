//! What a driver counts and times: ops by what became of them, commits, and what is passed on. No
//! label has a value that a peer chose.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crdt_core::effect::Event;
use crdt_core::id::OpId;
use crdt_core::key::{CheckSignature, Claim, EachTime, KeyError, PublicKey, Signature};
use crdt_core::tally::Tally;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the sizes of an op's data, in bytes; the last is the largest there is.
const OP_BYTES: [f64; 8] = [64.0, 256.0, 1_024.0, 4_096.0, 8_192.0, 16_384.0, 32_768.0, 65_536.0];

/// Upper bounds of the times of one signature, in seconds.
const VERIFY_SECONDS: [f64; 8] = [25e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 25e-3];

/// Upper bounds of the times of a commit and of passing on, in seconds.
const BATCH_SECONDS: [f64; 11] =
    [100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 500e-3, 2.5];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Broken {
    reason: &'static str,
}

/// What a driver counts. Clones count together.
#[derive(Clone, Debug)]
pub struct Counts {
    rooms: Gauge,
    ops: Family<Outcome, Counter>,
    rejected: Family<Broken, Counter>,
    op_bytes: Histogram,
    verify: Histogram,
    commit: Histogram,
    fanout: Histogram,
    catchup: Counter,
    slow: Counter,
    equivocations: Counter,
}

impl Default for Counts {
    fn default() -> Self {
        let counts = Self {
            rooms: Gauge::default(),
            ops: Family::default(),
            rejected: Family::default(),
            op_bytes: Histogram::new(OP_BYTES),
            verify: Histogram::new(VERIFY_SECONDS),
            commit: Histogram::new(BATCH_SECONDS),
            fanout: Histogram::new(BATCH_SECONDS),
            catchup: Counter::default(),
            slow: Counter::default(),
            equivocations: Counter::default(),
        };
        counts.came(&Tally::default());
        counts
    }
}

impl Counts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("rooms", "Rooms that are kept or used", self.rooms.clone());
        registry.register("ops", "Ops that came, by what became of them", self.ops.clone());
        let help = "Ops that were rejected, by the rule they break";
        registry.register("ops_rejected", help, self.rejected.clone());
        let help = "Data of ops that entered a log";
        registry.register_with_unit("op", help, Unit::Bytes, self.op_bytes.clone());
        let help = "Time to check one signature";
        registry.register_with_unit("verify", help, Unit::Seconds, self.verify.clone());
        let help = "Time of one synchronised transaction of the store";
        registry.register_with_unit("commit", help, Unit::Seconds, self.commit.clone());
        let help = "Time to queue for all members what one commit makes news";
        registry.register_with_unit("fanout", help, Unit::Seconds, self.fanout.clone());
        let help = "Ops read from the store for members that were behind";
        registry.register("catchup_ops", help, self.catchup.clone());
        let help = "Members disconnected because they took too little of what waited for them";
        registry.register("slow_clients_dropped", help, self.slow.clone());
        let help = "Forks of authors' chains that came to light";
        registry.register("equivocations", help, self.equivocations.clone());
    }

    /// Takes over what a replica counted.
    pub(crate) fn came(&self, tally: &Tally) {
        let results = [("stored", tally.stored), ("known", tally.known), ("parked", tally.parked)];
        let rejected = tally.rejections().map(|(_, ops)| ops).sum();
        for (result, ops) in results.into_iter().chain([("rejected", rejected)]) {
            set(&self.ops.get_or_create(&Outcome { result }), ops);
        }
        for (reason, ops) in tally.rejections() {
            set(&self.rejected.get_or_create(&Broken { reason }), ops);
        }
    }

    /// So many rooms are kept or used.
    pub(crate) fn rooms(&self, rooms: usize) {
        self.rooms.set(i64::try_from(rooms).unwrap_or(i64::MAX));
    }

    /// A transaction that began then is on disk.
    pub(crate) fn committed(&self, began: Instant) {
        self.commit.observe(began.elapsed().as_secs_f64());
    }

    /// What is to be sent since then is queued.
    pub(crate) fn passed_on(&self, began: Instant) {
        self.fanout.observe(began.elapsed().as_secs_f64());
    }

    /// Ops were read from the store for a member.
    pub(crate) fn caught_up(&self, ops: usize) {
        self.catchup.inc_by(u64::try_from(ops).unwrap_or(u64::MAX));
    }

    /// A member was disconnected for being slow.
    pub(crate) fn dropped_slow(&self) {
        self.slow.inc();
    }

    /// Something happened in a log.
    pub(crate) fn happened(&self, event: &Event) {
        if let Event::Admitted { op, equivocation, .. } = event {
            let bytes = u32::try_from(op.data().len()).unwrap_or(u32::MAX);
            self.op_bytes.observe(f64::from(bytes));
            self.equivocations.inc_by(u64::from(equivocation.is_some()));
        }
    }

    /// Checks signatures, and times each.
    pub fn timed(&self) -> Timed {
        Timed(self.verify.clone())
    }
}

/// The counter is where the number comes from elsewhere.
fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

/// Checks every signature, and times it.
#[derive(Clone, Debug)]
pub struct Timed(Histogram);

impl CheckSignature for Timed {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        let began = Instant::now();
        let checked = EachTime.check(key, id, signature);
        let took: Duration = began.elapsed();
        self.0.observe(took.as_secs_f64());
        checked
    }

    fn check_all(&self, claims: &[Claim]) -> Vec<Result<(), KeyError>> {
        let began = Instant::now();
        let checked = EachTime.check_all(claims);
        let count = u32::try_from(claims.len().max(1)).unwrap_or(u32::MAX);
        let each = (began.elapsed() / count).as_secs_f64();
        for _ in claims {
            self.0.observe(each);
        }
        checked
    }
}
