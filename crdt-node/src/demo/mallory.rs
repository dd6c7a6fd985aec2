//! The liar: a client of the relayer and a false relay of every node, sending each the same crimes
//! and noting what it is told.

use std::sync::{Arc, Mutex, PoisonError};

use crdt_core::head::Kind;
use crdt_core::id::{Depth, RoomName, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_core::limits;
use crdt_core::message::{Hello, Message, encode_ops};
use crdt_core::op::{Draft, Op};
use crdt_core::time::Timestamp;
use crdt_relayer::relayer::random;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use super::{ROOM, STEP_MAX};
use crate::error::NodeError;

/// Everybody she attacks.
pub(super) const VICTIMS: [&str; 4] = ["alice", "bob", "carol", "relayer"];

/// What she tries, and the code it must be refused with. A replay cannot be refused: it is taken as
/// what it is, an op that is there already. Nor can a fork: both ops are good, and together they
/// prove what she is.
pub(super) const CRIMES: [(Crime, &str); 5] = [
    (Crime::Forked, "stored"),
    (Crime::Forged, "sig"),
    (Crime::BitFlipped, "data"),
    (Crime::ReRoomed, "room"),
    (Crime::Replayed, "stored"),
];

/// Times she replays an op at once.
const REPLAYS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crime {
    /// Two different ops of hers at one place: one for half of the others, one for the rest.
    Forked,
    /// Her own words under another's name.
    Forged,
    /// Another's op with its data changed.
    BitFlipped,
    /// A good op of another room.
    ReRoomed,
    /// Another's op, again and again.
    Replayed,
}

impl Crime {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forked => "equivocation",
            Self::Forged => "forged signature",
            Self::BitFlipped => "flipped bits",
            Self::ReRoomed => "op of another room",
            Self::Replayed => "replayed op",
        }
    }
}

/// What a victim answered to a crime.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) victim: &'static str,
    pub(super) crime: Crime,
    pub(super) code: String,
}

type Answers = Arc<Mutex<Vec<Answer>>>;

pub(super) struct Mallory {
    relay: String,
    key: Arc<SecretKey>,
    urls: Vec<String>,
    /// The op she abuses, once she has seen one.
    seen: watch::Sender<Option<String>>,
    answers: Answers,
    tasks: Vec<JoinHandle<()>>,
}

impl Mallory {
    /// Opens a false relay for each node.
    pub(super) async fn start(relay: &str, key_seed: [u8; 32]) -> Result<Self, NodeError> {
        let (seen, op_to_abuse) = watch::channel(None);
        let mut mallory = Self {
            relay: relay.to_owned(),
            key: Arc::new(SecretKey::from_seed(&key_seed)),
            urls: Vec::new(),
            seen,
            answers: Answers::default(),
            tasks: Vec::new(),
        };
        for victim in VICTIMS.into_iter().take(3) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            mallory.urls.push(format!("ws://{}/websocket", listener.local_addr()?));
            let (key, answers) = (Arc::clone(&mallory.key), Arc::clone(&mallory.answers));
            mallory.tasks.push(tokio::spawn(false_relay(
                listener,
                victim,
                key,
                op_to_abuse.clone(),
                answers,
            )));
        }
        Ok(mallory)
    }

    /// The addresses of her false relays: alice's, bob's, carol's.
    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Joins the room as an ordinary member, takes an op she sees there, and sends her crimes to
    /// everybody. Returns when all have answered.
    pub(super) async fn attack(&mut self) -> Result<(), NodeError> {
        let failed = |what: &str| NodeError::Demo(format!("mallory: {what}"));
        let (mut socket, _) = tokio_tungstenite::connect_async(&self.relay)
            .await
            .map_err(|error| failed(&error.to_string()))?;
        let room = RoomName::parse(ROOM)?;
        let subscribe = Message::Sub {
            room: room.id(),
            name: Some(room),
            cursor: Some(crdt_core::id::Position::START),
        };
        let step = async {
            send(&mut socket, &hello()?).await?;
            send(&mut socket, &subscribe.encode()).await?;
            let op = loop {
                let message = next(&mut socket).await.ok_or_else(|| failed("no op came"))?;
                let first = message.get("ops").and_then(|ops| ops.get(0));
                if let Some(op) = first {
                    break op.to_string();
                }
            };
            commit(&mut socket, "relayer", &self.key, &op, &self.answers).await?;
            self.seen.send_replace(Some(op));
            while self.answers().len() < CRIMES.len() * VICTIMS.len() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            Ok(())
        };
        let unanswered = || Err(failed("not everybody answered in time"));
        timeout(STEP_MAX, step).await.unwrap_or_else(|_| unanswered())
    }

    pub(super) fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn leave(self) {
        for task in self.tasks {
            task.abort();
        }
    }
}

/// Attacks whoever connects, as soon as there is an op to abuse; once.
async fn false_relay(
    listener: TcpListener,
    victim: &'static str,
    key: Arc<SecretKey>,
    mut seen: watch::Receiver<Option<String>>,
    answers: Answers,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
        let Ok(greeting) = hello() else { return };
        if send(&mut socket, &greeting).await.is_err() {
            continue;
        }
        let done = answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|answer| answer.victim == victim);
        if !done {
            let Ok(op) = seen.wait_for(Option::is_some).await.map(|op| op.clone()) else { return };
            let op = op.unwrap_or_default();
            // A victim that breaks off is missing in the answers, which the demo reports.
            let _reported = commit(&mut socket, victim, &key, &op, &answers).await;
        }
        while next(&mut socket).await.is_some() {}
    }
}

