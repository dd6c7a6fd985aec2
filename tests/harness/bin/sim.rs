//! Runs the simulator: `cargo sim --seeds 300`. See `docs/TESTING.md`, "Simulator".
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use crdt_tests::sim::case::{Case, Outcome};
use crdt_tests::sim::fleet::{self, Plan, Totals};
use crdt_tests::sim::shrink::shrink;
use serde_json::json;

/// Lines of a timeline that are printed: the last ones.
const TIMELINE_LINES: usize = 400;

/// Simulates nodes and relayers among liars and faults.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Run this seed only, twice, and print its options, trace hash and, if it fails, its timeline
    #[arg(long)]
    seed: Option<u64>,
    /// Frames handed to replicas after which a run heals
    #[arg(long, default_value_t = 12_000)]
    deliveries_max: u64,
    /// Runs spent on making a failing seed small
    #[arg(long, default_value_t = 300)]
    shrink: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// With --seed: print the whole timeline
    #[arg(long)]
    timeline: bool,
    /// Plant this bug, by its name in the table of teeth
    #[cfg(sim_bug)]
    #[arg(long)]
    bug: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plant each known bug and count the seeds until it is found (needs `--cfg sim_bug`)
    Teeth,
    /// Run a saved case
    Replay {
        /// The file
        file: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    // A panic inside a run is a finding of that run, told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let args = Args::parse();
    #[cfg(sim_bug)]
    crdt_core::planted::plant(
        crdt_core::planted::Bug::ALL
            .iter()
            .copied()
            .find(|bug| args.bug.as_ref().is_some_and(|name| *name == format!("{bug:?}"))),
    );
    let good = match &args.command {
        Some(Command::Teeth) => teeth(&args),
        Some(Command::Replay { file }) => replay(&args, file),
        None => match args.seed {
            Some(seed) => one(&args, &Case::of_seed(seed, args.deliveries_max)),
            None => many(&args),
        },
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(args: &Args, file: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    match text.and_then(|text| Case::parse(&text)) {
        Ok(case) => one(args, &case),
        Err(error) => {
            println!("Error: {}: {error}", file.display());
            false
        }
    }
}

/// Runs one case, and once more to see that it does the same.
fn one(args: &Args, case: &Case) -> bool {
    println!("options {}", case.options);
    let first = case.run();
    let again = case.run();
    println!("trace {:016x}", first.trace);
    let counts = &first.counts;
    println!("{} deliveries, {} events, {} ops", counts.deliveries, counts.events, counts.ops);
    if first.trace != again.trace {
        println!("Error: the same case gave another trace: {:016x}", again.trace);
        return false;
    }
    if args.timeline {
        case.run_with_timeline().timeline.iter().for_each(|line| println!("{line}"));
    }
    if first.violation.is_some() {
        explain(args, case, &first);
        return false;
    }
    println!("all good: settled {} ms after the healing", counts.settled_ms);
    true
}

/// Tells what a failing case broke, makes it small and prints what led to it.
fn explain(args: &Args, case: &Case, outcome: &Outcome) {
    let Some(violation) = &outcome.violation else { return };
    println!("\nseed {} FAILED: {violation}", case.seed);
    println!("repeat: cargo sim --seed {} --deliveries-max {}", case.seed, args.deliveries_max);
    println!("options {}", case.options);
    if args.shrink == 0 {
        return;
    }
    let (small, _) = shrink(case, args.shrink);
    let told = small.run_with_timeline();
    let skipped = told.timeline.len().saturating_sub(TIMELINE_LINES);
    println!("\nthe smallest case found; {skipped} lines of its timeline left out:");
    told.timeline.iter().skip(skipped).for_each(|line| println!("{line}"));
    if let Some(violation) = &told.violation {
        println!("{violation}");
    }
    println!("\nsave as tests/sim/regressions/NAME.case:\n{}", small.to_text());
}

fn many(args: &Args) -> bool {
    let started = Instant::now();
    let plan = Plan {
        first: args.first_seed,
        seeds: args.seeds,
        deliveries: args.deliveries_max,
        stop_at_failure: false,
    };
    let totals = fleet::run(plan);
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    if args.json {
        print_json(&totals, ms);
    } else {
        print_text(&totals, ms);
        for (seed, outcome) in &totals.failed {
            explain(args, &Case::of_seed(*seed, args.deliveries_max), outcome);
        }
    }
    totals.failed.is_empty()
}

fn print_text(totals: &Totals, ms: u64) {
    let Totals { seeds, deliveries, events, ops, .. } = totals;
    println!("{seeds} seeds, {} failed", totals.failed.len());
    println!("{deliveries} deliveries, {events} events, {ops} ops");
    for (name, count) in &totals.faults {
        println!("  {count:>8} {name}");
    }
    println!("settled at most {} ms after the healing", totals.settled_ms_max);
    println!("a link carried at most {} bytes beyond 3 x due", totals.excess_bytes_max);
    println!("{ms} ms, {} deliveries a minute", deliveries * 60_000 / ms);
}

fn print_json(totals: &Totals, ms: u64) {
    let failed: Vec<_> = totals
        .failed
        .iter()
        .map(|(seed, outcome)| {
            let what = outcome.violation.as_ref().map(ToString::to_string);
            json!({"seed": seed, "trace": format!("{:016x}", outcome.trace), "broken": what})
        })
        .collect();
    let report = json!({
        "seeds": totals.seeds,
        "deliveries": totals.deliveries,
        "events": totals.events,
        "ops": totals.ops,
        "faults": totals.faults,
        "settled_ms_max": totals.settled_ms_max,
        "excess_bytes_max": totals.excess_bytes_max,
        "ms": ms,
        "deliveries_a_minute": totals.deliveries * 60_000 / ms,
        "failed": failed,
    });
    println!("{report}");
}

#[cfg(not(sim_bug))]
fn teeth(_: &Args) -> bool {
    println!("Error: no bugs are planted in this build");
    println!(
        "Hint: RUSTFLAGS='--cfg sim_bug' cargo run --release --target-dir target/teeth -p crdt-tests --bin sim -- teeth"
    );
    false
}

#[cfg(sim_bug)]
fn teeth(args: &Args) -> bool {
    use crdt_core::planted::{Bug, plant};
    println!("| planted bug | found as | seeds |");
    println!("| --- | --- | --- |");
    let mut all = true;
    let wanted = |bug: &&Bug| args.bug.as_ref().is_none_or(|name| *name == format!("{bug:?}"));
    for bug in Bug::ALL.iter().filter(wanted) {
        plant(Some(*bug));
        let plan = Plan {
            first: args.first_seed,
            seeds: args.seeds.max(200),
            deliveries: args.deliveries_max,
            stop_at_failure: true,
        };
        let totals = fleet::run(plan);
        plant(None);
        match totals.failed.first() {
            Some((seed, outcome)) => {
                let broken = outcome.violation.as_ref().map(|v| v.invariant.to_string());
                let seeds = seed - args.first_seed + 1;
                println!("| {bug:?} | {} | {seeds} |", broken.unwrap_or_default());
            }
            None => {
                all = false;
                println!("| {bug:?} | NOT FOUND | - |");
            }
        }
    }
    all
}
