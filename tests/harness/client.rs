//! A websocket client that says exactly what it is told to.

use crdt_core::head::Kind;
use crdt_core::id::{Depth, Position, RoomId, RoomName, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::{Hello, Message};
use crdt_core::op::{Draft, Op};
use crdt_core::time::Timestamp;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::process::WAIT_MAX;

/// A connection to a relayer.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a peer said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A message.
    Message(Value),
    /// It closed the connection, with this code and reason.
    Closed(u16, String),
    /// The connection ended without a close frame.
    Lost,
}

impl Client {
    /// Connects without a word.
    pub async fn connect(url: &str) -> Self {
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let (socket, _) = connect_async_with_config(url, Some(config), true).await.unwrap();
        Self { socket }
    }

    /// Connects and exchanges `hello`.
    pub async fn introduced(url: &str, store: u8) -> Self {
        let mut client = Self::connect(url).await;
        client.say(&hello(store)).await;
        client.message("hello").await;
        client
    }

    /// Sends a text frame. A peer that has gone meanwhile is noticed when it is heard.
    pub async fn say(&mut self, text: &str) {
        self.socket.send(Frame::text(text)).await.ok();
    }

    /// Sends a binary frame.
    pub async fn say_binary(&mut self, bytes: Vec<u8>) {
        self.socket.send(Frame::binary(bytes)).await.ok();
    }

    /// What the peer says next.
    pub async fn hear(&mut self) -> Said {
        loop {
            let next =
                timeout(WAIT_MAX, self.socket.next()).await.expect("the peer says something");
            match next {
                Some(Ok(Frame::Text(text))) => {
                    return Said::Message(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(Frame::Close(Some(close)))) => {
                    return Said::Closed(close.code.into(), close.reason.to_string());
                }
                Some(Ok(Frame::Close(None)) | Err(_)) | None => return Said::Lost,
                Some(Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
            }
        }
    }

    /// Skips to the next message of a type.
    pub async fn message(&mut self, kind: &str) -> Value {
        loop {
            match self.hear().await {
                Said::Message(message) if message["type"] == kind => return message,
                Said::Message(_) => {}
                ended @ (Said::Closed(..) | Said::Lost) => panic!("no {kind}: {ended:?}"),
            }
        }
    }
}

/// A `hello` from a store of this number.
pub fn hello(store: u8) -> String {
    let store = StoreId::from_bytes([store; 32]);
    Message::Hello(Hello::new("test", store, WINDOW_BYTES)).encode().to_string()
}

/// A `sub` from the start.
pub fn sub(room: &str) -> String {
    let name = RoomName::parse(room).unwrap();
    let message = Message::Sub { room: name.id(), name: Some(name), cursor: Some(Position::START) };
    message.encode().to_string()
}

/// An `ops` message with these envelopes.
pub fn ops(room: &str, envelopes: &[&str]) -> String {
    let room = room_id(room);
    format!(r#"{{"type":"ops","room":"{room}","ops":[{}]}}"#, envelopes.join(","))
}

/// The id of an open room.
pub fn room_id(room: &str) -> RoomId {
    RoomName::parse(room).unwrap().id()
}

/// The first op of the author with this number: one note.
pub fn op(author: u8, room: &str, text: &str) -> Op {
    let note = serde_json::json!([{"text": text, "type": "note"}]).to_string();
    let draft = Draft {
        room: room_id(room),
        tip: None,
        preds: Vec::new(),
        refs: Vec::new(),
        depth: Depth::FIRST,
        ts: Timestamp::from_ms(0),
        kind: Kind::entry(),
        data: Canonical::parse(note.as_bytes()).unwrap(),
    };
    draft.sign(&SecretKey::from_seed(&[author; 32])).unwrap()
}
