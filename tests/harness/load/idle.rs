//! Memory of connections that say nothing.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::member::{Clock, Member, hello};
use super::{HERE, Kind, Running};
use crate::light::Light;

/// Connections opened at one time.
const AT_ONCE: u32 = 200;

/// Bytes of memory for each of so many idle connections: they have said `hello` and nothing since.
///
/// # Errors
/// A connection ended.
pub async fn bytes_per_connection(kind: Kind, connections: u32) -> io::Result<f64> {
    let server = Running::open(kind);
    let mut idle = open(kind, &server, 0..AT_ONCE.min(connections)).await?;
    // What the first ones made it load is not theirs.
    let before = server.process.resident_kib();
    let first = u32::try_from(idle.len()).unwrap_or(u32::MAX);
    for from in (first..connections).step_by(AT_ONCE as usize) {
        idle.extend(open(kind, &server, from..(from + AT_ONCE).min(connections)).await?);
    }
    let grown = server.process.resident_kib().saturating_sub(before);
    let counted = connections.saturating_sub(first).max(1);
    drop(idle);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = (grown * 1_024) as f64;
    Ok(bytes / f64::from(counted))
}

/// Processor time, in seconds, that a room of so many members takes who say nothing for so long.
///
/// # Errors
/// A connection ended.
pub async fn processor_s(members: u32, time: Duration) -> io::Result<f64> {
    let server = Running::open(Kind::Relayer);
    let mut room = Vec::new();
    for number in 0..members {
        let address = (server.address, HERE);
        room.push(Member::enter(Kind::Relayer, address, "idle", number).await?);
    }
    let ticks = server.process.ticks();
    let silence = Clock::of(0);
    let listening = room.iter_mut().map(|member| timeout(time, member.take(&silence, 1)));
    join_all(listening).await;
    let ticks = server.process.ticks() - ticks;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let seconds = ticks as f64 / 100.0;
    Ok(seconds)
}

async fn open(
    kind: Kind,
    server: &Running,
    numbers: std::ops::Range<u32>,
) -> io::Result<Vec<Light>> {
    let opened = numbers.map(|number| {
        let address = server.address;
        tokio::spawn(async move {
            let mut light = Light::open(address, HERE).await?;
            if kind == Kind::Relayer {
                light.say(&hello(number)).await?;
                light.hear().await?;
            }
            light.rest();
            Ok::<_, io::Error>(light)
        })
    });
    let mut links = Vec::new();
    for opened in opened.collect::<Vec<_>>() {
        links.push(opened.await??);
    }
    Ok(links)
}
