//! What a relayer, or a node that listens, answers over HTTP: the websocket and a few plain pages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use crdt_core::effect::{Link, PeerId};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};

use crate::admission::Seat;
use crate::browsers::{self, Guard};
use crate::driver::Driver;
use crate::ended::Cause;
use crate::session::{
    self, Incoming, MESSAGE_BYTES_MAX, READ_BUFFER_BYTES, ReadError, Wire, offline,
};

/// Who listens, and whether it lets anybody in.
#[derive(Clone, Debug)]
pub struct Service {
    /// The program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// While this says `false`, or its sender is gone, nobody is let in and whoever is in is
    /// disconnected.
    pub online: watch::Receiver<bool>,
    /// Who is in, if somebody wants to know.
    pub guests: Option<Guests>,
}

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

#[derive(Debug)]
struct Host {
    driver: Driver,
    service: Service,
}

/// The routes of a relayer, or of a node that listens.
pub fn app(driver: Driver, service: Service, guard: Guard) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/healthz", get(healthz))
        .route("/version", get(version))
        .route("/websocket", get(websocket))
        .with_state(Arc::new(Host { driver, service }))
        .layer(from_fn_with_state(guard, browsers::guard))
}

async fn about(State(host): State<Arc<Host>>) -> String {
    format!(
        "{} {}\nIt keeps the signed operations of its rooms and passes them on.\n\
         It can delay or withhold those of others; it cannot forge or change any.\n\
         Websocket: /websocket   Health: /healthz   Version: /version\n",
        host.service.name, host.service.version
    )
}

/// Healthy means that the driver answers: it has not stopped over a failed write.
async fn healthz(State(host): State<Arc<Host>>) -> (StatusCode, &'static str) {
    match host.driver.query(|_| ()).await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped\n"),
    }
}

async fn version(State(host): State<Arc<Host>>) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "name": host.service.name,
        "version": host.service.version,
        "protocol": crdt_core::head::VERSION,
    }))
}

/// Upgrades to the protocol.
async fn websocket(
    State(host): State<Arc<Host>>,
    Extension(seat): Extension<Seat>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !*host.service.online.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "offline\n").into_response();
    }
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            serve(&host, socket).await;
            drop(seat);
        })
        .into_response()
}

async fn serve(host: &Host, socket: WebSocket) {
    let (write, read) = socket.split();
    let read = read.map(|message| match message {
        Ok(Message::Text(text)) => Ok(Incoming::Text(text.as_str().as_bytes().to_vec())),
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
    let Host { driver, service } = host;
    let peer = driver.next_peer();
    if let Some(guests) = &service.guests {
        guests.open().insert(peer);
    }
    let stop = offline(service.online.clone());
    let ended = session::run(driver, read, write, stop, (peer, Link::ACCEPTED)).await;
    if let Some(guests) = &service.guests {
        guests.open().remove(&peer);
        let left = Left { peer, reason: ended.how.why, cause: ended.how.cause };
        // Whoever wanted to know may have stopped.
        let _stopped = guests.left.send(left).await;
    }
}

fn read_error(error: axum::Error) -> ReadError {
    error.into_inner().downcast_ref().map_or(ReadError::Lost, ReadError::of)
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
