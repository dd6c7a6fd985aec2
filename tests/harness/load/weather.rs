//! Members of a relayer before and during a siege.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crdt_core::op::Op;
use serde_json::{Map, Value};
use tokio::time::interval;

use super::figures::Latencies;
use super::member::{Clock, Member, hello};
use super::room::write;
use super::{Kind, Running};
use crate::flood::Author;
use crate::http::Server;
use crate::light::Light;

/// The room of the members.
pub const ROOM: &str = "honest";

/// Members, from two addresses.
const MEMBERS: u32 = 50;

/// Ops a second.
const RATE: u32 = 20;

/// Time between two that connect: an address may come 20 times a second.
const BETWEEN: Duration = Duration::from_millis(60);

/// Seconds before the siege in which the members are measured.
const BEFORE_S: u32 = 20;

/// A relayer that counts connections from this machine like any others.
const COUNTED: [&str; 1] = ["--trust-loopback=false"];

/// What members met in one of the three times that are measured.
#[derive(Debug)]
pub struct Phase {
    /// Half of the ops came within so many ms.
    pub p50_ms: f64,
    /// 99 % of the ops came within so many ms.
    pub p99_ms: f64,
    /// Ops that came to members.
    pub deliveries: usize,
    /// The most memory that the relayer has held until its end, in KiB.
    pub peak_kib: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Nothing else is going on.
    pub before: Phase,
    /// The same attackers besiege another relayer on this machine: what they cost its processors.
    pub beside: Phase,
    /// They besiege the members' own.
    pub during: Phase,
    /// What the members' relayer counted.
    pub counted: Value,
    /// What the attackers tried and met, on the other relayer and on this one.
    pub attackers: [Value; 2],
}

/// Measures members for some time, then while attackers besiege another relayer, then while they
/// besiege the members' own.
///
/// # Errors
/// A member's connection ended.
pub async fn besieged(attackers: u32, without: &[String], seconds: u32) -> io::Result<Outcome> {
    let server = Running::start(Kind::Relayer, &COUNTED);
    let other = Running::start(Kind::Relayer, &COUNTED);
    let ops = |seconds| (seconds * RATE) as usize;
    let chain = Author::new(1, ROOM).chain(ops(BEFORE_S + 2 * seconds));
    let clock = Clock::of(chain.len());
    let mut members = Vec::new();
    let mut due = interval(BETWEEN);
    for number in 0..MEMBERS {
        due.tick().await;
        let from = [127, 0, 0, 2 + u8::from(number % 2 == 0)].into();
        members.push(Member::enter(Kind::Relayer, (server.address, from), ROOM, number).await?);
    }
    let mut writer = Light::open(server.address, [127, 0, 0, 4].into()).await?;
    writer.say(&hello(u32::MAX)).await?;
    let mut honest = Honest { writer, members, clock, chain, written: 0 };
    let before = honest.phase(&server, ops(BEFORE_S)).await?;
    let besieging = besiege(&other, (attackers, without))?;
    let beside = honest.phase(&server, ops(seconds)).await?;
    let met_beside = ended(besieging).await?;
    drop(other);
    let besieging = besiege(&server, (attackers, without))?;
    let during = honest.phase(&server, ops(seconds)).await?;
    let attackers = [met_beside, ended(besieging).await?];
    Ok(Outcome { before, beside, during, counted: counted(&server).await, attackers })
}

/// Ends the attackers. Returns what they tried and met.
async fn ended(besieging: Child) -> io::Result<Value> {
    // Its input is closed.
    let output = tokio::task::spawn_blocking(|| besieging.wait_with_output()).await??;
    if !output.status.success() {
        return Err(io::Error::other(format!("the attackers failed: {}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Attackers in a process of their own, which gets what the others leave of the processors: what they
/// spend themselves is not what they cost a relayer.
fn besiege(server: &Running, (attackers, without): (u32, &[String])) -> io::Result<Child> {
    let address = server.address.to_string();
    Command::new("chrt")
        .args(["--idle", "0"])
        .arg(std::env::current_exe()?)
        .args(["besiege", &address, ROOM, &attackers.to_string()])
        .args(without)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// Who do what they should.
struct Honest {
    writer: Light,
    members: Vec<Member>,
    clock: Clock,
    chain: Vec<Op>,
    written: usize,
}

impl Honest {
    /// So many ops are written, and come to all members.
    async fn phase(&mut self, server: &Running, count: usize) -> io::Result<Phase> {
        let taking: Vec<_> = std::mem::take(&mut self.members)
            .into_iter()
            .map(|mut member| {
                let clock = self.clock.clone();
                tokio::spawn(async move {
                    let taken = member.take(&clock, count).await?;
                    Ok::<_, io::Error>((member, taken))
                })
            })
            .collect();
        let ops = &self.chain[self.written..][..count];
        write(&mut self.writer, &self.clock, ROOM, (ops, self.written, RATE)).await?;
        self.written += count;
        let mut latencies = Latencies::default();
        for taken in taking {
            let (member, taken) = taken.await??;
            self.members.push(member);
            latencies.join(taken);
        }
        let (p50_ms, p99_ms) = (latencies.ms(500), latencies.ms(990));
        Ok(Phase {
            p50_ms,
            p99_ms,
            deliveries: latencies.len(),
            peak_kib: server.process.peak_kib(),
        })
    }
}

/// What a relayer has counted of those it refused.
async fn counted(server: &Running) -> Value {
    let url = format!("ws://{}/websocket", server.address);
    let metrics = Server::of(&url).asked_from(5).get("/metrics").await;
    let refused = metrics.text().lines().filter_map(|line| {
        let (limit, count) =
            line.strip_prefix("crdt_relayer_refused_total{limit=\"")?.split_once("\"} ")?;
        Some((limit.to_owned(), count.parse::<u64>().ok()?.into()))
    });
    Value::Object(refused.collect::<Map<_, _>>())
}
