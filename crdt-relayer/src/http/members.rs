//! Who is connected, and how each stands in a room.

use std::collections::HashMap;
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::{PeerId, Side};
use crdt_core::id::{RoomId, SetDigest};
use crdt_core::standing::{PeerRoom, PeerStatus, Standing};
use crdt_core::time::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Api, FRESH_FOR};

/// One who is connected, as it stands in a room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Member {
    /// Its software, as it says.
    agent: String,
    /// Its store, as it says.
    #[schema(required)]
    store: Option<String>,
    /// The key it has proved to have; nobody is asked to prove one as long as everybody is let in.
    #[schema(required)]
    author: Option<String>,
    /// Who connected to whom.
    side: SideWord,
    /// How it stands.
    state: StateWord,
    /// Since when, as RFC 3339 writes a time.
    #[schema(format = DateTime)]
    since: String,
    /// When ops or heads of the room came from it last; whoever takes part sends heads twice a
    /// minute.
    #[schema(required, format = DateTime)]
    heard: Option<String>,
    /// The set it announced last.
    #[schema(required)]
    set: Option<String>,
    /// Whether that is the set held here.
    same: bool,
    /// Ops here that it has not acknowledged; at most.
    ahead: u64,
    /// Ops there that are not here; at least.
    behind: u64,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SideWord {
    /// This relayer connected to it.
    Dialled,
    /// It connected to this relayer.
    Accepted,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StateWord {
    /// It has not held the same since it connected.
    CatchingUp,
    /// It takes and sends what comes.
    Live,
    /// It does not acknowledge, or has not held the same for long.
    Lagging,
    /// It named ops and does not send them, or says nothing.
    Withholding,
}

impl Member {
    fn of(peer: &PeerStatus, room: &PeerRoom, held: SetDigest) -> Self {
        let same = room.announced == Some(held);
        Self {
            agent: peer.agent.clone(),
            store: peer.store.map(|store| store.to_string()),
            author: peer.author.map(|author| author.to_string()),
            side: match peer.link.side {
                Side::Dialled => SideWord::Dialled,
                Side::Accepted => SideWord::Accepted,
            },
            state: match room.standing {
                Standing::CatchingUp => StateWord::CatchingUp,
                Standing::Live => StateWord::Live,
                Standing::Lagging => StateWord::Lagging,
                Standing::Withholding { .. } => StateWord::Withholding,
            },
            since: rfc3339(room.since),
            heard: room.heard.map(rfc3339),
            set: room.announced.map(|set| set.to_string()),
            same,
            ahead: if same { 0 } else { room.ahead },
            behind: if same { 0 } else { room.behind },
        }
    }
}

/// A time as RFC 3339 writes it, in UTC, to the millisecond.
fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.as_ms())
        .map_or_else(|_| jiff::Timestamp::UNIX_EPOCH.to_string(), |time| format!("{time:.3}"))
}

/// What is known of all connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    seen: Mutex<Option<(Instant, Seen)>>,
}

/// All connections at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    all: Vec<PeerStatus>,
    /// Who uses each room: the connection's place and the room's place in what it uses.
    of_room: HashMap<RoomId, Vec<(usize, usize)>>,
}

impl Peers {
    /// All connections as they are now, or were just now. Only one looks at a time.
    pub(crate) async fn now(&self, api: &Api) -> Result<Seen, Problem> {
        let mut seen = self.seen.lock().await;
        if let Some((at, all)) = &*seen
            && at.elapsed() < FRESH_FOR
        {
            return Ok(all.clone());
        }
        let all = Seen::of(api.look(Replica::peers).await?);
        *seen = Some((Instant::now(), all.clone()));
        Ok(all)
    }
}

impl Seen {
    /// Sorts connections by room, once, so that a list of rooms does not go through all of them for
    /// each of its rooms.
    fn of(all: Vec<PeerStatus>) -> Self {
        let mut of_room: HashMap<RoomId, Vec<(usize, usize)>> = HashMap::new();
        for (place, peer) in all.iter().enumerate() {
            for (place_of_room, room) in peer.rooms.iter().enumerate() {
                of_room.entry(room.room).or_default().push((place, place_of_room));
            }
        }
        Self(Arc::new(Connections { all, of_room }))
    }

    /// How many ops a peer has that are not here, at least, and how many of those here it has not
    /// acknowledged, at most; `None` if it is not connected.
    pub(crate) fn lag(&self, peer: PeerId) -> Option<(u64, u64)> {
        let status =
            self.0.all.iter().find(|status| status.peer == peer && status.store.is_some())?;
        let sum = |(behind, ahead): (u64, u64), room: &PeerRoom| {
            (behind.saturating_add(room.behind), ahead.saturating_add(room.ahead))
        };
        Some(status.rooms.iter().fold((0, 0), sum))
    }

    /// How many use a room.
    pub(crate) fn count(&self, room: RoomId) -> usize {
        self.0.of_room.get(&room).map_or(0, Vec::len)
    }

    /// Who uses a room of which this set is held here.
    pub(crate) fn members(&self, room: RoomId, held: SetDigest) -> Vec<Member> {
        self.in_room(room).map(|(peer, room)| Member::of(peer, room, held)).collect()
    }

    fn in_room(&self, room: RoomId) -> impl Iterator<Item = (&PeerStatus, &PeerRoom)> {
        let places = self.0.of_room.get(&room).into_iter().flatten();
        places.filter_map(|(peer, room)| {
            let peer = self.0.all.get(*peer)?;
            Some((peer, peer.rooms.get(*room)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use crdt_core::effect::{Link, PeerId};
    use crdt_core::id::RoomName;

    use super::*;

    fn room(number: usize) -> RoomId {
        RoomName::parse(&format!("room-{number}")).unwrap().id()
    }

    /// The one with this number uses all rooms up to its own.
    fn peer(number: usize) -> PeerStatus {
        let shared = |number| PeerRoom {
            room: room(number),
            standing: Standing::Live,
            since: Timestamp::default(),
            ahead: 0,
            behind: 0,
            announced: None,
            same: false,
            heard: None,
        };
        PeerStatus {
            peer: PeerId(number as u64),
            link: Link::ACCEPTED,
            agent: number.to_string(),
            store: None,
            author: None,
            rooms: (0..=number).rev().map(shared).collect(),
        }
    }

    #[test]
    fn every_connection_is_found_in_every_room_it_uses_by_one_look_at_each() {
        let seen = Seen::of((0..5).map(peer).collect());
        assert_eq!(seen.0.of_room.values().map(Vec::len).sum::<usize>(), 1 + 2 + 3 + 4 + 5);
        for number in 0..5 {
            let members = seen.members(room(number), SetDigest::from_bytes([0; 32]));
            let agents: Vec<&str> = members.iter().map(|member| &*member.agent).collect();
            let expected: Vec<String> = (number..5).map(|number| number.to_string()).collect();
            assert_eq!(agents, expected);
            assert_eq!(seen.count(room(number)), expected.len());
        }
        assert_eq!(seen.count(room(5)), 0);
    }

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(rfc3339(Timestamp::from_ms(1_700_000_000_120)), "2023-11-14T22:13:20.120Z");
        assert_eq!(rfc3339(Timestamp::from_ms(i64::MAX)), "1970-01-01T00:00:00Z");
    }
}
