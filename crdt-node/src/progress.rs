//! What became of the lines of one run: which are durable, which are relayed, whether all is done.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crdt_core::id::{OpId, Position, RoomId};

/// Silence after which a room that is in sync counts as complete for now.
pub const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Room {
    /// Own ops of this run that some relay or peer has not acknowledged.
    own: VecDeque<(Position, OpId)>,
    /// How far each link's other side has acknowledged.
    acked: HashMap<String, Position>,
    /// How far any has, also one whose link is gone.
    relayed: Position,
    last_own: Position,
    in_sync: bool,
}

/// The state of a run.
#[derive(Debug)]
pub struct Progress {
    rooms: BTreeMap<RoomId, Room>,
    /// Lines handed to the replica. An answer may be seen before the line it is for.
    submitted: u64,
    /// Lines the replica has answered.
    answered: u64,
    /// Lines refused.
    refused: u64,
    /// Lines recorded or refused.
    lines: u64,
    last_change: Instant,
}

impl Progress {
    /// Nothing has happened yet in these rooms.
    pub fn new(rooms: impl IntoIterator<Item = RoomId>) -> Self {
        Self {
            rooms: rooms.into_iter().map(|room| (room, Room::default())).collect(),
            submitted: 0,
            answered: 0,
            refused: 0,
            lines: 0,
            last_change: Instant::now(),
        }
    }

    /// A room was joined.
    pub fn joined(&mut self, room: RoomId) {
        self.rooms.entry(room).or_default();
    }

    /// So many lines were handed to the replica.
    pub fn submitted(&mut self, lines: u64) {
        self.submitted += lines;
        self.lines += lines;
    }

    /// The replica has refused a line.
    pub fn refused(&mut self) {
        self.refused += 1;
    }

    /// The replica has answered a line.
    pub fn answered(&mut self) {
        self.answered += 1;
    }

    /// A line was refused before the replica saw it.
    pub fn unreadable(&mut self) {
        self.lines += 1;
        self.refused += 1;
    }

    /// An op entered a room.
    pub fn admitted(&mut self, room: RoomId) {
        self.last_change = Instant::now();
        self.rooms.entry(room).or_default().in_sync = false;
    }

    /// An own op is on disk.
    pub fn durable(&mut self, room: RoomId, op: OpId, position: Position) {
        let room = self.rooms.entry(room).or_default();
        if room.last_own < position {
            room.last_own = position;
            room.own.push_back((position, op));
        }
    }

    /// A link's other side has acknowledged own ops. Returns those it had not before. `links` is
    /// how many links there are: an op that all have acknowledged is forgotten.
    pub fn acked(
        &mut self,
        room: RoomId,
        link: &str,
        position: Position,
        links: usize,
    ) -> Vec<OpId> {
        let room = self.rooms.entry(room).or_default();
        room.relayed = room.relayed.max(position);
        let before = room.acked.insert(link.to_owned(), position).unwrap_or_default();
        let news = room.own.iter().filter(|(own, _)| *own > before && *own <= position);
        let news = news.map(|(_, op)| *op).collect();
        if room.acked.len() >= links {
            let by_all = room.acked.values().min().copied().unwrap_or_default();
            while room.own.front().is_some_and(|(own, _)| *own <= by_all) {
                room.own.pop_front();
            }
        }
        news
    }

    /// A link is gone: what its other side has acknowledged stays so, and is waited for no more.
    pub fn forget(&mut self, link: &str) {
        for room in self.rooms.values_mut() {
            room.acked.remove(link);
        }
    }

    /// A relay or peer holds the same set.
    pub fn synced(&mut self, room: RoomId) {
        self.rooms.entry(room).or_default().in_sync = true;
    }

    /// Lines refused, and all lines.
    pub fn refusals(&self) -> (u64, u64) {
        (self.refused, self.lines)
    }

    /// Whether every line is answered and every own op acknowledged by some relay or peer.
    pub fn all_relayed(&self) -> bool {
        let relayed = |room: &Room| room.relayed >= room.last_own;
        self.submitted == self.answered
            && self.rooms.values().all(|room| room.last_own == Position::START || relayed(room))
    }

    /// Whether moreover every room is in sync and nothing came for a while.
    pub fn complete(&self) -> bool {
        self.all_relayed()
            && self.rooms.values().all(|room| room.in_sync)
            && self.last_change.elapsed() >= QUIET
    }

    /// What is missing to completeness, in words.
    pub fn lacking(&self) -> &'static str {
        if self.submitted != self.answered {
            "lines are still being written"
        } else if !self.all_relayed() {
            "own ops are not acknowledged"
        } else if self.rooms.values().all(|room| room.in_sync) {
            "ops keep coming in"
        } else {
            "no relay or peer has announced the same set of ops"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId::from_bytes([1; 32]);

    fn at(number: u64) -> Position {
        Position::new(number).unwrap()
    }

    fn op(byte: u8) -> OpId {
        OpId::from_bytes([byte; 32])
    }

    #[test]
    fn an_op_is_reported_once_for_each_relay_that_stored_it() {
        let mut progress = Progress::new([ROOM]);
        progress.durable(ROOM, op(1), at(1));
        progress.durable(ROOM, op(1), at(1));
        progress.durable(ROOM, op(2), at(5));
        assert_eq!(progress.acked(ROOM, "a", at(3), 2), [op(1)]);
        assert_eq!(progress.acked(ROOM, "b", at(5), 2), [op(1), op(2)]);
        assert_eq!(progress.acked(ROOM, "a", at(9), 2), [op(2)]);
        assert!(progress.rooms[&ROOM].own.is_empty());
    }

    #[test]
    fn what_a_link_that_is_gone_has_acknowledged_stays_acknowledged() {
        let mut progress = Progress::new([ROOM]);
        progress.durable(ROOM, op(1), at(1));
        assert_eq!(progress.acked(ROOM, "a", at(1), 2), [op(1)]);
        progress.forget("a");
        assert!(progress.all_relayed());
        progress.durable(ROOM, op(2), at(2));
        assert!(!progress.all_relayed());
        assert_eq!(progress.acked(ROOM, "b", at(2), 1), [op(1), op(2)]);
        assert!(progress.rooms[&ROOM].own.is_empty(), "nobody else is waited for");
    }

    #[test]
    fn a_run_is_complete_only_when_answered_relayed_in_sync_and_quiet() {
        let mut progress = Progress::new([ROOM]);
        progress.last_change = Instant::now().checked_sub(QUIET).unwrap();
        assert!(!progress.complete(), "never in sync");
        progress.synced(ROOM);
        assert!(progress.complete());
        progress.submitted(1);
        assert!(!progress.complete(), "a line is not answered");
        progress.answered();
        progress.durable(ROOM, op(1), at(4));
        assert!(!progress.complete(), "an op is not relayed");
        progress.acked(ROOM, "a", at(4), 1);
        assert!(progress.complete());
        progress.admitted(ROOM);
        progress.synced(ROOM);
        assert!(!progress.complete(), "not quiet");
    }
}
