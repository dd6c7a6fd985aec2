//! What the relayer is compared with: a server that passes each message on to everybody and does
//! nothing else, on the same libraries.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite;

/// Messages that may wait for one who reads.
const WAITING_MAX: usize = 4_096;

type Room = broadcast::Sender<Utf8Bytes>;

/// Serves on a free port, which it tells as the relayer does, until it is ended.
///
/// # Errors
/// The system's.
pub async fn serve(tell: impl FnOnce(&str)) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tell(&format!(r#"{{"event":"ready","addr":"{address}"}}"#));
    let room: Room = broadcast::channel(WAITING_MAX).0;
    let app = Router::new().route("/websocket", get(websocket)).with_state(room);
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, app).await
}

/// The same without axum: what waits for a member is written at once.
///
/// # Errors
/// The system's.
pub async fn serve_batching(tell: impl FnOnce(&str)) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tell(&format!(r#"{{"event":"ready","addr":"{address}"}}"#));
    let room: broadcast::Sender<tungstenite::Utf8Bytes> = broadcast::channel(WAITING_MAX).0;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let room = room.clone();
        tokio::spawn(async move {
            let Ok(socket) = accept_async(stream).await else { return };
            let (mut write, mut read) = socket.split();
            let mut news = room.subscribe();
            let writing = tokio::spawn(async move {
                while let Ok(mut text) = news.recv().await {
                    loop {
                        if write.feed(tungstenite::Message::Text(text)).await.is_err() {
                            return;
                        }
                        let Ok(next) = news.try_recv() else { break };
                        text = next;
                    }
                    if write.flush().await.is_err() {
                        return;
                    }
                }
            });
            while let Some(Ok(message)) = read.next().await {
                if let tungstenite::Message::Text(text) = message
                    && text.starts_with(r#"{"type":"ops""#)
                {
                    drop(room.send(text));
                }
            }
            writing.abort();
        });
    }
}

async fn websocket(State(room): State<Room>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| pass_on(room, socket))
}

async fn pass_on(room: Room, socket: WebSocket) {
    let (mut write, mut read) = socket.split();
    let mut news = room.subscribe();
    let writing = tokio::spawn(async move {
        while let Ok(text) = news.recv().await {
            if write.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(message)) = read.next().await {
        // Everything else is said to the server.
        if let Message::Text(text) = message
            && text.starts_with(r#"{"type":"ops""#)
        {
            drop(room.send(text));
        }
    }
    writing.abort();
}
