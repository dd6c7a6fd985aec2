//! What a node's user waits for: a line that is typed, and many that are piped.

use std::fs::File;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::figures::Latencies;
use super::floor::Pages;
use crate::cluster::Cluster;

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// From typing a line to its being on disk.
    pub typed: Latencies,
    /// Writing one page to the same disk, in turns with the lines.
    pub page: Latencies,
    /// Lines piped a second, besides starting and ending.
    pub piped_per_s: f64,
}

/// Types so many lines one by one, and pipes so many.
///
/// # Errors
/// The system's.
pub fn measure(typed: usize, piped: u32) -> io::Result<Outcome> {
    let cluster = Cluster::new();
    cluster.init("writer");
    let mut node = cluster.node_by("writer", &[]);
    node.event("ready");
    let mut pages = Pages::new(cluster.path())?;
    let (mut lines, mut page) = (Latencies::default(), Latencies::default());
    for number in 0..typed {
        page.note(pages.one()?);
        let start = Instant::now();
        node.line(&format!("pay bob {number}"));
        node.event("durable");
        lines.note(start.elapsed());
    }
    node.kill();

    cluster.init("piper");
    let input = cluster.path().join("lines");
    let nothing = pipe(&cluster, &input, 0)?;
    let all = pipe(&cluster, &input, piped)?;
    let took = all.saturating_sub(nothing).as_secs_f64();
    Ok(Outcome { typed: lines, page, piped_per_s: f64::from(piped) / took })
}

/// Time from the start of a node that is piped so many lines to its end.
fn pipe(cluster: &Cluster, input: &std::path::Path, lines: u32) -> io::Result<Duration> {
    let mut text = io::BufWriter::new(File::create(input)?);
    for number in 0..lines {
        writeln!(text, "pay bob {number}")?;
    }
    text.into_inner()?.sync_all()?;
    let start = Instant::now();
    // It has nobody to send them to, and says so at its end.
    cluster
        .program("piper")
        .args(["run", "piper", "--no-relay", "--timeout", "1", "--home"])
        .arg(cluster.home("piper"))
        .stdin(File::open(input)?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let took = start.elapsed();
    let entries = cluster.room("piper")["entries"].as_u64();
    assert_eq!(entries, Some(lines.into()), "all lines are kept");
    Ok(took)
}
