//! One websocket, accepted or dialled: frames in to the driver, queued frames out, pings, and an
//! end when nothing moves any more.

use std::time::Duration;

use bytes::Bytes;
use crdt_core::effect::PeerId;
use crdt_core::message::Frame;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::driver::Driver;
use crate::outbound::{Level, Outbound, Outgoing};

/// Largest websocket message, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = crdt_core::limits::FRAME_BYTES_MAX;

/// Bytes of a connection's read buffer. The libraries' default is 128 KiB for each.
pub(crate) const READ_BUFFER_BYTES: usize = 8 * 1024;

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Silence after which a peer counts as gone: it has missed two pings.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Time a write may take without the peer taking anything.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Frames written before they are flushed.
const FLUSH_FRAMES: usize = 64;

/// What comes in, whichever library read it.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Vec<u8>),
    Binary,
    /// A ping or pong: a sign of life.
    Alive,
    Close,
}

/// What goes out, whichever library writes it.
#[derive(Debug)]
pub(crate) enum Wire {
    Text(Bytes),
    Ping,
    Close(u16, &'static str),
}

/// Why reading ended.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// A message was larger than [`MESSAGE_BYTES_MAX`].
    TooLarge,
    /// The connection failed.
    Lost,
}

/// A frame shared by all who get it, as a buffer.
struct Shared(Frame);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Serves one connection until it ends.
pub(crate) async fn run<R, W>(driver: &Driver, peer: PeerId, read: R, write: W)
where
    R: Stream<Item = Result<Incoming, ReadError>> + Unpin,
    W: Sink<Wire> + Unpin,
{
    let (outbound, outgoing, level) = Outbound::new();
    if driver.connected(peer, outbound.clone()).await.is_ok() {
        let reading = async {
            reader(driver, peer, read, &level, &outbound).await;
            // Gives the writer time to say why.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = reading => {}
            () = writer(write, outgoing, &level) => {}
        }
        // A stopped driver has forgotten the peer already.
        let _stopped = driver.disconnected(peer).await;
    }
}

/// Reads until the connection ends, then asks the writer to close it.
async fn reader<R>(driver: &Driver, peer: PeerId, mut read: R, level: &Level, outbound: &Outbound)
where
    R: Stream<Item = Result<Incoming, ReadError>> + Unpin,
{
    loop {
        level.low().await;
        let taken = match timeout(SILENCE_MAX, read.next()).await {
            Err(_) => return outbound.close(1001, "silence"),
            Ok(None | Some(Ok(Incoming::Close) | Err(ReadError::Lost))) => {
                return outbound.close(1000, "bye");
            }
            Ok(Some(Err(ReadError::TooLarge))) => return outbound.close(1009, "size"),
            Ok(Some(Ok(Incoming::Alive))) => Ok(()),
            Ok(Some(Ok(Incoming::Binary))) => driver.received_binary(peer).await,
            Ok(Some(Ok(Incoming::Text(frame)))) => driver.received(peer, frame).await,
        };
        if taken.is_err() {
            return outbound.close(1001, "going-away");
        }
    }
}

/// Writes what is queued, in few system calls, until the connection ends or stalls.
async fn writer<W>(mut write: W, mut queue: UnboundedReceiver<Outgoing>, level: &Level)
where
    W: Sink<Wire> + Unpin,
{
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            _ = ping.tick() => {
                match timeout(WRITE_STALL_MAX, write.send(Wire::Ping)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        };
        let Some(first) = next else { return };
        match timeout(WRITE_STALL_MAX, write_batch(&mut write, first, &mut queue, level)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(())) | Err(_) => return,
        }
    }
}

/// Writes one frame and those queued behind it; `false` after a close frame.
async fn write_batch<W>(
    write: &mut W,
    first: Outgoing,
    queue: &mut UnboundedReceiver<Outgoing>,
    level: &Level,
) -> Result<bool, ()>
where
    W: Sink<Wire> + Unpin,
{
    let mut next = Some(first);
    for _ in 0..FLUSH_FRAMES {
        match next {
            None => break,
            Some(Outgoing::Close(code, reason)) => {
                write.send(Wire::Close(code, reason)).await.map_err(|_| ())?;
                return Ok(false);
            }
            Some(Outgoing::Frame(frame)) => {
                let bytes = frame.len();
                let text = Bytes::from_owner(Shared(frame));
                let written = write.feed(Wire::Text(text)).await;
                level.sent(bytes);
                written.map_err(|_| ())?;
            }
        }
        next = queue.try_recv().ok();
    }
    write.flush().await.map_err(|_| ())?;
    Ok(true)
}
