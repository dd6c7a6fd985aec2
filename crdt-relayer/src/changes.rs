//! Who follows a room is told that it changed, never what: news that nobody took yet is one news,
//! so a slow follower costs no memory and misses nothing that it then reads from the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt_core::id::RoomId;
use tokio::sync::watch;

/// The rooms that somebody follows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    rooms: Arc<Mutex<HashMap<RoomId, watch::Sender<()>>>>,
}

impl Changes {
    /// A room has changed.
    pub(crate) fn note(&self, room: RoomId) {
        let mut rooms = self.rooms();
        if rooms.get(&room).is_some_and(|followers| followers.send(()).is_err()) {
            // The last two may have left at the same moment, and neither have forgotten the room.
            rooms.remove(&room);
        }
    }

    /// Follows a room.
    pub(crate) fn follow(&self, room: RoomId) -> Following {
        let news = self.rooms().entry(room).or_insert_with(|| watch::channel(()).0).subscribe();
        Following { news, room, changes: self.clone() }
    }

    /// A thread that panicked in between leaves the map usable.
    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, watch::Sender<()>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A room that is followed until this is dropped.
#[derive(Debug)]
pub struct Following {
    news: watch::Receiver<()>,
    room: RoomId,
    changes: Changes,
}

impl Following {
    /// Waits until the room has changed since this was last waited for.
    pub async fn changed(&mut self) {
        // Its sender lives as long as somebody follows the room.
        let _followed = self.news.changed().await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut rooms = self.changes.rooms();
        if rooms.get(&self.room).is_some_and(|followers| followers.receiver_count() <= 1) {
            rooms.remove(&self.room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_that_was_not_taken_is_one_news_and_a_room_nobody_follows_is_forgotten() {
        let (changes, room) = (Changes::default(), RoomId::from_bytes([1; 32]));
        changes.note(room);
        let mut first = changes.follow(room);
        let second = changes.follow(room);
        changes.note(room);
        changes.note(room);
        changes.note(RoomId::from_bytes([2; 32]));
        first.changed().await;
        assert!(!first.news.has_changed().unwrap());
        drop(second);
        changes.note(room);
        first.changed().await;
        drop(first);
        assert!(changes.rooms().is_empty());
    }
}
