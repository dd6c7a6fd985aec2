//! Many runs, spread over the cores: each on one thread, so that each stays deterministic.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::case::{Case, Outcome};

/// The sum over many runs.
#[derive(Debug, Default)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Frames handed to a replica.
    pub deliveries: u64,
    /// Events of all kinds.
    pub events: u64,
    /// Ops that came to be on an honest disk.
    pub ops: u64,
    /// How often each fault, crime and lie happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// The longest time from the healing until everybody held the same, in virtual ms.
    pub settled_ms_max: u64,
    /// The largest excess of a link over three times what was due on it, in bytes.
    pub excess_bytes_max: u64,
    /// Seeds whose run broke something, with what came of them.
    pub failed: Vec<(u64, Outcome)>,
}

impl Totals {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let counts = &outcome.counts;
        self.seeds += 1;
        self.deliveries += counts.deliveries;
        self.events += counts.events;
        self.ops += counts.ops;
        for (name, count) in &counts.faults {
            *self.faults.entry(name).or_default() += count;
        }
        self.settled_ms_max = self.settled_ms_max.max(counts.settled_ms);
        for (carried, due) in &counts.links {
            let excess = carried.saturating_sub(3 * due);
            self.excess_bytes_max = self.excess_bytes_max.max(excess);
        }
        if outcome.violation.is_some() {
            self.failed.push((seed, outcome));
        }
    }
}

/// Which runs to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Deliveries after which a run heals.
    pub deliveries: u64,
    /// Whether to start no further run once one has failed.
    pub stop_at_failure: bool,
}

/// Makes the runs on all cores.
pub fn run(plan: Plan) -> Totals {
    let next = AtomicU64::new(plan.first);
    let stop = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= plan.first + plan.seeds {
                        break;
                    }
                    let outcome = Case::of_seed(seed, plan.deliveries).run();
                    let failed = outcome.violation.is_some() && plan.stop_at_failure;
                    stop.fetch_or(failed, Ordering::Relaxed);
                    totals.lock().expect("no run panics outside its own walls").add(seed, outcome);
                }
            });
        }
    });
    let mut totals = totals.into_inner().expect("no run panics outside its own walls");
    totals.failed.sort_by_key(|(seed, _)| *seed);
    totals
}
