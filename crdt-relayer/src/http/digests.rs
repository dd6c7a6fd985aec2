//! Digests of logs in order. Each takes a pass over a whole room: one at a time, remembered as long
//! as the room stays the same, and never so often that it is most of what this machine does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use crdt_core::id::{LogDigest, RoomId, SetDigest};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::problem::Problem;
use crate::driver::Stopped;

/// Digests remembered. When there are more, the one is forgotten that nobody has asked for longest.
const REMEMBERED_MAX: usize = 1_024;

/// How much longer than it took a digest rests before another set of the same room is computed.
const REST: u32 = 4;

/// Rest that a request waits for; if more is left it is turned away.
const REST_WAITED_MAX: Duration = Duration::from_secs(1);

type Room = Arc<Mutex<Option<Known>>>;

/// Digests that were computed.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    rooms: StdMutex<Rooms>,
    /// Held while one is computed: they must not take all reads there may be at one time.
    computing: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Rooms {
    by_id: HashMap<RoomId, (u64, Room)>,
    /// How often any was asked for.
    asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    set: SetDigest,
    log: LogDigest,
    rests_until: Instant,
}

impl Digests {
    /// The digest of a room's log as it was when it held this set, computed like this if it is not
    /// known. What was begun is finished and remembered though who asked has left: asking and
    /// leaving again and again must not begin another pass each time.
    pub(crate) async fn of<C>(
        &self,
        (room, set): (RoomId, SetDigest),
        compute: impl FnOnce() -> C + Send + 'static,
    ) -> Result<LogDigest, Problem>
    where
        C: Future<Output = Result<LogDigest, Problem>> + Send,
    {
        // Held while it is computed: whoever wants the same gets it then.
        let mut known = self.room(room).lock_owned().await;
        if let Some(last) = *known {
            if last.set == set {
                return Ok(last.log);
            }
            let rest = last.rests_until.saturating_duration_since(Instant::now());
            if rest > REST_WAITED_MAX {
                let detail = "The log's digest was computed just now and the room has changed \
                              since; ask again later, or without `log`.";
                return Err(Problem::busy(detail, rest));
            }
            sleep_until(last.rests_until).await;
        }
        let computing = Arc::clone(&self.computing).lock_owned().await;
        let computed = tokio::spawn(async move {
            let started = Instant::now();
            let log = compute().await?;
            drop(computing);
            let rests_until = Instant::now() + started.elapsed() * REST;
            *known = Some(Known { set, log, rests_until });
            Ok(log)
        });
        computed.await.map_err(|_| Problem::from(Stopped))?
    }

    fn room(&self, id: RoomId) -> Room {
        let mut rooms = self.rooms();
        rooms.asked += 1;
        let asked = rooms.asked;
        if rooms.by_id.len() >= REMEMBERED_MAX && !rooms.by_id.contains_key(&id) {
            // One that is computed now is not forgotten: another would begin.
            let idle = rooms.by_id.iter().filter(|(_, (_, room))| Arc::strong_count(room) == 1);
            let oldest = idle.min_by_key(|(_, (asked, _))| *asked).map(|(id, _)| *id);
            oldest.and_then(|oldest| rooms.by_id.remove(&oldest));
        }
        let (last, room) = rooms.by_id.entry(id).or_default();
        *last = asked;
        Arc::clone(room)
    }

    /// A thread that panicked in between leaves the map usable.
    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crdt_core::id::RoomName;
    use tokio::sync::oneshot;

    use super::*;

    fn id(number: usize) -> RoomId {
        RoomName::parse(&format!("room-{number}")).unwrap().id()
    }

    #[test]
    fn a_room_that_is_asked_for_is_remembered_however_many_others_are() {
        let digests = Digests::default();
        let first = Arc::downgrade(&digests.room(id(0)));
        let computed = digests.room(id(1));
        for number in 2..3 * REMEMBERED_MAX {
            drop(digests.room(id(number)));
            assert!(std::ptr::eq(first.as_ptr(), Arc::as_ptr(&digests.room(id(0)))));
        }
        assert_eq!(digests.rooms().by_id.len(), REMEMBERED_MAX);
        assert!(Arc::ptr_eq(&computed, &digests.room(id(1))), "it was in use all the time");
    }

    #[tokio::test]
    async fn what_was_begun_is_finished_once_though_who_asked_has_left() {
        let digests = Digests::default();
        let wanted = (id(0), SetDigest::from_bytes([1; 32]));
        let log = LogDigest::from_bytes([7; 32]);
        let (begun, begins) = oneshot::channel();
        let (finish, finished) = oneshot::channel::<()>();
        let leaves = digests.of(wanted, move || async move {
            begun.send(()).unwrap();
            finished.await.unwrap();
            Ok(log)
        });
        tokio::select! {
            _ = leaves => unreachable!("it waits to be let go on"),
            begun = begins => begun.unwrap(),
        }
        let again = digests.of(wanted, move || async move { Ok(log) });
        tokio::pin!(again);
        // It waits for the one that was begun.
        tokio::select! {
            biased;
            _ = &mut again => unreachable!("it is not finished"),
            () = std::future::ready(()) => {}
        }
        finish.send(()).unwrap();
        assert_eq!(again.await.ok(), Some(log));
    }
}
