//! The websocket: upgrades, and serves the protocol of nodes and relayers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use crdt_core::effect::{Link, PeerId};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;

use super::Host;
use super::problem::Problem;
use crate::admission::Seat;
use crate::ended::Cause;
use crate::session::{
    self, Connection, Incoming, MESSAGE_BYTES_MAX, ReadError, Wire, WriteError, offline,
};

/// Bytes of a connection's read buffer, kept as long as it is open. The library's default is 128
/// KiB; it reads from `read_ahead`, which has larger pieces at hand.
const READ_BUFFER_BYTES: usize = 512;

/// The connections that were accepted and have not ended.
#[derive(Clone, Debug)]
pub struct Guests {
    open: Arc<Mutex<BTreeSet<PeerId>>>,
    left: mpsc::Sender<Left>,
}

impl Guests {
    /// None yet. `left` is told of each that ends.
    pub fn new(left: mpsc::Sender<Left>) -> Self {
        Self { open: Arc::default(), left }
    }

    /// Whether a connection is one of them. One that is will be told of when it ends.
    pub fn has(&self, peer: PeerId) -> bool {
        self.open().contains(&peer)
    }

    /// A thread that panicked in between leaves the set usable.
    fn open(&self) -> MutexGuard<'_, BTreeSet<PeerId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was accepted has ended.
#[derive(Clone, Debug)]
pub struct Left {
    /// Which one.
    pub peer: PeerId,
    /// Why.
    pub reason: String,
    /// What kind of end it was.
    pub cause: Cause,
}

/// Upgrades to the protocol.
pub(crate) async fn websocket(
    State(host): State<Arc<Host>>,
    Extension(seat): Extension<Seat>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    if !*host.service.online.borrow() {
        return Err(Problem::unavailable("offline", "Whoever listens here is offline; try later."));
    }
    let upgrade = upgrade.map_err(|refused| {
        let detail = format!("{}; connect with a websocket client.", refused.body_text());
        Problem::new(refused.status(), "upgrade", detail)
    })?;
    Ok(limited(upgrade).on_upgrade(move |socket| serve(host, socket, seat)).into_response())
}

/// A websocket with the limits of a relayer's.
pub fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
}

/// Code and reason with which a relayer closes a connection on which this was read.
/// Source: `docs/PROTOCOL.md`, "Close codes".
pub fn close_for(error: axum::Error) -> (u16, &'static str) {
    read_error(error).close()
}

/// Serves a connection until it ends, which then gives up its seat. Many wait here and do nothing:
/// what an asynchronous function is given stays in it, so the socket is taken apart before.
fn serve(host: Arc<Host>, socket: WebSocket, seat: Seat) -> impl Future<Output = ()> {
    let (write, read) = socket.split();
    let read = read.map(|message| match message {
        // Copied: it may wait, and would keep all that was read along with it.
        Ok(Message::Text(text)) => Ok(Incoming::Text(Bytes::copy_from_slice(text.as_bytes()))),
        Ok(Message::Binary(_)) => Ok(Incoming::Binary),
        Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Incoming::Alive),
        Ok(Message::Close(close)) => {
            let close = close.map(|close| (close.code, close.reason.to_string()));
            let (code, reason) = close.unwrap_or_default();
            Ok(Incoming::Close(code, reason))
        }
        Err(error) => Err(read_error(error)),
    });
    let write = write.with(|wire: Wire| std::future::ready(message(wire)));
    let (read, write) = (Box::pin(read), Box::pin(write));
    async move {
        let Host { driver, service } = &*host;
        let peer = driver.next_peer();
        if let Some(guests) = &service.guests {
            guests.open().insert(peer);
        }
        let stop = offline(service.online.clone());
        let (address, pace, patience) = (seat.address(), seat.pace(), seat.patience());
        let connection = Connection { peer, link: Link::ACCEPTED, address, pace, patience };
        let ended = session::run(driver, read, write, stop, connection).await;
        if let Some(guests) = &service.guests {
            guests.open().remove(&peer);
            let left = Left { peer, reason: ended.how.why, cause: ended.how.cause };
            // Whoever wanted to know may have stopped.
            let _stopped = guests.left.send(left).await;
        }
        drop(seat);
    }
}

fn read_error(error: axum::Error) -> ReadError {
    error.into_inner().downcast_ref().map_or(ReadError::Lost, ReadError::of)
}

impl From<axum::Error> for WriteError {
    fn from(error: axum::Error) -> Self {
        let error = error.into_inner();
        error.downcast_ref::<tungstenite::Error>().map_or(Self::Lost, Self::from)
    }
}

fn message(wire: Wire) -> Result<Message, axum::Error> {
    Ok(match wire {
        Wire::Text(text) => Message::Text(Utf8Bytes::try_from(text).map_err(axum::Error::new)?),
        Wire::Ping => Message::Ping(bytes::Bytes::new()),
        Wire::Close(code, reason) => {
            Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;
    use crate::stall::TookTooLittle;

    #[test]
    fn who_takes_too_little_is_told_from_who_is_lost() {
        let of = |error: Error| WriteError::from(axum::Error::new(tungstenite::Error::Io(error)));
        assert!(matches!(of(Error::other(TookTooLittle)), WriteError::Slow));
        assert!(matches!(of(ErrorKind::TimedOut.into()), WriteError::Lost), "the system's");
        assert!(matches!(WriteError::from(axum::Error::new("other")), WriteError::Lost));
    }
}
