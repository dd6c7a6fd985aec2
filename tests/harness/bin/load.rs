//! Measures a relayer: `cargo run --release -p crdt-tests --bin load`. See `docs/PERFORMANCE.md`,
//! "The whole way".
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
use crdt_tests::load::{Kind, bare, idle, raise_files, room, siege, table, weather};
use serde_json::{Value, json};

/// Measures a relayer beside a server that only passes on what it gets.
#[derive(Debug, Parser)]
struct Args {
    /// Idle connections; 0 leaves them out
    #[arg(long, default_value_t = 5_000)]
    idle: u32,
    /// Members of the room; 0 leaves it out
    #[arg(long, default_value_t = 1_000)]
    members: u32,
    /// Ops a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// For so many seconds
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How often; each time both servers in turns
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Besiege a relayer instead, for --seconds, beside 50 members
    #[arg(long)]
    attack: bool,
    /// Attackers from each address
    #[arg(long, default_value_t = 20)]
    attackers: u32,
    /// Leave this attack out, by its name; repeatable
    #[arg(long)]
    without: Vec<String>,
    /// Print one JSON object for each run
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure every stage that an op goes through
    Table {
        /// Ops that a newcomer fetches
        #[arg(long, default_value_t = 100_000, value_parser = at_least::<usize>(1_000))]
        history: usize,
        /// Ops of the longest log
        #[arg(long, default_value_t = 1_000_000, value_parser = at_least::<u64>(10_000))]
        long: u64,
        /// Only this stage
        #[arg(long, value_parser = table::STAGES)]
        only: Option<String>,
    },
    /// The server that only passes on
    #[command(hide = true)]
    Bare,
    /// The same, writing in batches
    #[command(hide = true)]
    Batching,
    /// The attackers, until nothing more can come to their input
    #[command(hide = true)]
    Besiege {
        /// The server
        server: std::net::SocketAddr,
        /// The room
        room: String,
        /// Attackers from each address
        attackers: u32,
        /// Attacks to leave out
        without: Vec<String>,
    },
}

/// Fewer cannot be measured.
fn at_least<T: TryFrom<u64> + Clone + Send + Sync + 'static>(
    least: u64,
) -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(least..=u64::from(u32::MAX))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    match &args.command {
        Some(Command::Bare) => return bare::serve(|ready| println!("{ready}")).await,
        Some(Command::Besiege { server, room, attackers, without }) => {
            let mut attacks = siege::Attack::ALL.to_vec();
            attacks.retain(|attack| !without.iter().any(|word| word == attack.word()));
            let (began, siege) =
                (Instant::now(), siege::begin(*server, room, &attacks, *attackers));
            let tried = Arc::clone(&siege.tried);
            // Whoever started this ends it.
            let told = || io::copy(&mut io::stdin().lock(), &mut io::sink());
            tokio::task::spawn_blocking(told).await??;
            let took = began.elapsed();
            let rows = siege.end().await.all();
            let rows: Vec<Value> = rows.into_iter().map(|row| json!(row)).collect();
            let rate = u128::from(tried.load(Ordering::Relaxed)) * 1_000 / took.as_millis().max(1);
            println!("{}", json!({"event": "besieged", "tried_per_s": rate, "ends": rows}));
            return Ok(());
        }
        Some(Command::Batching) => return bare::serve_batching(|ready| println!("{ready}")).await,
        Some(Command::Table { history, long, only }) => {
            raise_files();
            let (history, long) = (*history, *long);
            let (seconds, idle, only) = (args.seconds, args.idle, only.clone());
            let plan = table::Plan { history, long, seconds, idle, only };
            if !args.json {
                println!("{}", table::HEADING);
            }
            let json = args.json;
            let tell = |row: table::Row| {
                println!("{}", if json { row.json().to_string() } else { row.line() });
            };
            return table::measure(plan, |line| eprintln!("{line}"), tell).await;
        }
        None => raise_files(),
    }
    for run in 1..=args.runs {
        let report = if args.attack { attacked(&args).await? } else { measured(&args).await? };
        if args.json {
            println!("{report}");
        } else {
            println!("run {run}");
            shown(&report, 1);
        }
    }
    Ok(())
}

/// Prints each figure on a line.
fn shown(report: &Value, depth: usize) {
    for (name, value) in report.as_object().into_iter().flatten() {
        if value.is_object() {
            println!("{:indent$}{name}", "", indent = depth * 2);
            shown(value, depth + 1);
        } else {
            println!("{:indent$}{name:28} {value}", "", indent = depth * 2);
        }
    }
}

async fn measured(args: &Args) -> io::Result<Value> {
    let plan = room::Plan { members: args.members, rate: args.rate, seconds: args.seconds };
    let mut report = json!({});
    let mut cpu = Vec::new();
    for (kind, name) in [(Kind::Bare, "bare"), (Kind::Relayer, "relayer")] {
        if args.idle > 0 {
            let bytes = idle::bytes_per_connection(kind, args.idle).await?;
            report[name]["bytes_per_idle_connection"] = json!(bytes.round());
        }
        if args.members > 0 {
            let mut outcome = room::measure(kind, plan).await?;
            report[name]["deliveries"] = json!(outcome.latencies.len());
            report[name]["ops_per_s"] = json!(rounded(outcome.rate));
            report[name]["p50_ms"] = json!(outcome.latencies.ms(500));
            report[name]["p99_ms"] = json!(outcome.latencies.ms(990));
            report[name]["cpu_us_per_delivery"] = json!(rounded(outcome.cpu_us));
            cpu.push(outcome.cpu_us);
        }
    }
    if let [bare, relayer] = cpu[..] {
        report["ratio"] = json!(rounded(relayer / bare));
    }
    Ok(report)
}

async fn attacked(args: &Args) -> io::Result<Value> {
    let outcome = weather::besieged(args.attackers, &args.without, args.seconds).await?;
    let figures = |phase: &weather::Phase| {
        json!({
            "p50_ms": phase.p50_ms,
            "p99_ms": phase.p99_ms,
            "deliveries": phase.deliveries,
            "peak_kib": phase.peak_kib,
        })
    };
    Ok(json!({
        "before": figures(&outcome.before),
        "beside": figures(&outcome.beside),
        "during": figures(&outcome.during),
        "counted": outcome.counted,
        "attackers": outcome.attackers,
    }))
}

fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
