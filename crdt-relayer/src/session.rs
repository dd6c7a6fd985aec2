//! One websocket, accepted or dialled: frames in to the driver, queued frames out, pings, and an
//! end when nothing moves any more.

use std::time::Duration;

use bytes::Bytes;
use crdt_core::effect::{Link, PeerId};
use crdt_core::message::Frame;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_tungstenite::tungstenite;

use crate::driver::Driver;
use crate::outbound::{Kept, Level, Outbound, Outgoing};

/// Largest websocket message, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = crdt_core::limits::FRAME_BYTES_MAX;

/// Bytes of a connection's read buffer. The libraries' default is 128 KiB for each.
pub(crate) const READ_BUFFER_BYTES: usize = 8 * 1024;

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Silence after which a peer counts as gone: it has missed two pings.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Time for the first message of a peer.
const HELLO_MAX: Duration = Duration::from_secs(10);

/// Time that writing [`FLUSH_BYTES`] and one frame may take.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes written before they are flushed.
const FLUSH_BYTES: usize = 64 * 1024;

/// What comes in, whichever library read it.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Vec<u8>),
    Binary,
    /// A ping or pong: a sign of life.
    Alive,
    /// A close frame with this reason.
    Close(String),
}

/// What goes out, whichever library writes it.
#[derive(Debug)]
pub(crate) enum Wire {
    Text(Bytes),
    Ping,
    Close(u16, &'static str),
}

/// Why reading ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadError {
    /// A message was larger than [`MESSAGE_BYTES_MAX`].
    TooLarge,
    /// A text message was not UTF-8.
    Utf8,
    /// The connection failed.
    Lost,
}

impl ReadError {
    pub(crate) fn of(error: &tungstenite::Error) -> Self {
        if matches!(error, tungstenite::Error::Capacity(_)) {
            Self::TooLarge
        } else if matches!(error, tungstenite::Error::Utf8(_)) {
            Self::Utf8
        } else {
            Self::Lost
        }
    }
}

/// A frame shared by all who get it, as a buffer.
struct Shared(Frame);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// How a connection ended.
pub(crate) struct Ending {
    /// Why, in words.
    pub(crate) reason: String,
    /// The connection to the same peer that is kept instead.
    pub(crate) kept: Option<Kept>,
}

impl Ending {
    pub(crate) fn of(reason: String) -> Self {
        Self { reason, kept: None }
    }
}

/// Serves one connection until it ends or `stop` comes true.
pub(crate) async fn run<R, W>(
    driver: &Driver,
    read: R,
    write: W,
    stop: impl Future<Output = ()>,
    (peer, link): (PeerId, Link),
) -> Ending
where
    R: Stream<Item = Result<Incoming, ReadError>> + Unpin,
    W: Sink<Wire> + Unpin,
{
    let (outbound, outgoing, level) = Outbound::new();
    if driver.connected(peer, link, outbound.clone()).await.is_err() {
        return Ending::of("stopping".to_owned());
    }
    let mut reason = None;
    let reading = async {
        let (code, word, why) = tokio::select! {
            ended = reader(driver, peer, read, &level) => ended,
            () = stop => (1000, "bye", "offline".to_owned()),
        };
        reason = Some(why);
        outbound.close(code, word);
        // Gives the writer time to say so.
        std::future::pending().await
    };
    let written = tokio::select! {
        written = reading => written,
        written = writer(write, outgoing, &level) => written,
    };
    // A stopped driver has forgotten the peer already.
    let _stopped = driver.disconnected(peer).await;
    Ending { reason: reason.unwrap_or_else(|| written.in_words()), kept: level.kept() }
}

/// How writing ended.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// With a close frame for this reason.
    Closed(&'static str),
    /// The peer took nothing for too long.
    Stalled,
    /// The connection failed.
    Lost,
}

