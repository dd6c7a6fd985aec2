//! One websocket, accepted or dialled: frames in to the driver, queued frames out, pings, and an
//! end when nothing moves any more.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use crdt_core::effect::{Link, PeerId};
use crdt_core::message::Frame;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::driver::{Driver, Inlet};
use crate::ended::Ended;
use crate::limits::Limits;
use crate::outbound::{Backlog, Kept, Outbound, Outgoing};
use crate::pace::Pace;
use crate::stall::TookTooLittle;

/// Largest websocket message, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = crdt_core::limits::FRAME_BYTES_MAX;

/// Pings in the time after which a silent peer counts as gone: it has missed two.
const PINGS: u32 = 3;

/// Time for the first message of a peer.
const HELLO_MAX: Duration = Duration::from_secs(10);

/// Bytes written before they are flushed.
const FLUSH_BYTES: usize = 64 * 1024;

/// What comes in, whichever library read it.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Bytes),
    Binary,
    /// A ping or pong: a sign of life.
    Alive,
    /// A close frame with this code and reason.
    Close(u16, String),
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
    /// What came is no frame that a peer may send.
    Malformed,
    /// What was written meanwhile was taken too slowly.
    Slow,
    /// The connection failed.
    Lost,
}

impl ReadError {
    pub(crate) fn of(error: &tungstenite::Error) -> Self {
        let over = |error: &ProtocolError| {
            matches!(
                error,
                ProtocolError::ResetWithoutClosingHandshake
                    | ProtocolError::ReceivedAfterClosing
                    | ProtocolError::SendAfterClosing
            )
        };
        if matches!(error, tungstenite::Error::Capacity(_)) {
            Self::TooLarge
        } else if matches!(error, tungstenite::Error::Utf8(_)) {
            Self::Utf8
        } else if matches!(error, tungstenite::Error::Protocol(error) if !over(error)) {
            Self::Malformed
        } else if matches!(WriteError::from(error), WriteError::Slow) {
            Self::Slow
        } else {
            Self::Lost
        }
    }

    /// How the connection is closed then.
    pub(crate) fn close(self) -> (u16, &'static str) {
        match self {
            Self::TooLarge => (1009, "size"),
            Self::Utf8 => (1007, "utf8"),
            Self::Malformed => (1002, "frame"),
            Self::Slow => (1008, "slow"),
            Self::Lost => (1000, "bye"),
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::TooLarge => "the peer sent too large a message",
            Self::Utf8 => "the peer sent text that is not UTF-8",
            Self::Malformed => "the peer sent what is no frame",
            Self::Slow => "the peer took too little",
            Self::Lost => "connection lost",
        }
    }
}

/// Why writing failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WriteError {
    /// The other side took too little.
    Slow,
    /// The connection failed.
    Lost,
}

impl From<&tungstenite::Error> for WriteError {
    fn from(error: &tungstenite::Error) -> Self {
        let stalled = |error: &io::Error| {
            error.get_ref().and_then(|why| why.downcast_ref::<TookTooLittle>()).is_some()
        };
        if matches!(error, tungstenite::Error::Io(error) if stalled(error)) {
            Self::Slow
        } else {
            Self::Lost
        }
    }
}

impl From<tungstenite::Error> for WriteError {
    fn from(error: tungstenite::Error) -> Self {
        Self::from(&error)
    }
}

/// A frame shared by all who get it, as a buffer.
struct Shared(Frame);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Waits until the switch says offline or is gone.
pub(crate) async fn offline(mut online: watch::Receiver<bool>) {
    // Gone is as good as off.
    let _gone = online.wait_for(|online| !*online).await.is_err();
}

/// The end of a connection.
pub(crate) struct Ending {
    /// How it ended.
    pub(crate) how: Ended,
    /// The connection to the same peer that is kept instead.
    pub(crate) kept: Option<Kept>,
}

impl From<Ended> for Ending {
    fn from(how: Ended) -> Self {
        Self { how, kept: None }
    }
}

/// A connection, as the replica and the limits know it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What the replica knows it by.
    pub(crate) peer: PeerId,
    /// How it came about.
    pub(crate) link: Link,
    /// Whose share of what may wait it uses.
    pub(crate) address: Option<IpAddr>,
    /// How fast it is read.
    pub(crate) pace: Pace,
    /// How long it may do nothing.
    pub(crate) patience: Patience,
}

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Silence after which the peer counts as gone.
    pub(crate) idle: Duration,
    /// Time that writing [`FLUSH_BYTES`] and one frame may take.
    pub(crate) stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for Patience {
    fn from(limits: &Limits) -> Self {
        Self { idle: limits.idle_time, stall: limits.stall_time }
    }
}

/// Serves one connection until it ends or `stop` comes true.
pub(crate) async fn run<R, W>(
    driver: &Driver,
    read: R,
    write: W,
    stop: impl Future<Output = ()>,
    connection: Connection,
) -> Ending
where
    R: Stream<Item = Result<Incoming, ReadError>> + Unpin,
    W: Sink<Wire, Error: Into<WriteError>> + Unpin,
{
    let Connection { peer, link, address, pace, patience } = connection;
    let (outbound, outgoing, backlog) = Outbound::new(pace);
    let Ok(inlet) = driver.connected((peer, address), link, outbound.clone()).await else {
        return Ended::lost("stopping").into();
    };
    let (mut how, mut slow) = (None, false);
    let reading = async {
        let (code, word, ended) = tokio::select! {
            ended = reader(&inlet, read, (&backlog, patience)) => ended,
            () = stop => (1000, "bye", Ended::lost("offline")),
        };
        how = Some(ended);
        slow = word == "slow";
        outbound.close(code, word);
        // Gives the writer time to say so.
        std::future::pending().await
    };
    let written = tokio::select! {
        written = reading => written,
        written = writer(write, outgoing, (&backlog, patience)) => written,
    };
    // Reading writes too, and may be the first to find it.
    if slow || written.is_slow() {
        driver.counts().dropped_slow();
    }
    // A stopped driver has forgotten the peer already.
    let _stopped = inlet.disconnected().await;
    Ending { how: how.unwrap_or_else(|| written.ended()), kept: backlog.kept() }
}

