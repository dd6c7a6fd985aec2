//! Digests of logs in order. Each takes a pass over a whole room: one at a time, remembered as long
//! as the room stays the same, and never so often that it is most of what this machine does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use crdt_core::id::{LogDigest, Position, RoomId, SetDigest};
use crdt_core::status::RoomStatus;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::Api;
use super::problem::Problem;

/// Digests remembered. When there are more, all are forgotten.
const REMEMBERED_MAX: usize = 1_024;

/// How much longer than it took a digest rests before another set of the same room is computed.
const REST: u32 = 4;

/// Rest that a request waits for; if more is left it is turned away.
const REST_WAITED_MAX: Duration = Duration::from_secs(1);

/// Digests that were computed.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    rooms: StdMutex<HashMap<RoomId, Arc<Mutex<Option<Known>>>>>,
    /// Held while one is computed: they must not take all reads there may be at one time.
    computing: Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    set: SetDigest,
    log: LogDigest,
    rests_until: Instant,
}

impl Digests {
    /// The digest of a room's log as it was when this was its status.
    pub(crate) async fn of(&self, api: &Api, status: &RoomStatus) -> Result<LogDigest, Problem> {
        let room = self.room(status.id);
        // Held while it is computed: whoever wants the same gets it then.
        let mut known = room.lock().await;
        if let Some(last) = *known {
            if last.set == status.set {
                return Ok(last.log);
            }
            if last.rests_until > Instant::now() + REST_WAITED_MAX {
                let detail = "The log's digest was computed just now and the room has changed \
                              since; ask again later, or without `log`.";
                return Err(Problem::busy(detail));
            }
            sleep_until(last.rests_until).await;
        }
        let computing = self.computing.lock().await;
        let (id, set, started) = (status.id, status.set, Instant::now());
        // Positions are given in the order of admission, so these ops are that set.
        let through = Position::new(status.ops).unwrap_or_default();
        let log = api.readers.read(move |reader| reader.log_digest(id, through)).await?;
        drop(computing);
        let rests_until = Instant::now() + started.elapsed() * REST;
        *known = Some(Known { set, log, rests_until });
        Ok(log)
    }

    fn room(&self, id: RoomId) -> Arc<Mutex<Option<Known>>> {
        // A thread that panicked in between leaves the map usable.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() >= REMEMBERED_MAX {
            rooms.clear();
        }
        Arc::clone(rooms.entry(id).or_default())
    }
}
