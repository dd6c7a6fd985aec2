//! How each link of a running node stands, for people and programs: whether it is connected, and
//! what the other side holds, sends and takes in each room. Source: `docs/ARCHITECTURE.md`, "Node".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crdt_core::Replica;
use crdt_core::effect::PeerId;
use crdt_core::id::{OpId, RoomId};
use crdt_core::standing::{PeerRoom, PeerStatus, Standing};
use crdt_core::time::Timestamp;
use serde_json::{Value, json};

use crate::links::{Kind, Link, Links, Phase};
use crate::show;

/// How a link, or the other side of it in one room, stands. The worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Both hold the same, and what comes since passes.
    Live,
    /// Both have not held the same since they connected.
    CatchingUp,
    /// It does not acknowledge, or has not held the same for long.
    Lagging,
    /// It named ops and does not send them, or says that it stored some and does not hold them.
    Withholding,
    /// It is dialled for the first time, or neither side has introduced itself.
    Connecting,
    /// It is not connected, and dialled again soon.
    Down,
    /// One side does not want the other; it is dialled again at long intervals.
    Refused,
}

impl State {
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Live => Self::Live,
            Standing::CatchingUp => Self::CatchingUp,
            Standing::Lagging => Self::Lagging,
            Standing::Withholding { .. } => Self::Withholding,
        }
    }

    /// The word for it, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::Lagging => "lagging",
            Self::Withholding => "withholding",
            Self::Connecting => "connecting",
            Self::Down => "down",
            Self::Refused => "refused",
        }
    }
}

/// The other side of a link in one room.
#[derive(Clone, Debug)]
struct Room {
    name: String,
    /// What the replica says.
    said: PeerRoom,
    /// Whether the op that it keeps back is in the log here.
    held: bool,
}

impl Room {
    fn state(&self) -> State {
        State::of(self.said.standing)
    }

    fn since_ms(&self) -> i64 {
        self.said.since.as_ms()
    }

    /// The op that it keeps back, if it named one.
    fn op(&self) -> Option<OpId> {
        match self.said.standing {
            Standing::Withholding { op } => op,
            Standing::Live | Standing::CatchingUp | Standing::Lagging => None,
        }
    }

    /// What it does wrong, if anything.
    fn reason(&self) -> Option<String> {
        if self.state() != State::Withholding {
            return None;
        }
        let room = &self.name;
        Some(match self.op() {
            None => format!("room {room}: it announces nothing"),
            Some(op) if self.held => {
                format!("op {}: it said that it stored it and does not hold it", show::short(&op))
            }
            Some(op) => format!("op {}: it named it and does not send it", show::short(&op)),
        })
    }

    fn json(&self) -> Value {
        json!({
            "room": self.name,
            "state": self.state().word(),
            "since": show::rfc3339(self.since_ms()),
            "ahead": self.said.ahead,
            "behind": self.said.behind,
            "same": self.said.same,
            "op": self.op().map(|op| op.to_string()),
        })
    }
}

/// One link.
#[derive(Clone, Debug)]
struct LinkStanding {
    name: String,
    link: Link,
    state: State,
    since_ms: i64,
    rooms: Vec<Room>,
}

impl LinkStanding {
    fn new(name: String, link: Link, rooms: Vec<Room>) -> Self {
        let heard = rooms.iter().any(|room| room.said.announced.is_some());
        let worst = rooms.iter().map(Room::state).max();
        let (state, since_ms) = match link.phase {
            Phase::Refused if !heard => (State::Refused, link.since_ms),
            Phase::Down if rooms.is_empty() => (State::Down, link.since_ms),
            Phase::Connecting if rooms.is_empty() => (State::Connecting, link.since_ms),
            Phase::Connecting | Phase::Connected | Phase::Down | Phase::Refused => {
                let state = worst.unwrap_or(State::CatchingUp);
                let since = rooms.iter().filter(|room| room.state() == state).map(Room::since_ms);
                // All are live since the last one is.
                let since = if state == State::Live { since.max() } else { since.min() };
                (state, since.unwrap_or(link.since_ms))
            }
        };
        Self { name, link, state, since_ms, rooms }
    }

    /// Why it is as it is, or why it failed last.
    fn reason(&self) -> Option<String> {
        self.rooms.iter().find_map(Room::reason).or_else(|| self.link.reason.clone())
    }

