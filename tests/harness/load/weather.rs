//! Members of a relayer before and during a siege.

use std::io;
use std::process::{Command, Stdio};
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

/// What came of it. Pairs are before and during.
#[derive(Debug)]
pub struct Outcome {
    /// Half and 99 % of the ops came within so many ms.
    pub before: (f64, f64),
    /// The same during the siege.
    pub during: (f64, f64),
    /// Deliveries.
    pub deliveries: (usize, usize),
    /// The most memory that the relayer has held, in KiB.
    pub peak_kib: (u64, u64),
    /// What the relayer counted.
    pub counted: Value,
    /// What the attackers met.
    pub ends: Value,
}

/// Measures members for some time, then for as long as a siege goes on.
///
/// # Errors
/// A member's connection ended.
pub async fn besieged(attackers: u32, without: &[String], seconds: u32) -> io::Result<Outcome> {
    let server = Running::start(Kind::Relayer, &COUNTED);
    let (first, all) = ((BEFORE_S * RATE) as usize, ((BEFORE_S + seconds) * RATE) as usize);
    let chain = Author::new(1, ROOM).chain(all);
    let clock = Clock::of(all);
    let mut members = Vec::new();
    let mut due = interval(BETWEEN);
    for number in 0..MEMBERS {
        due.tick().await;
        let from = [127, 0, 0, 2 + u8::from(number % 2 == 0)].into();
        members.push(Member::enter(Kind::Relayer, (server.address, from), ROOM, number).await?);
    }
    let mut writer = Light::open(server.address, [127, 0, 0, 4].into()).await?;
    writer.say(&hello(u32::MAX)).await?;
    let mut honest = Honest { writer, members, clock };
    let mut before = honest.exchange(&chain[..first], 0).await?;
    let peak_before = server.process.peak_kib();
    let besieging = besiege(&server, (attackers, without), seconds)?;
    let mut during = honest.exchange(&chain[first..], first).await?;
    let peak_after = server.process.peak_kib();
    let ends = tokio::task::spawn_blocking(|| besieging.wait_with_output()).await??.stdout;
    let ends: Value = serde_json::from_slice(&ends).unwrap_or_default();
    Ok(Outcome {
        before: (before.ms(500), before.ms(990)),
        during: (during.ms(500), during.ms(990)),
        deliveries: (before.len(), during.len()),
        peak_kib: (peak_before, peak_after),
        counted: counted(&server).await,
        ends: ends["ends"].clone(),
    })
}

/// Attackers in a process of their own, which gives way to the others where they share a processor:
/// what they spend themselves is not what they cost a relayer.
fn besiege(
    server: &Running,
    (attackers, without): (u32, &[String]),
    seconds: u32,
) -> io::Result<std::process::Child> {
    let address = server.address.to_string();
    Command::new("nice")
        .args(["-n", "10"])
        .arg(std::env::current_exe()?)
        .args(["besiege", &address, ROOM, &attackers.to_string(), &seconds.to_string()])
        .args(without)
        .stdout(Stdio::piped())
        .spawn()
}

/// Who do what they should.
struct Honest {
    writer: Light,
    members: Vec<Member>,
    clock: Clock,
}

impl Honest {
    /// Ops are written, and come to all members. The first has this number.
    async fn exchange(&mut self, ops: &[Op], first: usize) -> io::Result<Latencies> {
        let taking: Vec<_> = std::mem::take(&mut self.members)
            .into_iter()
            .map(|mut member| {
                let (clock, count) = (self.clock.clone(), ops.len());
                tokio::spawn(async move {
                    let taken = member.take(&clock, count).await?;
                    Ok::<_, io::Error>((member, taken))
                })
            })
            .collect();
        write(&mut self.writer, &self.clock, ROOM, (ops, first, RATE)).await?;
        let mut latencies = Latencies::default();
        for taken in taking {
            let (member, taken) = taken.await??;
            self.members.push(member);
            latencies.join(taken);
        }
        Ok(latencies)
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
