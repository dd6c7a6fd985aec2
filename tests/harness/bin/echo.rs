//! Sends back every message: the server and the websocket of the relayer without what it is for, so
//! that a test suite for websockets can judge them. See `docs/TESTING.md`, "Websockets".
#![expect(clippy::print_stdout, reason = "a program that tells where it listens")]

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use crdt_relayer::admission::Admission;
use crdt_relayer::http::{close_for, limited};
use crdt_relayer::limits::Limits;
use crdt_relayer::metrics::Metrics;
use crdt_relayer::server::Server;
use tokio::sync::watch;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address = address.parse().map_err(std::io::Error::other)?;
    let server = Server::bind(address, None).await?;
    println!(r#"{{"event":"ready","url":"{}"}}"#, server.url());
    let admission = Admission::new(watch::channel(Limits::default()).1, Metrics::default());
    let (_runs, running) = watch::channel(true);
    server.run(Router::new().route("/websocket", get(websocket)), admission, running).await;
    Ok(())
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    limited(upgrade).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(message) = socket.recv().await {
        let answer = match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => message,
            // The library answers these.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => continue,
            Err(error) => {
                let (code, reason) = close_for(error);
                let reason = Utf8Bytes::from_static(reason);
                drop(socket.send(Message::Close(Some(CloseFrame { code, reason }))).await);
                return;
            }
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}
