//! One connection to a relay or node, for one synchronisation: frames pass between its websocket
//! and the replica, and what passes is counted. It is not dialled again. Source:
//! `docs/PROTOCOL.md`, "Messages".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crdt_core::effect::{Link, PeerId};
use crdt_core::id::RoomId;
use crdt_relayer::dial::Dialer;
use crdt_relayer::driver::Driver;
use crdt_relayer::local::LocalPeer;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// What happened to a route, which has this number.
#[derive(Debug)]
pub(super) enum Happened {
    /// It is connected, and the replica knows it as this peer.
    Up(usize, PeerId),
    /// It is not, or not any more, for this reason.
    Ended(usize, String),
}

/// What passed over a route.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    /// Ops that the other side acknowledged as stored.
    pub(super) acknowledged: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// What the other side announced last: its set and how many ops are in it.
    pub(super) announced: BTreeMap<String, (String, u64)>,
}

/// Counts of a route, as they grow.
pub(super) type Counted = Arc<Mutex<Traffic>>;

/// The members of a message that matter here.
#[derive(Deserialize)]
struct Said {
    r#type: String,
    room: Option<String>,
    set: Option<String>,
    count: Option<u64>,
    stored: Option<u64>,
}

/// A route before it is dialled.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) number: usize,
    pub(super) url: String,
    /// The only room that may pass, if not all may.
    pub(super) only: Option<RoomId>,
    pub(super) counted: Counted,
    pub(super) dialer: Dialer,
}

impl Route {
    /// Connects, and passes frames until either side ends it.
    pub(super) async fn serve(self, driver: Driver, happened: mpsc::Sender<Happened>) {
        let reason = match self.pass(&driver, &happened).await {
            Ok(reason) => reason.to_owned(),
            Err(reason) => reason,
        };
        // Who does not listen any more has ended it.
        let _unheard = happened.send(Happened::Ended(self.number, reason)).await;
    }

    async fn pass(
        &self,
        driver: &Driver,
        happened: &mpsc::Sender<Happened>,
    ) -> Result<&'static str, String> {
        let mut socket = self.dialer.connect(&self.url).await.map_err(|ended| ended.why)?;
        let stopped = |_| "this node stopped".to_owned();
        let mut peer = LocalPeer::connect(driver, Link::DIALLED, None).await.map_err(stopped)?;
        // Before the other side is heard, so that it is known whose words are told.
        if happened.send(Happened::Up(self.number, peer.id())).await.is_err() {
            return Ok("this node stopped");
        }
        let ended = loop {
            tokio::select! {
                said = peer.recv() => match said {
                    Ok(frame) if self.passes_out(&frame) => {
                        let sent = socket.send(Message::text(&*frame)).await;
                        if sent.is_err() {
                            break Ok("connection lost");
                        }
                    }
                    Ok(_) => {}
                    Err(reason) => {
                        // The other side may be gone already.
                        let _gone = socket.close(None).await;
                        break Ok(reason);
                    }
                },
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(text))) => {
                        if self.passes_in(&text) && peer.send(&text).await.is_err() {
                            break Ok("this node stopped");
                        }
                    }
                    Some(Ok(Message::Close(Some(close)))) => {
                        break Err(format!("closed by the other side: {}", close.reason));
                    }
                    Some(Ok(Message::Binary(_))) => break Ok("it sent a binary message"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(None)) | Err(_)) | None => break Ok("connection lost"),
                },
            }
        };
        peer.close().await;
        ended
    }

    /// Counts a frame of this side. Whether it may pass.
    fn passes_out(&self, frame: &str) -> bool {
        let passes = !is_sub(frame) || self.is_wanted(said(frame).as_ref());
        if passes {
            self.count(|traffic| traffic.bytes_out += frame.len() as u64);
        }
        passes
    }

    /// Counts a frame of the other side. Whether it may pass.
    fn passes_in(&self, frame: &str) -> bool {
        let said = said(frame);
        self.count(|traffic| {
            traffic.bytes_in += frame.len() as u64;
            let Some(said) = &said else { return };
            match (said.r#type.as_str(), &said.room, &said.set, said.count, said.stored) {
                ("ack", _, _, _, Some(stored)) => traffic.acknowledged += stored,
                ("heads", Some(room), Some(set), Some(count), _) => {
                    traffic.announced.insert(room.clone(), (set.clone(), count));
                }
                _ => {}
            }
        });
        said.as_ref().is_none_or(|said| said.r#type != "sub") || self.is_wanted(said.as_ref())
    }

    /// Whether a `sub` is for a room that may pass. What is not asked for does not come.
    fn is_wanted(&self, said: Option<&Said>) -> bool {
        let room = said.and_then(|said| said.room.as_deref());
        self.only.is_none_or(|only| room.is_some_and(|room| room == only.to_string()))
    }

    fn count(&self, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A frame of this side that asks for a room, as it spells it.
fn is_sub(frame: &str) -> bool {
    frame.starts_with("{\"type\":\"sub\"")
}

/// What a frame says. One that is no message is for the replica to refuse.
fn said(frame: &str) -> Option<Said> {
    serde_json::from_str(frame).ok()
}
