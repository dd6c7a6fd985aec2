//! Every stage that an op goes through, measured beside what cannot be avoided there.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Kind, append, history, idle, ingest, room};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ops of a newcomer's history.
    pub history: usize,
    /// Ops of a long history.
    pub long: u64,
    /// Seconds of each room.
    pub seconds: u32,
    /// Idle connections.
    pub idle: u32,
    /// The only stage that is wanted, of [`STAGES`]; all if none is named.
    pub only: Option<String>,
}

impl Plan {
    fn wants(&self, stage: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == stage)
    }
}

/// What can be measured by itself. Latency comes with the fan-out, disk with the catch-up, and the
/// return with the opening.
pub const STAGES: [&str; 6] =
    ["local append", "relayer ingest", "fan-out", "catch-up", "open", "idle"];

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// What an op goes through.
    pub stage: &'static str,
    /// What was measured, of how much.
    pub measure: String,
    /// What came out.
    pub measured: String,
    /// What it is compared with, in the same run.
    pub beside: String,
}

impl Row {
    fn new(stage: &'static str, measure: &str, measured: &str, beside: &str) -> Self {
        let [measure, measured, beside] = [measure, measured, beside].map(str::to_owned);
        Self { stage, measure, measured, beside }
    }

    /// As an object.
    pub fn json(&self) -> Value {
        let Self { stage, measure, measured, beside } = self;
        json!({"stage": stage, "measure": measure, "measured": measured, "beside": beside})
    }

    /// As a line of a table.
    pub fn line(&self) -> String {
        let Self { stage, measure, measured, beside } = self;
        format!("| {stage} | {measure} | {measured} | {beside} |")
    }
}

/// The heading of these lines.
pub const HEADING: &str = "| stage | measure | measured | beside |\n| --- | --- | --- | --- |";

/// Measures one stage after the other; each row is told as soon as it is there.
///
/// # Errors
/// A connection ended, or the system's.
pub async fn measure(plan: Plan, mut tell: impl FnMut(Row)) -> io::Result<()> {
    if plan.wants("local append") {
        appended().await?.into_iter().for_each(&mut tell);
    }
    if plan.wants("relayer ingest") {
        for (publishers, per_message) in [(1, 1), (4, 1), (1, 64), (4, 64)] {
            tell(ingested(publishers, per_message).await?);
        }
    }
    if plan.wants("fan-out") {
        for (members, rate) in [(10, 1_000), (100, 100), (100, 1_000), (1_000, 100)] {
            let plan = room::Plan { members, rate, seconds: plan.seconds };
            fanned_out(plan).await?.into_iter().for_each(&mut tell);
        }
    }
    if plan.wants("catch-up") {
        fetched(plan.history).await?.into_iter().for_each(&mut tell);
    }
    if plan.wants("open") {
        opened(plan.long).await?.into_iter().for_each(&mut tell);
    }
    if plan.wants("idle") {
        idled(&plan).await?.into_iter().for_each(&mut tell);
    }
    Ok(())
}

async fn idled(plan: &Plan) -> io::Result<Vec<Row>> {
    let bytes = idle::bytes_per_connection(Kind::Relayer, plan.idle).await?;
    let bare = idle::bytes_per_connection(Kind::Bare, plan.idle).await?;
    let memory = Row::new(
        "idle",
        &format!("memory of each of {} connections", plan.idle),
        &format!("{:.1} KiB", bytes / 1_024.0),
        &format!("bare axum {:.1} KiB", bare / 1_024.0),
    );
    let processor = idle::processor_s(1_000, IDLE).await?;
    let silent = Row::new(
        "idle",
        &format!("processor time of 1,000 silent members in {} s", IDLE.as_secs()),
        &format!("{processor:.2} s"),
        "",
    );
    Ok(vec![memory, silent])
}

/// Lines that are piped: so many that the 50 ms in which a node looks whether it is done do not count.
const PIPED: u32 = 200_000;

/// How long a room says nothing.
const IDLE: Duration = Duration::from_secs(10);

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

