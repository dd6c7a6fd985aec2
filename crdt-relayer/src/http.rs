//! What the relayer answers over HTTP: the websocket and a few plain pages.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use crdt_core::effect::Link;
use futures_util::{SinkExt, StreamExt};

use crate::driver::Driver;
use crate::server::Place;
use crate::session::{self, Incoming, MESSAGE_BYTES_MAX, READ_BUFFER_BYTES, ReadError, Wire};

const ABOUT: &str = concat!(
    "crdt-relayer ",
    env!("CARGO_PKG_VERSION"),
    "\nIt fans signed operations out and stores them for those who are away.\n",
    "It can delay or withhold them; it cannot forge or change any.\n",
    "Websocket: /websocket   Health: /healthz   Version: /version\n"
);

/// The routes of a relayer.
pub fn app(driver: Driver) -> Router {
    Router::new()
        .route("/", get(|| async { ABOUT }))
        .route("/healthz", get(healthz))
        .route("/version", get(version))
        .route("/websocket", get(websocket))
        .with_state(Arc::new(driver))
}

/// Healthy means that the driver answers: it has not stopped over a failed write.
async fn healthz(State(driver): State<Arc<Driver>>) -> (StatusCode, &'static str) {
    match driver.query(|_| ()).await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped\n"),
    }
}

async fn version() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "name": "crdt-relayer",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": crdt_core::head::VERSION,
    }))
}

/// Upgrades to the protocol. A browser always sends an `Origin`: until pages are served none is
/// trusted, or any page its user visits could speak to a relayer on this machine.
async fn websocket(
    State(driver): State<Arc<Driver>>,
    Extension(place): Extension<Place>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if headers.contains_key(ORIGIN) {
        return (StatusCode::FORBIDDEN, "web pages may not connect\n").into_response();
    }
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            serve(&driver, socket).await;
            drop(place);
        })
        .into_response()
}

async fn serve(driver: &Driver, socket: WebSocket) {
    let (write, read) = socket.split();
    let read = read.map(|message| match message {
        Ok(Message::Text(text)) => Ok(Incoming::Text(text.as_str().as_bytes().to_vec())),
        Ok(Message::Binary(_)) => Ok(Incoming::Binary),
        Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Incoming::Alive),
        Ok(Message::Close(close)) => {
            Ok(Incoming::Close(close.map(|close| close.reason.to_string()).unwrap_or_default()))
        }
        Err(error) => Err(read_error(error)),
    });
    let write = write.with(|wire: Wire| std::future::ready(message(wire)));
    let (read, write) = (Box::pin(read), Box::pin(write));
    // The peer's side of the story is in its own log.
    let connection = (driver.next_peer(), Link::ACCEPTED);
    let _why = session::run(driver, read, write, std::future::pending(), connection).await;
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
