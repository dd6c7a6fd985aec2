//! What a room announces and when, and how it takes what others announce.
//! Source: `docs/PROTOCOL.md`, "Heads".

use alloc::vec::Vec;

use super::Room;
use crate::id::{OpId, SetDigest};
use crate::limits;
use crate::message::{Frame, Message};
use crate::time::Timestamp;

impl Room {
    /// Whether a peer that announces this holds the same; `None` if that is not looked at now.
    /// Where there are very many heads, their digest is made so often and no more, however often
    /// peers ask.
    pub(crate) fn agrees(&mut self, now: Timestamp, set: SetDigest, count: u64) -> Option<bool> {
        if count != self.log.graph().end().number() {
            return Some(false);
        }
        let many = self.log.graph().heads().len() > limits::HEADS_LISTED_MAX;
        if many && now < self.compare_at {
            return None;
        }
        self.compare_at = now.after(limits::HEADS_AFTER);
        Some(self.log.set_digest() == set)
    }

    /// The announcement of what this replica holds.
    pub(crate) fn heads_frame(&mut self) -> Frame {
        let graph = self.log.graph();
        let all = graph.heads().len();
        // Only a list that does not fit is gone on with: else a head that is new would be left out.
        let goes_on = all > limits::HEADS_LISTED_MAX && self.listed < all;
        let first = if goes_on { self.listed } else { 0 };
        let listed = graph.heads().iter().skip(first).take(limits::HEADS_LISTED_MAX);
        let heads: Vec<OpId> = listed.copied().collect();
        self.listed = first + heads.len();
        Message::Heads {
            room: self.id(),
            set: self.log.set_digest(),
            count: graph.end().number(),
            heads,
            cursor: graph.end(),
        }
        .encode()
    }

    /// The log changed: announce it after a silence, but not later than the regular time.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        let regular = self.announced_at.after(limits::HEADS_EVERY).max(now);
        self.announce_at = Some(now.after(limits::HEADS_AFTER).min(regular));
    }

    /// Somebody listens: announce at the regular time if not before.
    pub(crate) fn keep_announcing(&mut self, now: Timestamp) {
        self.announce_at.get_or_insert(now.after(limits::HEADS_EVERY));
    }

    /// Whether an announcement is due; if so the next one is put off.
    pub(crate) fn announcement_due(&mut self, now: Timestamp) -> bool {
        let due = self.announce_at.is_some_and(|at| at <= now);
        if due {
            self.announced_at = now;
            self.announce_at = Some(now.after(limits::HEADS_EVERY));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Author, entry, reread, room};
    use crate::id::StoreId;
    use crate::log::{Log, Verdict};
    use crate::message::Received;
    use crate::op::Op;

    fn announced(room: &mut Room) -> Vec<OpId> {
        match Received::decode(room.heads_frame().as_bytes()) {
            Ok(Received::Message(Message::Heads { heads, .. })) => heads,
            other => panic!("no announcement: {other:?}"),
        }
    }

    fn take(room: &mut Room, op: &Op) {
        let source = StoreId::from_bytes([9; 32]);
        assert_eq!(room.log.receive(reread(op), source, &mut Vec::new()), Verdict::Stored);
    }

    #[test]
    fn every_head_is_announced_though_there_were_fewer_before() {
        let mut main = Room::new(Log::new(room("main"), 0), None, None);
        for author in 1..=5 {
            take(&mut main, &entry(&Author::new(author), &[], "1"));
            let heads: Vec<OpId> = main.log.graph().heads().iter().copied().collect();
            assert_eq!(announced(&mut main), heads);
        }
    }
}
