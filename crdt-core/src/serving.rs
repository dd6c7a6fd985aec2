//! Ops that a peer asked for by id, or is known to lack: read from the store and sent in the order
//! of arrival, whatever the order of asking, so that dependencies come first. Source:
//! `docs/PROTOCOL.md`, "Fetching".

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::id::{OpId, Position, RoomId};
use crate::limits;

#[derive(Debug, Default)]
struct OfRoom {
    positions: BTreeSet<Position>,
    /// Ids asked for that are not held.
    missing: Vec<OpId>,
}

/// What one peer still gets.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    rooms: BTreeMap<RoomId, OfRoom>,
    /// Positions and ids in all rooms.
    queued: usize,
    /// Ops are being read.
    loading: bool,
    /// The room that had its turn last.
    last: Option<RoomId>,
}

impl Serving {
    /// Queues what a peer asked for; `false` if too much waits already.
    pub(crate) fn asked(
        &mut self,
        room: RoomId,
        positions: Vec<Position>,
        missing: &[OpId],
    ) -> bool {
        let more = positions.len() + missing.len();
        let fits = self.queued + more <= limits::SERVED_MAX;
        if fits && more > 0 {
            let of_room = self.rooms.entry(room).or_default();
            let before = of_room.positions.len();
            of_room.positions.extend(positions);
            of_room.missing.extend(missing);
            self.queued += of_room.positions.len() - before + missing.len();
        }
        fits
    }

    /// Whether the peer still gets ops of a room.
    pub(crate) fn is_serving(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    /// Whether the peer still gets the op at this position.
    pub(crate) fn waits(&self, room: RoomId, position: Position) -> bool {
        self.rooms.get(&room).is_some_and(|of_room| of_room.positions.contains(&position))
    }

    /// The ops to read next, if none are being read.
    pub(crate) fn next(&mut self) -> Option<(RoomId, Vec<Position>)> {
        if self.loading {
            return None;
        }
        let after = self.rooms.keys().find(|room| Some(**room) > self.last);
        let room = *after.or_else(|| self.rooms.keys().next())?;
        (self.loading, self.last) = (true, Some(room));
        let of_room = self.rooms.get(&room)?;
        let page = of_room.positions.iter().take(limits::BATCH_OPS_MAX);
        Some((room, page.copied().collect()))
    }

    /// The first `count` of `asked` were read. Returns the ids to report as missing with them.
    pub(crate) fn loaded(&mut self, room: RoomId, asked: &[Position], count: usize) -> Vec<OpId> {
        self.loading = false;
        let Some(of_room) = self.rooms.get_mut(&room) else { return Vec::new() };
        // A store that returns nothing would otherwise be asked for ever.
        let done = if count == 0 { asked.len() } else { count };
        for position in asked.iter().take(done) {
            self.queued -= usize::from(of_room.positions.remove(position));
        }
        // So many that the message with them is no longer than what is set aside for a page.
        let told = of_room.missing.len().min(limits::MISSING_TOLD_MAX);
        let missing: Vec<OpId> = of_room.missing.drain(..told).collect();
        self.queued -= missing.len();
        if of_room.positions.is_empty() && of_room.missing.is_empty() {
            self.rooms.remove(&room);
        }
        missing
    }

    /// Forgets what was asked of a room.
    pub(crate) fn forget(&mut self, room: RoomId) {
        if let Some(of_room) = self.rooms.remove(&room) {
            self.queued -= of_room.positions.len() + of_room.missing.len();
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::fixtures::{id_of, room};

    fn at(numbers: &[u64]) -> Vec<Position> {
        numbers.iter().map(|number| Position::new(*number).unwrap()).collect()
    }

    #[test]
    fn what_was_asked_for_later_comes_first_if_it_arrived_first() {
        let (mut serving, main) = (Serving::default(), room("main"));
        assert!(serving.asked(main, at(&[9, 7]), &[]));
        assert!(serving.asked(main, at(&[2, 7]), &[id_of(1)]));
        assert_eq!(serving.next(), Some((main, at(&[2, 7, 9]))));
        assert_eq!(serving.next(), None, "one page at a time");
        assert_eq!(serving.loaded(main, &at(&[2, 7, 9]), 2), [id_of(1)]);
        assert_eq!(serving.next(), Some((main, at(&[9]))));
        assert!(serving.loaded(main, &at(&[9]), 1).is_empty());
        assert!(!serving.is_serving(main) && serving.queued == 0);
    }

    #[test]
    fn rooms_take_turns_and_a_store_that_returns_nothing_is_not_asked_again() {
        let mut serving = Serving::default();
        let (a, b) = (room("a"), room("b"));
        let many: Vec<u64> = (1..=300).collect();
        assert!(serving.asked(a, at(&many), &[]) && serving.asked(b, at(&many), &[]));
        let (first, asked) = serving.next().unwrap();
        serving.loaded(first, &asked, asked.len());
        let (second, asked) = serving.next().unwrap();
        assert_ne!(first, second);
        assert!(serving.loaded(second, &asked, 0).is_empty());
        let (third, asked) = serving.next().unwrap();
        assert_eq!((third, asked.len()), (first, 44));
    }

    #[test]
    fn a_long_list_of_missing_ids_is_told_in_several_messages() {
        let (mut serving, main) = (Serving::default(), room("main"));
        let missing = alloc::vec![id_of(1); 2 * limits::MISSING_TOLD_MAX + 1];
        assert!(serving.asked(main, at(&[5]), &missing));
        let mut told = Vec::new();
        while let Some((_, page)) = serving.next() {
            let count = page.len();
            told.push(serving.loaded(main, &page, count).len());
        }
        assert_eq!(told, [limits::MISSING_TOLD_MAX, limits::MISSING_TOLD_MAX, 1]);
        assert_eq!(serving.queued, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut serving, main) = (Serving::default(), room("main"));
        let numbers: Vec<u64> = (1..=limits::SERVED_MAX as u64).collect();
        assert!(serving.asked(main, at(&numbers), &[]));
        assert!(!serving.asked(main, at(&[u64::from(u32::MAX)]), &[]));
        serving.forget(main);
        assert!(serving.asked(main, at(&[1]), &[]));
    }
}
