//! Keeps a connection to another relayer or node: dials, serves, and dials again with growing,
//! jittered pauses.

use std::time::Duration;

use crdt_core::effect::{Link, PeerId};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use crate::address::{PlainText, UrlError, check_url};
use crate::distrust;
use crate::driver::Driver;
use crate::ended::{Cause, Ended};
use crate::pace::Pace;
use crate::pause::Pause;
use crate::roots::Roots;
use crate::session::{
    self, Connection, Ending, Incoming, MESSAGE_BYTES_MAX, Patience, ReadError, Wire, offline,
};

/// Time to connect and upgrade.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Bytes of a connection's read buffer, straight from the socket. The library's default is 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A websocket that this side has dialled.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How addresses are dialled: whom to believe, and where plain text may go. Made once per process;
/// clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    roots: Roots,
    plain: PlainText,
}

impl Dialer {
    /// One that believes these, and sends plain text only there.
    pub fn new(roots: Roots, plain: PlainText) -> Self {
        Self { roots, plain }
    }

    /// Whether a text is an address that this one dials.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn check(&self, url: &str) -> Result<(), UrlError> {
        check_url(url, self.plain)
    }

    /// Whom it believes.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Dials, once.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(&self, url: &str) -> Result<Socket, Ended> {
        self.check(url).map_err(|error| Ended::refused(error.to_string()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let connector = if url.starts_with("wss://") {
            Connector::Rustls(self.roots.config().await?)
        } else {
            Connector::Plain
        };
        let connecting = connect_async_tls_with_config(url, Some(config), true, Some(connector));
        match timeout(CONNECT_MAX, connecting).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(describe(&error, url)),
            Err(_) => Err(Ended::lost(format!("no answer within {} s", CONNECT_MAX.as_secs()))),
        }
    }
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
        /// What kind of end it was. After a refusal the pause grows to a minute.
        cause: Cause,
    },
}

impl LinkEvent {
    /// It has ended, and is dialled again after this pause.
    pub(crate) fn down(url: &str, ended: Ended, wait: Duration) -> Self {
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self::Down { url: url.to_owned(), reason: ended.why, retry_ms, cause: ended.cause }
    }
}

/// Where to dial, and what for.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where to.
    pub url: String,
    /// What for.
    pub link: Link,
    /// How.
    pub dialer: Dialer,
}

/// Dials until `online` ends: its sender is gone. While it says `false` nothing is dialled, and a
/// connection is dropped; when it says `true` again, it is dialled at once.
pub async fn keep(
    driver: Driver,
    route: Route,
    events: mpsc::Sender<LinkEvent>,
    mut online: watch::Receiver<bool>,
) {
    let mut pause = Pause::new();
    loop {
        if online.wait_for(|online| *online).await.is_err() {
            return;
        }
        let started = tokio::time::Instant::now();
        let Ending { how, kept } = serve(&driver, &route, &events, online.clone()).await;
        let ended = match kept {
            None => how,
            Some(kept) => {
                let up = LinkEvent::Up { url: route.url.clone(), peer: kept.peer };
                if events.send(up).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = kept.outbound.ended() => Ended::lost("connection lost"),
                    () = offline(online.clone()) => Ended::lost("offline"),
                }
            }
        };
        if online.has_changed().is_err() {
            // Whoever wanted this link wants to hear no more of it.
            return;
        }
        let wait = pause.next(started.elapsed(), ended.cause);
        if events.send(LinkEvent::down(&route.url, ended, wait)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = offline(online.clone()) => pause = Pause::new(),
        }
    }
}

/// One connection from dialling to its end; returns how it ended.
async fn serve(
    driver: &Driver,
    route: &Route,
    events: &mpsc::Sender<LinkEvent>,
    online: watch::Receiver<bool>,
) -> Ending {
    let connected = tokio::select! {
        connected = route.dialer.connect(&route.url) => connected,
        () = offline(online.clone()) => return Ended::lost("offline").into(),
    };
    let socket = match connected {
        Ok(socket) => socket,
        Err(ended) => return ended.into(),
    };
    let peer = driver.next_peer();
    if events.send(LinkEvent::Up { url: route.url.clone(), peer }).await.is_err() {
        return Ended::lost("stopping").into();
    }
    let (write, read) = socket.split();
    let read = read.map(|message| match message {
        Ok(Message::Text(text)) => Ok(Incoming::Text(text.into())),
        Ok(Message::Binary(_)) => Ok(Incoming::Binary),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Incoming::Alive),
        Ok(Message::Close(close)) => {
            let close = close.map(|close| (close.code.into(), close.reason.to_string()));
            let (code, reason) = close.unwrap_or_default();
            Ok(Incoming::Close(code, reason))
        }
        Err(error) => Err(ReadError::of(&error)),
    });
    let write = write.with(|wire: Wire| std::future::ready(message(wire)));
    // Whom this side chose is read as fast as it sends.
    let (pace, patience) = (Pace::default(), Patience::default());
    let connection = Connection { peer, link: route.link, address: None, pace, patience };
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

fn describe(error: &Error, url: &str) -> Ended {
    if let Error::Io(error) = error {
        return if error.kind() == std::io::ErrorKind::ConnectionRefused {
            Ended::lost("connection refused")
        } else {
            distrust::of_io(error)
        };
    }
    if let Error::Http(response) = error {
        let status = response.status();
        // Too early and too often are about time, and a server's own fault may be mended.
        let passing = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
        let elsewhere = if matches!(status.as_u16(), 200 | 404) {
            ": is it a relayer's or node's address, ending in /websocket?"
        } else {
            ""
        };
        let why = format!("the other side answers HTTP {status}{elsewhere}");
        return if passing { Ended::lost(why) } else { Ended::refused(why) };
    }
    if let Error::Protocol(ProtocolError::HttparseError(_)) = error {
        let instead = if url.starts_with("ws://") { ": dial wss:// if it encrypts" } else { "" };
        return Ended::lost(format!("what answers there is not HTTP{instead}"));
    }
    Ended::lost(error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Why nobody is connected where this is the answer to everything.
    async fn why(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/websocket", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
        });
        Dialer::default().connect(&url).await.unwrap_err().why
    }

    #[tokio::test]
    async fn who_dials_an_address_of_something_else_is_told_which_to_dial() {
        // What TLS says to plain text: a fatal alert.
        let alert = why(&[0x15, 3, 3, 0, 2, 2, 22]).await;
        assert_eq!(alert, "what answers there is not HTTP: dial wss:// if it encrypts");
        for (head, status) in [("200", "200 OK"), ("404", "404 Not Found")] {
            let answer = format!("HTTP/1.1 {head} x\r\ncontent-length: 0\r\n\r\n");
            let told = why(answer.leak().as_bytes()).await;
            let asked = "is it a relayer's or node's address, ending in /websocket?";
            assert_eq!(told, format!("the other side answers HTTP {status}: {asked}"));
        }
        let told = why(b"HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(told, "the other side answers HTTP 403 Forbidden");
    }
}
