//! Keeps a connection to another relayer or node: dials, serves, and dials again with growing,
//! jittered pauses.

use std::time::Duration;

use crdt_core::effect::{Link, PeerId};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::driver::Driver;
use crate::session::{self, Ending, Incoming, MESSAGE_BYTES_MAX, ReadError, Wire};

/// Time to connect and upgrade.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// First pause before dialling again; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A connection that held this long was good: the next pause is the first again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// Why an address cannot be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It asks for TLS.
    #[error("wss:// is not supported by this version")]
    Tls,
    /// It is no websocket address.
    #[error("not a websocket address")]
    Malformed,
}

/// Whether a text is an address this version can dial.
///
/// # Errors
/// [`UrlError`].
pub fn check_url(url: &str) -> Result<(), UrlError> {
    if url.starts_with("wss://") {
        return Err(UrlError::Tls);
    }
    let host = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
    let host = host.filter(|host| !host.is_empty() && !url.contains(char::is_whitespace));
    host.map(drop).ok_or(UrlError::Malformed)
}

/// What becomes of a link.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// It is connected, under this number.
    Up {
        /// Where to.
        url: String,
        /// The number.
        peer: PeerId,
    },
    /// It is not: dialling again after a pause.
    Down {
        /// Where to.
        url: String,
        /// Why.
        reason: String,
        /// The pause.
        retry_ms: u64,
    },
}

/// Where to dial, and what for.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where to.
    pub url: String,
    /// What for.
    pub link: Link,
}

/// Dials until `online` ends. While it says `false` nothing is dialled and a connection is dropped.
pub async fn keep(
    driver: Driver,
    route: Route,
    events: mpsc::Sender<LinkEvent>,
    mut online: watch::Receiver<bool>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        if online.wait_for(|online| *online).await.is_err() {
            return;
        }
        let started = tokio::time::Instant::now();
        let ending = serve(&driver, &route, &events, online.clone()).await;
        let reason = match ending.kept {
            None => ending.reason,
            Some(kept) => {
                let up = LinkEvent::Up { url: route.url.clone(), peer: kept.peer };
                if events.send(up).await.is_err() {
                    return;
                }
                kept.outbound.ended().await;
                "connection lost".to_owned()
            }
        };
        if started.elapsed() >= GOOD_AFTER {
            pause = PAUSE_FIRST;
        }
        let wait = jittered(pause);
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let down = LinkEvent::Down { url: route.url.clone(), reason, retry_ms };
        if events.send(down).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits until the switch says offline or is gone.
async fn offline(mut online: watch::Receiver<bool>) {
    // Gone is as good as off.
    let _gone = online.wait_for(|online| !*online).await.is_err();
}

/// Between half of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    // Without randomness the pause is only less spread.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// One connection from dialling to its end; returns why it ended.
async fn serve(
    driver: &Driver,
    route: &Route,
    events: &mpsc::Sender<LinkEvent>,
    online: watch::Receiver<bool>,
) -> Ending {
    let config = WebSocketConfig::default()
        .read_buffer_size(session::READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let connecting = connect_async_with_config(&route.url, Some(config), true);
    let socket = match timeout(CONNECT_MAX, connecting).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return Ending::of(describe(&error)),
        Err(_) => return Ending::of("no answer within 10 s".to_owned()),
    };
    let peer = driver.next_peer();
    if events.send(LinkEvent::Up { url: route.url.clone(), peer }).await.is_err() {
        return Ending::of("stopping".to_owned());
    }
    let (write, read) = socket.split();
    let read = read.map(|message| match message {
        Ok(Message::Text(text)) => Ok(Incoming::Text(text.as_bytes().to_vec())),
        Ok(Message::Binary(_)) => Ok(Incoming::Binary),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Incoming::Alive),
        Ok(Message::Close(close)) => {
            Ok(Incoming::Close(close.map(|close| close.reason.to_string()).unwrap_or_default()))
        }
        Err(error) => Err(ReadError::of(&error)),
    });
    let write = write.with(|wire: Wire| std::future::ready(message(wire)));
    let connection = (peer, route.link);
    session::run(driver, Box::pin(read), Box::pin(write), offline(online), connection).await
}

fn message(wire: Wire) -> Result<Message, Error> {
    Ok(match wire {
        Wire::Text(text) => Message::Text(
            Utf8Bytes::try_from(text).map_err(|error| Error::Utf8(error.to_string()))?,
        ),
        Wire::Ping => Message::Ping(bytes::Bytes::new()),
        Wire::Close(code, reason) => {
            Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() }))
        }
    })
}

fn describe(error: &Error) -> String {
    if let Error::Io(error) = error
        && error.kind() == std::io::ErrorKind::ConnectionRefused
    {
        return "connection refused".to_owned();
    }
    error.to_string()
}
