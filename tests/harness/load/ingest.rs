//! How fast a relayer takes ops, each acknowledged once it is on disk.

use std::io;
use std::time::Instant;

use crdt_core::op::Op;

use super::member::hello;
use super::{HERE, Kind, Running};
use crate::client::ops as ops_message;
use crate::flood::Author;
use crate::light::Light;

const ROOM: &str = "ingest";

/// Ops under way of one publisher: less than the window that it was given.
const UNDER_WAY_MAX: usize = 1_500;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Publishers, each an author.
    pub publishers: u32,
    /// Ops of each.
    pub ops: usize,
    /// Ops in one message.
    pub per_message: usize,
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// Ops acknowledged a second.
    pub per_s: f64,
    /// Processor time of the relayer for each, in microseconds.
    pub cpu_us: f64,
    /// Checking one of their signatures, in microseconds.
    pub check_us: f64,
}

/// Measures a relayer.
///
/// # Errors
/// A connection ended.
pub async fn measure(plan: Plan) -> io::Result<Outcome> {
    let chains: Vec<Vec<Op>> =
        (0..plan.publishers).map(|number| Author::new(number, ROOM).chain(plan.ops)).collect();
    let sample = &chains[0][..plan.ops.min(20_000)];
    let check_us = super::floor::checks(sample).as_secs_f64() * 1e6 / count(sample.len());
    let server = Running::open(Kind::Relayer);
    let mut publishing = Vec::new();
    for (chain, number) in chains.iter().zip(0..) {
        let mut link = Light::open(server.address, HERE).await?;
        link.say(&hello(number)).await?;
        let messages: Vec<(usize, String)> = chain
            .chunks(plan.per_message)
            .map(|ops| {
                let texts: Vec<String> = ops.iter().map(Op::to_string).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                (ops.len(), ops_message(ROOM, &texts))
            })
            .collect();
        publishing.push((link, messages));
    }
    let (ticks, start) = (server.process.ticks(), Instant::now());
    let publishing: Vec<_> = publishing
        .into_iter()
        .map(|(link, messages)| tokio::spawn(publish(link, messages)))
        .collect();
    for published in publishing {
        published.await??;
    }
    let (ticks, took) = (server.process.ticks() - ticks, start.elapsed().as_secs_f64());
    let ops = count(plan.ops) * f64::from(plan.publishers);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let cpu_us = ticks as f64 * 10_000.0 / ops;
    Ok(Outcome { per_s: ops / took, cpu_us, check_us })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn count(count: usize) -> f64 {
    count as f64
}

/// Sends all messages, as fast as their ops are acknowledged.
async fn publish(mut link: Light, messages: Vec<(usize, String)>) -> io::Result<()> {
    let mut under_way = 0;
    for (ops, message) in messages {
        while under_way + ops > UNDER_WAY_MAX {
            under_way -= acknowledged(link.hear().await?);
        }
        link.say(&message).await?;
        under_way += ops;
        while link.has_more() {
            under_way -= acknowledged(link.hear().await?);
        }
    }
    while under_way > 0 {
        under_way -= acknowledged(link.hear().await?);
    }
    Ok(())
}

/// Ops that a message says are stored.
fn acknowledged(text: &[u8]) -> usize {
    if !text.starts_with(br#"{"type":"ack""#) {
        return 0;
    }
    let text = String::from_utf8_lossy(text);
    let stored = text
        .split_once("\"stored\":")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    stored.expect("an ack says how many are stored")
}
