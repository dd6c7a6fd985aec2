//! How far the stream was read, and how far it need not be read again.
//!
//! Three places, each at most the next: what the relayer's store *claims* to have taken, what *is*
//! taken for good, and what was *read*. An op that lacks a dependency is parked in memory only, so
//! the stream is not taken for good beyond it until it is stored.

use std::collections::{BTreeMap, HashMap};

use crdt_core::id::{OpId, RoomId, SetDigest};

/// Parked ops that are remembered: as many as a replica parks of one store.
const UNSETTLED_MAX: usize = crdt_core::limits::PARKED_PER_SOURCE_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    claimed: u64,
    read: u64,
    unsettled: BTreeMap<u64, (RoomId, OpId)>,
    places: HashMap<OpId, u64>,
    /// The sets for which it was asked, in rooms with unsettled ops, which of them are stored.
    asked: HashMap<RoomId, SetDigest>,
}

impl Reading {
    /// The relayer's store says that it has taken everything up to here.
    pub(crate) fn resume(&mut self, claimed: u64) {
        self.claimed = self.claimed.max(claimed);
        self.read = self.read.max(claimed);
    }

    /// Everything up to here was read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Everything up to here is taken for good.
    pub(crate) fn settled(&self) -> u64 {
        let oldest = self.unsettled.first_key_value().map(|(seq, _)| seq.saturating_sub(1));
        oldest.unwrap_or(self.read).min(self.read)
    }

    /// The place to claim in the store, if it does not claim it already.
    pub(crate) fn to_claim(&self) -> Option<u64> {
        Some(self.settled()).filter(|settled| *settled > self.claimed)
    }

    /// Whether a claim of what comes next, up to its end, is true if the store takes it.
    pub(crate) fn nothing_before(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// The store claims everything up to here.
    pub(crate) fn claim(&mut self, place: u64) {
        self.claimed = self.claimed.max(place);
    }

    /// Everything up to here was read and answered.
    pub(crate) fn advance(&mut self, to: u64) {
        self.read = self.read.max(to);
    }

    /// An op is parked.
    pub(crate) fn park(&mut self, seq: u64, room: RoomId, id: OpId) {
        if self.places.insert(id, seq).is_none() {
            self.unsettled.insert(seq, (room, id));
        }
        if self.unsettled.len() > UNSETTLED_MAX
            && let Some((_, (_, id))) = self.unsettled.pop_first()
        {
            // The replica has forgotten it too.
            self.places.remove(&id);
        }
    }

    /// An op is stored. Returns whether it was parked before.
    pub(crate) fn settle(&mut self, id: OpId) -> bool {
        let place = self.places.remove(&id);
        place.is_some_and(|seq| self.unsettled.remove(&seq).is_some())
    }

    /// Whether an op of this room is parked.
    pub(crate) fn waits_in(&self, room: RoomId) -> bool {
        self.unsettled.values().any(|(of, _)| *of == room)
    }

    /// Goes back to the oldest op that is parked; `false` if none is.
    pub(crate) fn rewind(&mut self) -> bool {
        self.read = self.settled();
        !self.unsettled.is_empty()
    }

    /// The ops of a room that may be stored by now, as its set has changed.
    pub(crate) fn doubtful(&mut self, room: RoomId, set: SetDigest) -> Vec<OpId> {
        if self.unsettled.is_empty() {
            self.asked.clear();
            return Vec::new();
        }
        let of_room = self.unsettled.values().filter(|(of, _)| *of == room).map(|(_, id)| *id);
        let ids: Vec<OpId> = of_room.take(crdt_core::limits::GET_IDS_MAX).collect();
        let news = self.asked.insert(room, set) != Some(set);
        if ids.is_empty() || !news { Vec::new() } else { ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> OpId {
        OpId::from_bytes([byte; 32])
    }

    const ROOM: RoomId = RoomId::from_bytes([0; 32]);

    #[test]
    fn what_is_parked_is_read_again_until_it_is_stored() {
        let mut reading = Reading::default();
        reading.resume(10);
        reading.advance(20);
        reading.park(13, ROOM, id(1));
        reading.park(15, ROOM, id(2));
        assert_eq!((reading.settled(), reading.to_claim()), (12, Some(12)));
        reading.claim(12);
        assert!(reading.settle(id(1)) && !reading.settle(id(1)));
        assert_eq!((reading.settled(), reading.to_claim()), (14, Some(14)));
        assert!(reading.rewind());
        assert_eq!(reading.read(), 14);
        assert!(reading.settle(id(2)));
        reading.advance(20);
        assert_eq!((reading.settled(), reading.rewind(), reading.read()), (20, false, 20));
    }

    #[test]
    fn stored_or_not_is_asked_once_for_each_set() {
        let mut reading = Reading::default();
        let [one, two] = [1, 2].map(|byte| SetDigest::from_bytes([byte; 32]));
        assert!(reading.doubtful(ROOM, one).is_empty());
        reading.advance(1);
        reading.park(1, ROOM, id(1));
        assert_eq!(reading.doubtful(ROOM, one), [id(1)]);
        assert!(reading.doubtful(ROOM, one).is_empty());
        assert_eq!(reading.doubtful(ROOM, two), [id(1)]);
    }

    #[test]
    fn a_flood_of_parked_ops_is_forgotten_from_its_start() {
        let mut reading = Reading::default();
        for seq in 1..=5_000_u16 {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&seq.to_be_bytes());
            reading.park(u64::from(seq), ROOM, OpId::from_bytes(bytes));
        }
        reading.advance(5_000);
        assert_eq!(reading.unsettled.len(), UNSETTLED_MAX);
        assert_eq!(reading.places.len(), UNSETTLED_MAX);
        assert_eq!(reading.settled(), 5_000 - UNSETTLED_MAX as u64);
    }
}