    fn json(&self) -> Value {
        let mut fields = json!({
            "kind": self.link.kind.word(),
            "side": self.link.side(),
            "state": self.state.word(),
            "since": show::rfc3339(self.since_ms),
            "rooms": self.rooms.iter().map(Room::json).collect::<Vec<_>>(),
        });
        if let Some(reason) = self.reason() {
            fields["reason"] = json!(reason);
        }
        if let Some(retry_ms) = self.link.retry_ms {
            fields["retry_ms"] = json!(retry_ms);
        }
        if let Some((agent, store)) = &self.link.introduced {
            (fields["agent"], fields["store"]) = (json!(agent), json!(store.to_string()));
        }
        fields
    }

    fn text(&self) -> String {
        let (kind, name) = (self.link.kind.word(), &self.name);
        let withholds = self.state == State::Withholding;
        let word = if withholds { "WITHHOLDING" } else { self.state.word() };
        let mut line = format!("{kind:<5}  {name}  {word} since {}", show::clock(self.since_ms));
        let counted = match self.state {
            State::Live | State::CatchingUp | State::Lagging => true,
            State::Withholding | State::Connecting | State::Down | State::Refused => false,
        };
        // Writing to a string cannot fail.
        if counted {
            let same = self.rooms.iter().all(|room| room.said.same) && !self.rooms.is_empty();
            let ahead: u64 = self.rooms.iter().map(|room| room.said.ahead).sum();
            let behind: u64 = self.rooms.iter().map(|room| room.said.behind).sum();
            let same = if same { "in sync" } else { "differs" };
            let _infallible = write!(line, "   {same}   {ahead} ahead  {behind} behind");
        } else if let Some(reason) = self.reason() {
            let _infallible = write!(line, ": {reason}");
        }
        if self.link.is_accepted() {
            line.push_str("   (it dialled this node)");
        }
        line
    }
}

/// What a replica says of its peers.
#[derive(Debug)]
pub struct Peers {
    rooms: BTreeMap<PeerId, Vec<Room>>,
}

impl Peers {
    /// What it says now.
    pub fn of(replica: &Replica, now: Timestamp) -> Self {
        let mut names: BTreeMap<RoomId, String> = BTreeMap::new();
        let mut room = |said: PeerRoom| {
            let id = said.room;
            let name = || {
                let name = replica.status(id).and_then(|status| status.name);
                name.map_or_else(|| id.to_string(), |name| name.to_string())
            };
            let name = names.entry(id).or_insert_with(name).clone();
            let mut room = Room { name, said, held: false };
            room.held = room.op().is_some_and(|op| replica.position(id, op).is_some());
            room
        };
        let mut of = |peer: PeerStatus| {
            let mut rooms: Vec<Room> = peer.rooms.into_iter().map(&mut room).collect();
            rooms.sort_by(|a, b| a.name.cmp(&b.name));
            (peer.peer, rooms)
        };
        Self { rooms: replica.peers(now).into_iter().map(&mut of).collect() }
    }
}

/// All links of a running node.
#[derive(Clone, Debug)]
pub struct Standings {
    listening: Option<String>,
    links: Vec<LinkStanding>,
}

impl Standings {
    /// The links, with what the replica says of those that are connected.
    pub fn new(links: &Links, mut peers: Peers) -> Self {
        let of = |(name, link): (String, Link)| {
            let rooms = link.connection.and_then(|peer| peers.rooms.remove(&peer));
            LinkStanding::new(name, link, rooms.unwrap_or_default())
        };
        Self { links: links.all().into_iter().map(of).collect(), listening: links.listens() }
    }

    fn only(&self, kind: Option<Kind>) -> impl Iterator<Item = &LinkStanding> {
        self.links.iter().filter(move |link| kind.is_none_or(|kind| kind == link.link.kind))
    }

    /// For people; of one kind only if given.
    pub fn text(&self, only: Option<Kind>) -> String {
        let listening = self.listening.iter().filter(|_| only.is_none());
        let listening = listening.map(|url| format!("listens  {url}"));
        let all: Vec<String> = listening.chain(self.only(only).map(LinkStanding::text)).collect();
        match (all.is_empty(), only) {
            (true, Some(kind)) => format!("no {}s", kind.word()),
            (true, None) => "no relays and no peers".to_owned(),
            (false, _) => all.join("\n"),
        }
    }