async fn appended() -> io::Result<Vec<Row>> {
    let mut outcome = tokio::task::spawn_blocking(|| append::measure(500, PIPED)).await??;
    let (typed, page) = (&mut outcome.typed, &mut outcome.page);
    Ok(vec![
        Row::new(
            "local append",
            "a line typed until it is on disk, p50 and p99",
            &format!("{:.2}, {:.2} ms", typed.ms(500), typed.ms(990)),
            &format!("one page written to disk {:.2}, {:.2} ms", page.ms(500), page.ms(990)),
        ),
        Row::new(
            "local append",
            &format!("{PIPED} lines piped"),
            &format!("{:.0} entries/s", outcome.piped_per_s),
            "",
        ),
    ])
}

async fn ingested(publishers: u32, per_message: usize) -> io::Result<Row> {
    let ops = 100_000 / publishers as usize;
    let outcome = ingest::measure(ingest::Plan { publishers, ops, per_message }).await?;
    Ok(Row::new(
        "relayer ingest",
        &format!("publishers: {publishers}; ops a message: {per_message}"),
        &format!("{:.0} ops/s, {:.1} µs of processor each", outcome.per_s, outcome.cpu_us),
        &format!(
            "verify_strict {:.1} µs: {:.2} times",
            outcome.check_us,
            outcome.cpu_us / outcome.check_us
        ),
    ))
}

async fn fanned_out(plan: room::Plan) -> io::Result<Vec<Row>> {
    let batching = room::measure(Kind::Batching, plan).await?;
    let mut bare = room::measure(Kind::Bare, plan).await?;
    let mut relayer = room::measure(Kind::Relayer, plan).await?;
    let (members, rate) = (plan.members, plan.rate);
    let both = |outcome: &mut room::Outcome| {
        let (p50, p99) = (outcome.latencies.ms(500), outcome.latencies.ms(990));
        format!("{p50:.1}, {p99:.1} ms at {:.0} ops/s", outcome.rate)
    };
    Ok(vec![
        Row::new(
            "fan-out",
            &format!("members: {members}, {rate} ops/s; processor time for a delivery"),
            &format!("{:.2} µs", relayer.cpu_us),
            &format!(
                "bare tungstenite in batches {:.2} µs: {:.2} times; bare axum {:.2} µs: {:.2} times",
                batching.cpu_us,
                relayer.cpu_us / batching.cpu_us,
                bare.cpu_us,
                relayer.cpu_us / bare.cpu_us
            ),
        ),
        Row::new(
            "latency",
            &format!("members: {members}, {rate} ops/s; sent until seen, p50 and p99"),
            &both(&mut relayer),
            &format!("bare axum {}", both(&mut bare)),
        ),
    ])
}

async fn fetched(ops: usize) -> io::Result<Vec<Row>> {
    let caught = tokio::task::spawn_blocking(move || history::caught_up(ops)).await??;
    let (one, all) = (caught.checks.0.as_secs_f64(), caught.checks.1.as_secs_f64());
    let took = caught.took.as_secs_f64();
    Ok(vec![
        Row::new(
            "catch-up",
            &format!("a newcomer fetches {ops} ops"),
            &format!("{took:.2} s"),
            &format!(
                "signatures alone on all cores {all:.2} s: {:.2} times; on one {one:.2} s: {:.2} times",
                took / all,
                took / one
            ),
        ),
        Row::new(
            "disk",
            "bytes for each op besides its data",
            &format!("{:.0} B", caught.disk_bytes),
            "",
        ),
    ])
}

async fn opened(ops: u64) -> io::Result<Vec<Row>> {
    let opened = tokio::task::spawn_blocking(move || history::opened(ops)).await??;
    let row = |who: &str, (took, peak_kib): (Duration, u64)| {
        Row::new(
            "open",
            &format!("a {who} with {ops} ops"),
            &format!("{:.2} s, {} MiB", took.as_secs_f64(), peak_kib / 1_024),
            "",
        )
    };
    Ok(vec![
        row("node", opened.node),
        row("relayer", opened.relayer),
        Row::new(
            "return",
            &format!("a node that lacks the last {} of {ops} ops", history::MISSED),
            &format!("{:.0} ms from the prompt", ms(opened.returned)),
            "",
        ),
    ])
}
