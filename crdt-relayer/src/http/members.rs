//! Who is connected, and how each stands in a room.

use std::sync::Arc;
use std::time::Duration;

use crdt_core::Replica;
use crdt_core::effect::Side;
use crdt_core::id::{RoomId, SetDigest};
use crdt_core::standing::{PeerRoom, PeerStatus, Standing};
use crdt_core::time::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Api;
use super::problem::Problem;

/// Age up to which what is known of all connections is shown again: looking at thousands of them
/// takes the replica's time.
const FRESH_FOR: Duration = Duration::from_millis(250);

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
pub(crate) struct Seen(Arc<Vec<PeerStatus>>);

impl Peers {
    /// All connections as they are now, or were just now. Only one looks at a time.
    pub(crate) async fn now(&self, api: &Api) -> Result<Seen, Problem> {
        let mut seen = self.seen.lock().await;
        if let Some((at, all)) = &*seen
            && at.elapsed() < FRESH_FOR
        {
            return Ok(all.clone());
        }
        let all = Seen(Arc::new(api.look(Replica::peers).await?));
        *seen = Some((Instant::now(), all.clone()));
        Ok(all)
    }
}

impl Seen {
    /// How many use a room.
    pub(crate) fn count(&self, room: RoomId) -> usize {
        self.in_room(room).count()
    }

    /// Who uses a room of which this set is held here.
    pub(crate) fn members(&self, room: RoomId, held: SetDigest) -> Vec<Member> {
        self.in_room(room).map(|(peer, room)| Member::of(peer, room, held)).collect()
    }

    fn in_room(&self, room: RoomId) -> impl Iterator<Item = (&PeerStatus, &PeerRoom)> {
        self.0.iter().filter_map(move |peer| {
            peer.rooms.iter().find(|shared| shared.room == room).map(|shared| (peer, shared))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(rfc3339(Timestamp::from_ms(1_700_000_000_120)), "2023-11-14T22:13:20.120Z");
        assert_eq!(rfc3339(Timestamp::from_ms(i64::MAX)), "1970-01-01T00:00:00Z");
    }
}
