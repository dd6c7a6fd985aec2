//! Every stage that an op goes through, measured beside what cannot be avoided there.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task;

use super::{Kind, admission, append, cores, history, idle, ingest, room};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ops of a newcomer's history.
    pub history: usize,
    /// Ops of the longest log.
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

/// What can be measured by itself. Large ops and growth come with the ingest, latency with the
/// fan-out, disk with the catch-up, and the return with the opening.
pub const STAGES: [&str; 8] = [
    "ingest",
    "signatures in parallel",
    "local append",
    "relayer ingest",
    "fan-out",
    "catch-up",
    "open",
    "idle",
];

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

/// Measures one stage after the other; each row is told as soon as it is there, and what the bench of
/// the core says shown, for it takes minutes.
///
/// # Errors
/// A connection ended, or the system's.
pub async fn measure(
    plan: Plan,
    show: impl FnMut(&str),
    mut tell: impl FnMut(Row),
) -> io::Result<()> {
    if plan.wants("ingest") {
        let each = |group: &admission::Group| admitted(group).into_iter().for_each(&mut tell);
        let stages = task::block_in_place(|| admission::measure(plan.long, show, each))?;
        tell(besides_the_signature(stages));
    }
    if plan.wants("signatures in parallel") {
        let ops = plan.history;
        for row in task::spawn_blocking(move || in_parallel(ops)).await?? {
            tell(row);
        }
    }
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

/// The least and the most, once where they are the same.
fn span((least, most): (f64, f64)) -> String {
    let [least, most] = [least, most].map(|figure| format!("{figure:.0}"));
    if least == most { least } else { format!("{least} to {most}") }
}

fn admitted(group: &admission::Group) -> Vec<Row> {
    let (Some(first), Some(last)) = (group.0.first(), group.0.last()) else { return Vec::new() };
    let [entries, authors, at_once, comes] = &first.shape;
    let measure = format!(
        "entries an op: {entries}; authors: {authors}, at once {at_once}; {comes}; {} ops",
        span((first.n, last.n))
    );
    let [ops, entries, checks, share] = [
        |row: &admission::Admitted| row.ops_per_s,
        |row: &admission::Admitted| row.entries_per_s,
        |row: &admission::Admitted| row.checks_per_s,
        |row: &admission::Admitted| row.share() * 100.0,
    ]
    .map(|figure| span(group.range(figure)));
    let mut rows = vec![Row::new(
        "ingest",
        &measure,
        &format!("{ops} ops/s, {entries} entries/s"),
        &format!("verify_strict {checks}/s: {share} %"),
    )];
    if let (Some(exponent), Some(memory)) = (group.exponent(), last.memory) {
        let grown = format!("exponent {exponent:.2}; {memory:.0} B of memory an op");
        rows.push(Row::new("growth", &measure, &grown, ""));
    }
    rows
}

fn besides_the_signature(stages: admission::Stages) -> Row {
    let admission::Stages { parse, hash, check, rest, strict } = stages;
    Row::new(
        "ingest",
        "an op of one entry besides its signature",
        &format!("{:.1} µs: parse {parse:.1}, hash {hash:.1}, rest {rest:.1}", parse + hash + rest),
        &format!("its signature {check:.1} µs, verify_strict {strict:.1} µs"),
    )
}

/// Times that each is measured, on one core and on all in turns.
const TURNS: u32 = 3;

fn in_parallel(ops: usize) -> io::Result<Vec<Row>> {
    let runtime = Handle::current();
    let mut history = history::History::new(ops);
    let mut fetched = || Ok(history.fetched()?.took.as_secs_f64());
    let mut rows = vec![on_one_and_all(&format!("a newcomer fetches {ops} ops; s"), &mut fetched)?];
    for per_message in [1, 64] {
        let plan = ingest::Plan { publishers: 4, ops: ops / 4, per_message };
        let mut ingested = || Ok(1e6 / runtime.block_on(ingest::measure(plan))?.per_s);
        let measure = format!("publishers: 4; ops a message: {per_message}; µs an op");
        rows.push(on_one_and_all(&measure, &mut ingested)?);
    }
    Ok(rows)
}

/// What something takes, everything on one core and on all.
fn on_one_and_all(measure: &str, taken: &mut dyn FnMut() -> io::Result<f64>) -> io::Result<Row> {
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        turns.push((cores::on_one(&mut *taken)?, taken()?));
    }
    let list = |figure: fn(&(f64, f64)) -> f64| {
        let figures: Vec<String> =
            turns.iter().map(|turn| format!("{:.2}", figure(turn))).collect();
        figures.join(", ")
    };
    Ok(Row::new(
        "signatures in parallel",
        measure,
        &format!("{}: {} times as fast", list(|turn| turn.1), list(|turn| turn.0 / turn.1)),
        &format!("on one core {}", list(|turn| turn.0)),
    ))
}

async fn appended() -> io::Result<Vec<Row>> {
    let mut outcome = task::spawn_blocking(|| append::measure(500, PIPED)).await??;
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
    let measured = move || {
        let mut history = history::History::new(ops);
        history.fetched().map(|fetched| (fetched, history.checks()))
    };
    let (fetched, (one, all)) = task::spawn_blocking(measured).await??;
    let [took, one, all] = [fetched.took, one, all].map(|time| time.as_secs_f64());
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
            &format!("{:.0} B", fetched.disk_bytes),
            "",
        ),
    ])
}

async fn opened(ops: u64) -> io::Result<Vec<Row>> {
    let opened = task::spawn_blocking(move || history::opened(ops)).await??;
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
