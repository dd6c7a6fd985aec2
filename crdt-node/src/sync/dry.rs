//! What a synchronisation would move: sets are compared, and nothing is sent or taken.
//! Source: `docs/PROTOCOL.md`, "Reconciliation".

use std::time::Duration;

use crdt_core::Replica;
use crdt_core::id::{RoomId, RoomName, SetDigest, StoreId};
use crdt_core::limits::{RECONCILE_ROUNDS_MAX, WINDOW_BYTES};
use crdt_core::message::{Hello, Message, Received};
use crdt_core::reconcile::Difference;
use crdt_relayer::dial::{Dialer, Socket};
use crdt_relayer::relayer::random;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::Wanted;
use crate::error::NodeError;
use crate::home::Home;
use crate::report;
use crate::shortfall::Shortfall;
use crate::show;

/// What a route and this node differ in.
#[derive(Clone, Debug)]
struct Compared {
    route: String,
    /// For each room: its name, and ops that would be sent and received.
    rooms: Result<Vec<(String, Differ)>, String>,
}

/// Ops that only one side holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Differ {
    send: u64,
    receive: u64,
}

/// What a synchronisation would move.
#[derive(Clone, Debug)]
pub struct Preview(Vec<Compared>);

/// Compares the node of a home with routes. It may run meanwhile.
///
/// # Errors
/// The home cannot be used. That a route cannot be reached is part of the report.
pub async fn preview(home: &Home, wanted: Wanted) -> Result<Preview, NodeError> {
    let replica = report::restored(&home.open_store()?)?;
    let only = wanted.room.as_ref().map(RoomName::id);
    let rooms: Vec<RoomId> =
        replica.rooms().filter(|room| only.is_none_or(|only| only == *room)).collect();
    let store = StoreId::from_bytes(random()?);
    let mut compared = Vec::new();
    for route in wanted.routes {
        let differences =
            timeout(wanted.timeout, differences(&replica, store, (&wanted.dialer, &route), &rooms));
        let seconds = Duration::as_secs(&wanted.timeout);
        let rooms = differences.await.unwrap_or_else(|_| Err(format!("no answer in {seconds} s")));
        compared.push(Compared { route, rooms });
    }
    Ok(Preview(compared))
}

async fn differences(
    replica: &Replica,
    store: StoreId,
    (dialer, url): (&Dialer, &str),
    rooms: &[RoomId],
) -> Result<Vec<(String, Differ)>, String> {
    let mut socket = dialer.connect(url).await.map_err(|ended| ended.why)?;
    say(&mut socket, &Message::Hello(Hello::new("crdt-node sync --dry-run", store, WINDOW_BYTES)))
        .await?;
    let mut found = Vec::new();
    for room in rooms {
        let name = replica.status(*room).and_then(|status| status.name);
        let differ = difference(replica, &mut socket, *room, name.clone()).await?;
        found.push((name.map_or_else(|| room.to_string(), |name| name.to_string()), differ));
    }
    Ok(found)
}

async fn difference(
    replica: &Replica,
    socket: &mut Socket,
    room: RoomId,
    name: Option<RoomName>,
) -> Result<Differ, String> {
    let status = replica.status(room);
    let (set, count) = status.map(|status| (status.set, status.ops)).unzip();
    say(socket, &Message::Sub { room, name, cursor: None }).await?;
    let (theirs, there) = heads_of(socket, room).await?;
    if Some(theirs) == set {
        return Ok(Differ::default());
    }
    let here = count.unwrap_or_default();
    if here == 0 || there == 0 {
        return Ok(Differ { send: here, receive: there });
    }
    let items = replica.items(room).unwrap_or_default();
    let mut found = Difference::default();
    let mut asked = items.ask();
    for number in 1..=u64::from(RECONCILE_ROUNDS_MAX) {
        let Some(frame) = asked else {
            let (send, receive) = (found.have.len() as u64, found.need.len() as u64);
            return Ok(Differ { send, receive });
        };
        say(socket, &Message::Reconcile { room, answer: false, number, frame }).await?;
        let answer = answer_of(socket, room, number).await?;
        asked = items.compare(&answer, &mut found).map_err(|error| error.to_string())?;
    }
    Err("it compares without coming to an end".to_owned())
}

async fn heads_of(socket: &mut Socket, room: RoomId) -> Result<(SetDigest, u64), String> {
    loop {
        if let Message::Heads { room: of, set, count, .. } = hear(socket).await?
            && of == room
        {
            return Ok((set, count));
        }
    }
}

async fn answer_of(socket: &mut Socket, room: RoomId, asked: u64) -> Result<Vec<u8>, String> {
    loop {
        if let Message::Reconcile { room: of, answer: true, number, frame } = hear(socket).await?
            && (of, number) == (room, asked)
        {
            return Ok(frame);
        }
    }
}

async fn say(socket: &mut Socket, message: &Message) -> Result<(), String> {
    let text = tungstenite::Message::text(message.encode().to_string());
    socket.send(text).await.map_err(|error| error.to_string())
}

/// The next message that is no op; what the other side complains about ends it.
async fn hear(socket: &mut Socket) -> Result<Message, String> {
    loop {
        let Some(Ok(heard)) = socket.next().await else {
            return Err("connection lost".to_owned());
        };
        let tungstenite::Message::Text(text) = heard else { continue };
        match Received::decode(text.as_bytes()) {
            Ok(Received::Message(Message::Err { code, message })) => {
                return Err(format!("it says: {message} ({code})"));
            }
            Ok(Received::Message(message)) => return Ok(message),
            Ok(Received::Acked { .. } | Received::Ops(_)) | Err(_) => {}
        }
    }
}

impl Preview {
    /// Routes that could not be compared with.
    ///
    /// # Errors
    /// The first of them.
    pub fn outcome(&self) -> Result<(), NodeError> {
        self.shortfall().map_or(Ok(()), |shortfall| Err(shortfall.into()))
    }

    fn shortfall(&self) -> Option<Shortfall> {
        self.0.iter().find_map(|compared| {
            let reason = compared.rooms.as_ref().err()?.clone();
            Some(Shortfall::Unreachable { route: compared.route.clone(), reason })
        })
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let code = self.shortfall().map_or(0, |shortfall| shortfall.exit_code());
        let route = |compared: &Compared| {
            let rooms = compared.rooms.as_ref().ok().map(|rooms| {
                let room = |(name, Differ { send, receive }): &(String, Differ)| {
                    json!({"room": name, "send": send, "receive": receive})
                };
                rooms.iter().map(room).collect::<Vec<_>>()
            });
            json!({
                "route": compared.route, "reason": compared.rooms.as_ref().err(), "rooms": rooms,
            })
        };
        json!({
            "schema": "crdt-node/sync-preview/1", "ok": code == 0, "code": code,
            "routes": self.0.iter().map(route).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for Compared { route, rooms } in &self.0 {
            match rooms {
                Err(reason) => {
                    lines.push(format!(
                        "route  {route}  CANNOT BE COMPARED: {}",
                        show::safe(reason)
                    ));
                }
                Ok(rooms) => lines.extend(rooms.iter().map(|(room, differ)| {
                    let Differ { send, receive } = differ;
                    format!("route  {route}  room {room}: {send} ops to send, {receive} to receive")
                })),
            }
        }
        lines.push("nothing was moved".to_owned());
        lines.join("\n")
    }
}