/// Sends each crime and notes the answer.
async fn commit<S>(
    socket: &mut S,
    victim: &'static str,
    key: &SecretKey,
    op: &str,
    answers: &Answers,
) -> Result<(), NodeError>
where
    S: Stream<Item = Result<Frame, Error>> + Sink<Frame, Error = Error> + Unpin,
{
    for (crime, _) in CRIMES {
        send(socket, &crime_frame(crime, victim, key, op)?).await?;
        let code = loop {
            let Some(message) = next(socket).await else {
                return Err(NodeError::Demo(format!("{victim} hung up on mallory")));
            };
            if message.get("type").and_then(Value::as_str) == Some("ack") {
                let code = message.pointer("/except/0/code").and_then(Value::as_str);
                break code.unwrap_or("stored").to_owned();
            }
        };
        let answer = Answer { victim, crime, code };
        answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }
    Ok(())
}

fn crime_frame(crime: Crime, victim: &str, key: &SecretKey, op: &str) -> Result<String, NodeError> {
    let room = RoomName::parse(ROOM)?.id();
    let ops = |envelope: &str| format!(r#"{{"type":"ops","room":"{room}","ops":[{envelope}]}}"#);
    let encode = |op: &Op| encode_ops(room, [op], None, &[]).to_string();
    Ok(match crime {
        Crime::Forked => {
            let half = VICTIMS.iter().position(|name| *name == victim).unwrap_or(0) % 2;
            encode(&signed(key, room, ["\"all yours\"", "\"all mine\""][half])?)
        }
        Crime::Replayed => {
            let again = vec![op; REPLAYS].join(",");
            ops(&again)
        }
        Crime::BitFlipped => ops(&op.replace("treasury", "mallory!")),
        Crime::Forged => {
            // Everything about it is right but who signed it.
            let mut forged: Value =
                serde_json::from_str(op).map_err(|error| NodeError::Demo(error.to_string()))?;
            let own = own_op(key, room)?;
            if let Some(sig) = forged.get_mut("sig") {
                *sig = own.get("sig").cloned().unwrap_or_default();
            }
            // An op that is known is not checked again, so it must be one nobody has: the next.
            let later = forged.pointer("/head/ts").and_then(Value::as_i64).unwrap_or(0) + 1;
            if let Some(ts) = forged.pointer_mut("/head/ts") {
                *ts = later.into();
            }
            rehash(&mut forged);
            ops(&forged.to_string())
        }
        Crime::ReRoomed => {
            let other = RoomName::parse("elsewhere")?.id();
            encode(&signed(key, other, "1")?)
        }
    })
}

/// Gives an altered op the id that belongs to it, as a careful forger would.
fn rehash(op: &mut Value) {
    let head = op.get("head").map(ToString::to_string).unwrap_or_default();
    let parsed = crdt_core::json::Value::parse(head.as_bytes(), limits::FRAME_DEPTH_MAX).ok();
    let id =
        parsed.and_then(|head| crdt_core::head::Head::decode(&head).ok()).map(|head| head.id());
    if let (Some(id), Some(slot)) = (id, op.get_mut("id")) {
        *slot = id.to_string().into();
    }
}

fn own_op(key: &SecretKey, room: crdt_core::id::RoomId) -> Result<Value, NodeError> {
    let text = signed(key, room, "1")?.to_string();
    serde_json::from_str(&text).map_err(|error| NodeError::Demo(error.to_string()))
}

fn signed(key: &SecretKey, room: crdt_core::id::RoomId, entry: &str) -> Result<Op, NodeError> {
    let draft = Draft {
        room,
        tip: None,
        preds: Vec::new(),
        refs: Vec::new(),
        depth: Depth::FIRST,
        ts: Timestamp::from_ms(0),
        kind: Kind::entry(),
        data: Canonical::trusted(format!("[{entry}]")),
    };
    draft.sign(key).map_err(NodeError::from)
}

fn hello() -> Result<String, NodeError> {
    let store = StoreId::from_bytes(random()?);
    let window = limits::WINDOW_BYTES;
    Ok(Message::Hello(Hello::new("mallory", store, window)).encode().to_string())
}

async fn send<S>(socket: &mut S, text: &str) -> Result<(), NodeError>
where
    S: Sink<Frame, Error = Error> + Unpin,
{
    let sent = socket.send(Frame::text(text)).await;
    sent.map_err(|error| NodeError::Demo(format!("mallory: {error}")))
}

/// The next message; `None` once the connection has ended.
async fn next<S>(socket: &mut S) -> Option<Value>
where
    S: Stream<Item = Result<Frame, Error>> + Unpin,
{
    while let Some(Ok(frame)) = socket.next().await {
        if let Frame::Text(text) = frame {
            return serde_json::from_str(&text).ok();
        }
    }
    None
}
