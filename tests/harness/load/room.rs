//! Many members of one room: how long an op takes to each, and what each delivery costs the server.

use std::io;
use std::time::Duration;

use crdt_core::op::Op;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::figures::Latencies;
use super::member::{Clock, Member, hello};
use super::{HERE, Kind, Running};
use crate::client::ops as ops_message;
use crate::flood::Author;
use crate::light::Light;

/// The room.
const ROOM: &str = "load";

/// Members that connect at one time.
const AT_ONCE: u32 = 100;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Members of the room.
    pub members: u32,
    /// Ops a second.
    pub rate: u32,
    /// For so long.
    pub seconds: u32,
}

impl Plan {
    fn ops(self) -> usize {
        (self.rate * self.seconds) as usize
    }
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// From sending to receiving.
    pub latencies: Latencies,
    /// Processor time of the server for one delivery, in microseconds.
    pub cpu_us: f64,
    /// Ops a second that really were sent and received by all.
    pub rate: f64,
}

/// Measures one server.
///
/// # Errors
/// A connection ended.
pub async fn measure(kind: Kind, plan: Plan) -> io::Result<Outcome> {
    let chain = Author::new(1, ROOM).chain(plan.ops());
    let server = Running::open(kind);
    let clock = Clock::of(plan.ops());
    let mut members = Vec::new();
    for from in (0..plan.members).step_by(AT_ONCE as usize) {
        let to = (from + AT_ONCE).min(plan.members);
        let entering = (from..to)
            .map(|number| tokio::spawn(Member::enter(kind, (server.address, HERE), ROOM, number)));
        for entered in entering.collect::<Vec<_>>() {
            members.push(entered.await??);
        }
    }
    let taking: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            let clock = clock.clone();
            tokio::spawn(async move { member.take(&clock, plan.ops()).await })
        })
        .collect();
    let (ticks, started) = (server.process.ticks(), Instant::now());
    let mut writer = Light::open(server.address, HERE).await?;
    if kind == Kind::Relayer {
        writer.say(&hello(u32::MAX)).await?;
    }
    write(&mut writer, &clock, ROOM, (&chain, 0, plan.rate)).await?;
    let mut latencies = Latencies::default();
    for taken in taking {
        latencies.join(taken.await??);
    }
    let (ticks, took) = (server.process.ticks() - ticks, started.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (cpu_us, rate) =
        (ticks as f64 * 10_000.0 / latencies.len() as f64, plan.ops() as f64 / took.as_secs_f64());
    Ok(Outcome { latencies, cpu_us, rate })
}

/// Sends ops one by one, so many a second; the first has this number.
///
/// # Errors
/// The connection ended.
pub(super) async fn write(
    writer: &mut Light,
    clock: &Clock,
    room: &str,
    (chain, first, rate): (&[Op], usize, u32),
) -> io::Result<()> {
    let every = Duration::from_secs(1) / rate;
    let mut due = interval_at(Instant::now() + every, every);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    while sent < chain.len() {
        tokio::select! {
            _ = due.tick() => {
                let frame = ops_message(room, &[&chain[sent].to_string()]);
                clock.sent(first + sent);
                writer.say(&frame).await?;
                sent += 1;
            }
            heard = writer.hear() => drop(heard?),
        }
    }
    Ok(())
}
