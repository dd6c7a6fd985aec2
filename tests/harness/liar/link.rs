//! One connection of a node to the liar, and the liar's own to an honest relayer behind it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Message as Wire;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, accept_hdr_async_with_config, connect_async_with_config,
};

use super::lie::{Lie, Tongue, Turn};
use super::{Heard, Plan};

/// Time between two bytes of [`Lie::Trickle`].
const BYTE_EVERY: Duration = Duration::from_millis(20);

type NodeSocket = WebSocketStream<TcpStream>;
type RelayerSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a connection needs from the liar.
pub(super) struct Link {
    pub(super) plans: watch::Receiver<Plan>,
    pub(super) heard: Arc<Heard>,
    /// The store of the first relayer, which the liar claims to be for everybody.
    pub(super) store: Arc<Mutex<Option<String>>>,
    pub(super) number: u64,
}

impl Link {
    /// Serves a node until either side or the liar ends it.
    pub(super) async fn serve(mut self, stream: TcpStream) {
        let mut node = String::new();
        #[expect(clippy::result_large_err, reason = "the library asks for this type")]
        let path = |request: &Request, response: Response| {
            request.uri().path().trim_start_matches('/').clone_into(&mut node);
            Ok(response)
        };
        // Small frames both ways wait for one another otherwise.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Ok(mut socket) = accept_hdr_async_with_config(stream, path, None).await else { return };
        let plan = self.plans.borrow_and_update().clone();
        if plan.stop || plan.lie == Lie::Absent {
            return;
        }
        let upstream = plan.upstream_for(&node);
        let Ok((mut relayer, _)) = connect_async_with_config(upstream, None, true).await else {
            return;
        };
        self.heard.count(&node, "connected");
        let Some(hello) = next_text(&mut relayer).await else { return };
        let tongue = Tongue::new(plan.lie.clone(), self.claimed(&hello), self.number);
        let mut mouth = Mouth { tongue, slow: VecDeque::new(), begun: false };
        let first = mouth.tongue.relayer_says(hello);
        if mouth.say(first, &mut socket, &mut relayer).await.is_none() {
            return;
        }
        self.note_lie(&node, mouth.tongue.lie() != &Lie::Deaf);
        let mut pace = interval(BYTE_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                changed = self.plans.changed() => {
                    let now = self.plans.borrow_and_update().clone();
                    if changed.is_err() || now.stop || now.cuts > plan.cuts || now.lie == Lie::Absent {
                        return;
                    }
                    mouth.tongue.change(now.lie)
                }
                text = next_text(&mut socket), if mouth.tongue.lie() != &Lie::Deaf => {
                    let Some(text) = text else { return };
                    self.heard.count(&node, &kind(&text));
                    let turn = mouth.tongue.node_says(text.clone());
                    self.note_lie(&node, turn.to_relayer == [text] && turn.to_node.is_empty());
                    turn
                }
                text = next_text(&mut relayer) => {
                    let Some(text) = text else { return };
                    let turn = mouth.tongue.relayer_says(text.clone());
                    self.note_lie(&node, turn.to_node == [text] && turn.to_relayer.is_empty());
                    turn
                }
                _ = pace.tick(), if !mouth.slow.is_empty() => {
                    self.note_lie(&node, false);
                    if mouth.say_byte(&mut socket).await.is_none() {
                        return;
                    }
                    continue;
                }
            };
            if mouth.say(turn, &mut socket, &mut relayer).await.is_none() {
                return;
            }
        }
    }

    fn note_lie(&self, node: &str, honest: bool) {
        if !honest {
            self.heard.count(node, "lie");
        }
    }

    /// The store of the relayer that was asked first, whichever this one is.
    fn claimed(&self, hello: &str) -> String {
        let message: Value = serde_json::from_str(hello).unwrap();
        let own = message["store"].as_str().unwrap_or_default().to_owned();
        self.store.lock().unwrap().get_or_insert(own).clone()
    }
}

/// What goes out, at once or byte by byte.
struct Mouth {
    tongue: Tongue,
    /// Texts that are not said to their end.
    slow: VecDeque<VecDeque<u8>>,
    /// A part of the first of them was said.
    begun: bool,
}

impl Mouth {
    /// Says what a turn wants said. `None` if a side has gone.
    async fn say(
        &mut self,
        turn: Turn,
        node: &mut NodeSocket,
        relayer: &mut RelayerSocket,
    ) -> Option<()> {
        if self.tongue.lie() == &Lie::Trickle {
            self.slow.extend(turn.to_node.into_iter().map(|text| text.into_bytes().into()));
        } else {
            while !self.slow.is_empty() {
                self.say_part(usize::MAX, node).await?;
            }
            for text in turn.to_node {
                node.send(Wire::text(text)).await.ok()?;
            }
        }
        for text in turn.to_relayer {
            relayer.send(Wire::text(text)).await.ok()?;
        }
        Some(())
    }

    async fn say_byte(&mut self, node: &mut NodeSocket) -> Option<()> {
        self.say_part(1, node).await
    }

    /// Says some bytes of the first text that waits, as a fragment of a websocket message.
    async fn say_part(&mut self, bytes_max: usize, node: &mut NodeSocket) -> Option<()> {
        let Some(text) = self.slow.front_mut() else { return Some(()) };
        let part: Vec<u8> = text.drain(..text.len().min(bytes_max)).collect();
        let last = text.is_empty();
        let data = if self.begun { Data::Continue } else { Data::Text };
        self.begun = !last;
        if last {
            self.slow.pop_front();
        }
        let frame = Frame::message(part, OpCode::Data(data), last);
        node.send(Wire::Frame(frame)).await.ok()
    }
}

fn kind(text: &str) -> String {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    message["type"].as_str().unwrap_or("no message").to_owned()
}

/// The next text; `None` once the connection has ended.
async fn next_text<S>(socket: &mut WebSocketStream<S>) -> Option<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match socket.next().await? {
            Ok(Wire::Text(text)) => return Some(text.to_string()),
            Ok(Wire::Close(_)) | Err(_) => return None,
            Ok(Wire::Binary(_) | Wire::Ping(_) | Wire::Pong(_) | Wire::Frame(_)) => {}
        }
    }
}