    /// For programs, by name; of one kind only if given.
    pub fn json(&self, only: Option<Kind>) -> Value {
        Value::Object(self.only(only).map(|link| (link.name.clone(), link.json())).collect())
    }

    /// What `peers` prints of a running node, for programs.
    pub fn peers_json(&self) -> Value {
        let mut fields = peers_json(self.listening.as_deref(), &self.json(None));
        fields["running"] = json!(true);
        fields
    }
}

/// What `peers` prints for programs, of a node that does not run: the websocket on which it would
/// accept connections, and its links.
pub(crate) fn peers_json(listening: Option<&str>, links: &Value) -> Value {
    json!({
        "schema": "crdt-node/peers/1",
        "ok": true,
        "code": 0,
        "running": false,
        "listening": listening,
        "links": links,
    })
}

#[cfg(test)]
mod tests {
    use crdt_core::id::{SetDigest, StoreId};

    use super::*;

    const URL: &str = "ws://127.0.0.1:1/websocket";

    fn room(name: &str, standing: Standing, since: i64) -> Room {
        let said = PeerRoom {
            room: RoomId::from_bytes([1; 32]),
            standing,
            since: Timestamp::from_ms(since),
            ahead: 1,
            behind: 2,
            announced: Some(SetDigest::from_bytes([2; 32])),
            same: standing == Standing::Live,
            heard: None,
        };
        Room { name: name.to_owned(), said, held: false }
    }

    /// A connected link with these rooms.
    fn standings(rooms: Vec<Room>) -> Standings {
        let links = Links::default();
        links.added(Kind::Relay, URL);
        links.answered(URL, PeerId(1));
        links.introduced(PeerId(1), "crdt-relayer/1", StoreId::from_bytes([1; 32]));
        Standings::new(&links, Peers { rooms: BTreeMap::from([(PeerId(1), rooms)]) })
    }

    #[test]
    fn a_link_is_as_bad_as_its_worst_room() {
        let op = OpId::from_bytes([0xab; 32]);
        let rooms = [
            room("a", Standing::Live, 4_000),
            room("b", Standing::CatchingUp, 3_000),
            room("c", Standing::Lagging, 2_000),
            room("d", Standing::Withholding { op: Some(op) }, 1_000),
        ];
        for (index, word) in ["live", "catching-up", "lagging", "withholding"].iter().enumerate() {
            let said = standings(rooms[..=index].to_vec()).json(None)[URL].clone();
            assert_eq!(said["state"], *word);
            assert_eq!(said["since"], show::rfc3339(rooms[index].since_ms()));
            assert_eq!(said["rooms"].as_array().unwrap().len(), index + 1);
        }
        let said = standings(rooms.to_vec());
        assert_eq!(said.json(None)[URL]["rooms"][3]["op"], op.to_string());
        let text = said.text(None);
        assert!(text.contains("WITHHOLDING since"), "{text}");
        assert!(text.ends_with(": op abababab: it named it and does not send it"), "{text}");
    }

    #[test]
    fn a_live_link_says_that_both_are_in_sync_in_one_line() {
        let text = standings(vec![room("a", Standing::Live, 4_000)]).text(Some(Kind::Relay));
        assert!(text.starts_with(&format!("relay  {URL}  live since ")), "{text}");
        assert!(text.ends_with("   in sync   1 ahead  2 behind"), "{text}");
        assert_eq!(standings(Vec::new()).text(Some(Kind::Peer)), "no peers");
    }

    #[test]
    fn a_link_that_is_not_connected_says_why() {
        let links = Links::default();
        links.added(Kind::Relay, URL);
        let now = || Standings::new(&links, Peers { rooms: BTreeMap::new() });
        assert_eq!(now().json(None)[URL]["state"], "connecting");
        links.down(URL, Phase::Down, "connection refused", 100);
        assert_eq!(now().json(None)[URL]["state"], "down");
        assert!(now().text(None).ends_with(": connection refused"));
        links.down(URL, Phase::Refused, "not you", 100);
        assert_eq!(now().json(None)[URL]["reason"], "not you");
        assert_eq!(now().json(None)[URL]["state"], "refused");
    }
}