/// How writing ended.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// With a close frame of this code and reason.
    Closed(u16, &'static str),
    /// The peer took too little for so long.
    Stalled(Duration),
    /// The connection failed.
    Lost,
}

impl Written {
    fn failed(error: WriteError, patience: Patience) -> Self {
        match error {
            WriteError::Slow => Self::Stalled(patience.stall),
            WriteError::Lost => Self::Lost,
        }
    }

    /// Whether the peer took too little in the stall time, or let 16 MiB wait.
    fn is_slow(self) -> bool {
        matches!(self, Self::Stalled(_) | Self::Closed(_, "slow"))
    }

    fn ended(self) -> Ended {
        match self {
            Self::Closed(code, reason) => Ended::by_this_side(code, reason),
            Self::Stalled(time) => {
                Ended::lost(format!("the peer took too little for {} s", time.as_secs()))
            }
            Self::Lost => Ended::lost("connection lost"),
        }
    }
}

/// Reads until the connection ends. Returns how to close it, and how it ended.
async fn reader<R>(
    inlet: &Inlet,
    mut read: R,
    (backlog, patience): (&Backlog, Patience),
) -> (u16, &'static str, Ended)
where
    R: Stream<Item = Result<Incoming, ReadError>> + Unpin,
{
    let mut introduced = false;
    let hello_by = Instant::now() + HELLO_MAX;
    loop {
        backlog.low().await;
        backlog.pace().ready().await;
        let silence = Instant::now() + patience.idle;
        let deadline = if introduced { silence } else { hello_by };
        let taken = match timeout_at(deadline, read.next()).await {
            Err(_) => return (1001, "silence", Ended::lost("the peer fell silent")),
            Ok(None) => return (1000, "bye", Ended::lost("connection lost")),
            Ok(Some(Err(error))) => {
                let (code, reason) = error.close();
                return (code, reason, Ended::lost(error.sentence()));
            }
            Ok(Some(Ok(Incoming::Close(code, reason)))) => {
                return (1000, "bye", Ended::by_the_peer(code, &reason));
            }
            Ok(Some(Ok(Incoming::Alive))) => Ok(()),
            Ok(Some(Ok(Incoming::Binary))) => inlet.received_binary().await,
            Ok(Some(Ok(Incoming::Text(frame)))) => {
                introduced = true;
                backlog.pace().took_bytes(frame.len());
                inlet.received(frame).await
            }
        };
        if taken.is_err() {
            return (1001, "going-away", Ended::lost("stopping"));
        }
    }
}

/// Writes what is queued, in few system calls, until the connection ends or stalls.
async fn writer<W>(
    mut write: W,
    mut queue: UnboundedReceiver<Outgoing>,
    (backlog, patience): (&Backlog, Patience),
) -> Written
where
    W: Sink<Wire, Error: Into<WriteError>> + Unpin,
{
    let mut ping = interval(patience.idle / PINGS);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            _ = ping.tick() => {
                match timeout(patience.stall, write.send(Wire::Ping)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return Written::failed(error.into(), patience),
                    Err(_) => return Written::Stalled(patience.stall),
                }
            }
        };
        let Some(first) = next else { return Written::Lost };
        match timeout(patience.stall, write_batch(&mut write, first, &mut queue, backlog)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((code, reason)))) => return Written::Closed(code, reason),
            Ok(Err(error)) => return Written::failed(error, patience),
            Err(_) => return Written::Stalled(patience.stall),
        }
    }
}

/// Writes one frame and those queued behind it. Returns code and reason of a close frame, which is
/// the last.
async fn write_batch<W>(
    write: &mut W,
    first: Outgoing,
    queue: &mut UnboundedReceiver<Outgoing>,
    backlog: &Backlog,
) -> Result<Option<(u16, &'static str)>, WriteError>
where
    W: Sink<Wire, Error: Into<WriteError>> + Unpin,
{
    let mut next = Some(first);
    let mut written_bytes = 0;
    while written_bytes < FLUSH_BYTES {
        match next {
            None => break,
            Some(Outgoing::Close(close)) => {
                let (code, reason) = *close;
                // Where the peer closed first this fails, and the answer to it waits to be flushed.
                if write.send(Wire::Close(code, reason)).await.is_err() {
                    write.close().await.map_err(Into::into)?;
                }
                return Ok(Some((code, reason)));
            }
            Some(Outgoing::Frame(frame)) => {
                let bytes = frame.len();
                written_bytes += bytes;
                let text = Bytes::from_owner(Shared(frame));
                let written = write.feed(Wire::Text(text)).await;
                backlog.sent(bytes);
                written.map_err(Into::into)?;
            }
        }
        let more = written_bytes < FLUSH_BYTES;
        next = if more { queue.try_recv().ok() } else { None };
    }
    write.flush().await.map_err(Into::into)?;
    Ok(None)
}