impl Written {
    fn in_words(self) -> String {
        match self {
            Self::Closed(reason) => format!("ended by this side: {reason}"),
            Self::Stalled => format!("the peer took nothing for {} s", WRITE_STALL_MAX.as_secs()),
            Self::Lost => "connection lost".to_owned(),
        }
    }
}

/// Reads until the connection ends. Returns how to close it, and why in words.
async fn reader<R>(
    driver: &Driver,
    peer: PeerId,
    mut read: R,
    level: &Level,
) -> (u16, &'static str, String)
where
    R: Stream<Item = Result<Incoming, ReadError>> + Unpin,
{
    let inlet = driver.inlet(peer);
    let mut introduced = false;
    let hello_by = Instant::now() + HELLO_MAX;
    loop {
        level.low().await;
        let silence = Instant::now() + SILENCE_MAX;
        let deadline = if introduced { silence } else { hello_by };
        let taken = match timeout_at(deadline, read.next()).await {
            Err(_) => return (1001, "silence", "the peer fell silent".to_owned()),
            Ok(None | Some(Err(ReadError::Lost))) => {
                return (1000, "bye", "connection lost".to_owned());
            }
            Ok(Some(Ok(Incoming::Close(reason)))) => {
                return (1000, "bye", format!("closed by the peer: {reason}"));
            }
            Ok(Some(Err(ReadError::TooLarge))) => {
                return (1009, "size", "the peer sent too large a message".to_owned());
            }
            Ok(Some(Err(ReadError::Utf8))) => {
                return (1007, "utf8", "the peer sent text that is not UTF-8".to_owned());
            }
            Ok(Some(Ok(Incoming::Alive))) => Ok(()),
            Ok(Some(Ok(Incoming::Binary))) => driver.received_binary(peer).await,
            Ok(Some(Ok(Incoming::Text(frame)))) => {
                introduced = true;
                inlet.received(frame).await
            }
        };
        if taken.is_err() {
            return (1001, "going-away", "stopping".to_owned());
        }
    }
}

/// Writes what is queued, in few system calls, until the connection ends or stalls.
async fn writer<W>(mut write: W, mut queue: UnboundedReceiver<Outgoing>, level: &Level) -> Written
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
                    Ok(Err(_)) => return Written::Lost,
                    Err(_) => return Written::Stalled,
                }
            }
        };
        let Some(first) = next else { return Written::Lost };
        match timeout(WRITE_STALL_MAX, write_batch(&mut write, first, &mut queue, level)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(reason))) => return Written::Closed(reason),
            Ok(Err(())) => return Written::Lost,
            Err(_) => return Written::Stalled,
        }
    }
}

/// Writes one frame and those queued behind it. Returns the reason of a close frame, which is the
/// last.
async fn write_batch<W>(
    write: &mut W,
    first: Outgoing,
    queue: &mut UnboundedReceiver<Outgoing>,
    level: &Level,
) -> Result<Option<&'static str>, ()>
where
    W: Sink<Wire> + Unpin,
{
    let mut next = Some(first);
    let mut written_bytes = 0;
    while written_bytes < FLUSH_BYTES {
        match next {
            None => break,
            Some(Outgoing::Close(code, reason)) => {
                // Where the peer closed first this fails, and the answer to it waits to be flushed.
                if write.send(Wire::Close(code, reason)).await.is_err() {
                    write.close().await.map_err(|_| ())?;
                }
                return Ok(Some(reason));
            }
            Some(Outgoing::Frame(frame)) => {
                let bytes = frame.len();
                written_bytes += bytes;
                let text = Bytes::from_owner(Shared(frame));
                let written = write.feed(Wire::Text(text)).await;
                level.sent(bytes);
                written.map_err(|_| ())?;
            }
        }
        let more = written_bytes < FLUSH_BYTES;
        next = if more { queue.try_recv().ok() } else { None };
    }
    write.flush().await.map_err(|_| ())?;
    Ok(None)
}
