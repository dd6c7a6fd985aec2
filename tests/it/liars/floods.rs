//! A hostile client against an honest relayer: honest members go on, and memory is bounded.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crdt_core::limits::PARKED_PER_AUTHOR_MAX;
use crdt_core::op::Op;
use crdt_tests::client::Client;
use crdt_tests::cluster::Cluster;
use crdt_tests::flood::{Author, Verdicts, orphans, reversed};
use crdt_tests::process::Process;

use super::is_note;
use crate::convergence::assert_converged;

const ROOM: &str = "main";

/// Ops of a chain that are admitted when its first comes last: those that were still parked.
const LEFT_OF_A_CHAIN: usize = PARKED_PER_AUTHOR_MAX + 1;

fn authors(numbers: std::ops::Range<u32>) -> Vec<Author> {
    numbers.map(|number| Author::new(number, ROOM)).collect()
}

/// Sends a flood from a thread of its own.
fn pour(url: String, flood: Vec<Op>) -> thread::JoinHandle<Verdicts> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::introduced(&url, 66).await;
            client.flood(ROOM, &flood).await
        })
    })
}

/// Two honest members of a relayer.
struct Pair {
    alice: Process,
    bob: Process,
    written: usize,
}

impl Pair {
    fn new(cluster: &Cluster) -> Self {
        let [alice, bob] = ["alice", "bob"].map(|name| {
            cluster.init(name);
            let mut node = cluster.node(name, &["--headless"]);
            node.event("synced");
            node
        });
        Self { alice, bob, written: 0 }
    }

    /// Alice writes and bob sees it. Returns how long that took.
    fn exchange(&mut self) -> Duration {
        let text = format!("honest {}", self.written);
        let started = Instant::now();
        self.alice.line(&text);
        self.bob.event_with("entry", |event| is_note(event, &text));
        self.written += 1;
        started.elapsed()
    }

    /// Exchanges until the flood is over, with a pause after each. Returns how long each took.
    fn exchange_during<T>(&mut self, over: &Receiver<T>, pause: Duration) -> (Vec<Duration>, T) {
        let mut times = Vec::new();
        loop {
            times.push(self.exchange());
            match over.recv_timeout(pause) {
                Ok(result) => return (times, result),
                Err(ended) => assert_eq!(ended, RecvTimeoutError::Timeout, "the flood failed"),
            }
        }
    }

    /// One more exchange, after which both are in sync at so many entries.
    fn end(mut self, cluster: &Cluster, flooded: usize) {
        self.exchange();
        let entries = self.written + flooded;
        for mut node in [self.alice, self.bob] {
            node.synced(entries);
            node.stop();
        }
        assert_converged(cluster, &["alice", "bob"], entries);
    }
}

/// Sends a flood while two honest nodes exchange. Returns the verdicts.
fn endure(cluster: &Cluster, pair: &mut Pair, flood: Vec<Op>) -> Verdicts {
    let (sender, over) = channel();
    let pouring = pour(cluster.url(), flood);
    let waiting = thread::spawn(move || sender.send(pouring.join().unwrap()));
    let (_, verdicts) = pair.exchange_during(&over, Duration::ZERO);
    waiting.join().unwrap().unwrap();
    verdicts
}

#[test]
fn ops_in_reverse_order_are_kept_within_bounds_and_delay_no_honest_op() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let mut pair = Pair::new(&cluster);
    let before = relayer.resident_kib();
    let verdicts = endure(&cluster, &mut pair, reversed(&authors(0..2), 2_000));
    // Only the two first ops could be stored as they came; what waited for them followed.
    assert_eq!(verdicts, Verdicts { stored: 2, parked: 3_998, rejected: 0 });
    let grown = relayer.peak_kib().saturating_sub(before);
    assert!(grown < 30 * 1024, "{grown} KiB");
    pair.end(&cluster, 2 * LEFT_OF_A_CHAIN);
    relayer.stop();
}

#[test]
fn ops_whose_past_never_comes_change_no_log_and_delay_no_honest_op() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let mut pair = Pair::new(&cluster);
    let before = relayer.resident_kib();
    let verdicts = endure(&cluster, &mut pair, orphans(&authors(0..4), 1_000));
    assert_eq!(verdicts, Verdicts { stored: 0, parked: 4_000, rejected: 0 });
    let grown = relayer.peak_kib().saturating_sub(before);
    assert!(grown < 30 * 1024, "{grown} KiB");
    pair.end(&cluster, 0);
    relayer.stop();
}

/// The median and the 99th percentile, in ms.
fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    (at(50), at(99))
}

/// Time in which exchanges are measured before the full flood.
const QUIET_TIME: Duration = Duration::from_secs(10);

/// Time that the full flood lasts at least.
const FULL_TIME: Duration = Duration::from_mins(5);

/// 100,000 ops in reverse and 100,000 without a past, again and again for five minutes:
///
/// ```text
/// cargo test --release -p crdt-tests --test it -- --ignored --nocapture five_minutes
/// ```
#[test]
#[expect(clippy::print_stdout, reason = "its figures are for people")]
#[ignore = "takes more than five minutes, and both cores"]
fn five_minutes_of_floods_delay_no_honest_op() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    let mut pair = Pair::new(&cluster);
    let pause = Duration::from_millis(20);
    let (idle, over) = channel();
    let timer = thread::spawn(move || {
        let (_open, nothing) = channel::<()>();
        assert!(nothing.recv_timeout(QUIET_TIME).is_err());
        idle.send(())
    });
    let (mut quiet, ()) = pair.exchange_during(&over, pause);
    timer.join().unwrap().unwrap();
    let (before, ticks) = (relayer.resident_kib(), relayer.ticks());

    let (sender, over) = channel();
    let url = cluster.url();
    let started = Instant::now();
    let pouring = thread::spawn(move || {
        let (mut rounds, mut total) = (0_u32, Verdicts::default());
        while started.elapsed() < FULL_TIME {
            let first = 20 * rounds;
            let floods = [
                reversed(&authors(first..first + 10), 10_000),
                orphans(&authors(first + 10..first + 20), 10_000),
            ];
            for flood in floods {
                let verdicts = pour(url.clone(), flood).join().unwrap();
                total.stored += verdicts.stored;
                total.parked += verdicts.parked;
                total.rejected += verdicts.rejected;
            }
            rounds += 1;
        }
        sender.send((rounds, total)).unwrap();
    });
    let (mut loud, (rounds, total)) = pair.exchange_during(&over, pause);
    let seconds = started.elapsed().as_secs();
    pouring.join().unwrap();
    let (quiet_samples, loud_samples) = (quiet.len(), loud.len());
    let (quiet, loud) = (percentiles(&mut quiet), percentiles(&mut loud));
    let (after, peak, used) = (relayer.resident_kib(), relayer.peak_kib(), relayer.ticks() - ticks);
    println!("{rounds} rounds of 100,000 ops in reverse and 100,000 without a past in {seconds} s");
    println!("answers: {total:?}");
    println!("p50, p99 before the floods: {quiet:.1?} ms of {quiet_samples} exchanges");
    println!("p50, p99 during the floods: {loud:.1?} ms of {loud_samples} exchanges");
    println!(
        "relayer: {before} KiB before, {peak} KiB peak, {after} KiB after, {used} ticks of 10 ms"
    );
    assert_eq!(total.rejected, 0);
    assert!(peak < before + 200 * 1024);
    let room = cluster.room("bob");
    let flooded = usize::try_from(room["entries"].as_u64().unwrap()).unwrap() - pair.written;
    pair.end(&cluster, flooded);
    relayer.stop();
}
