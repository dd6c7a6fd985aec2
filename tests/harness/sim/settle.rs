//! What must be true of whole logs: every so many events of one party, and of all in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::id::{AuthorId, OpId, RoomId, RoomName};
use crdt_core::op::Op;
use crdt_core::standing::Standing;

use super::check::{Invariant, Violation};
use super::model::Model;
use super::world::World;

/// Bytes of ops a link may carry one way after the healing besides three times what was due.
const LINK_BYTES_MAX: u64 = 64 * 1024;

impl World {
    /// Compares a party with the oracle, with its own disk opened again, and with all others.
    pub(super) fn check_fully(&self, who: usize) -> Result<(), Violation> {
        let party = &self.parties[who];
        let Some(replica) = party.replica.as_ref().filter(|_| party.is_honest()) else {
            return Ok(());
        };
        let reopened = party.reopened().map_err(|rule| {
            self.broken(Invariant::Reopens, format!("the disk of {who} is refused: {rule}"))
        })?;
        for (room, archive) in &party.disk.archives {
            let model = Model::of(archive.ops.iter().map(|kept| &*kept.op));
            for (invariant, replica) in
                [(Invariant::Oracle, replica), (Invariant::Reopens, &reopened)]
            {
                let found = found(replica, *room);
                if found.as_ref() != Some(&model) {
                    let what = format!("party {who} says {found:?}, the rules {model:?}");
                    return Err(self.broken(invariant, what));
                }
            }
            let honest_fork = self.forked_honest(archive.ops.iter().map(|kept| &kept.op));
            if let Some(author) = honest_fork {
                let what = format!("party {who} sees the honest {author:?} forked");
                return Err(self.broken(Invariant::HonestForked, what));
            }
        }
        self.check_equal_sets()
    }

    /// Equal sets are equal logs, whatever the order in which their ops came.
    fn check_equal_sets(&self) -> Result<(), Violation> {
        for room in self.rooms.iter().map(RoomName::id) {
            let mut logs = BTreeMap::new();
            for (who, party) in self.parties.iter().enumerate().filter(|(_, p)| p.is_honest()) {
                let Some(replica) = &party.replica else { continue };
                let Some(status) = replica.status(room) else { continue };
                let log = replica.log_digest(room);
                let (first, same) = *logs.entry(status.set).or_insert((who, log));
                if same != log {
                    let what = format!("parties {first} and {who} hold one set and two logs");
                    return Err(self.broken(Invariant::EqualSets, what));
                }
            }
        }
        Ok(())
    }

    fn forked_honest<'o>(&self, ops: impl Iterator<Item = &'o Arc<Op>>) -> Option<AuthorId> {
        let mut places = BTreeSet::new();
        let honest =
            ops.map(|op| op.head()).filter(|head| self.truth.honest.contains(&head.author));
        honest
            .into_iter()
            .find(|head| !places.insert((head.author, head.seq)))
            .map(|head| head.author)
    }

    /// Why the run is not over yet.
    pub(super) fn unsettled(&self) -> Option<String> {
        for room in self.rooms.iter().map(RoomName::id) {
            let mut first = None;
            for (who, party) in self.parties.iter().enumerate().filter(|(_, p)| p.is_honest()) {
                let Some(replica) = &party.replica else { return Some(format!("{who} is down")) };
                // A relayer knows no room that nobody has written to.
                let set = replica.status(room).filter(|s| s.ops > 0).map(|s| (s.set, s.ops));
                let (other, theirs) = *first.get_or_insert((who, set));
                if theirs != set {
                    return Some(format!(
                        "parties {other} and {who} differ in {room:?}: {theirs:?}, {set:?}"
                    ));
                }
                let unsent = party.author().map_or(0, |author| replica.unsent(room, author));
                if let Some(status) = replica.status(room).filter(|status| status.unsigned > 0) {
                    let (lines, signed) = (status.unsigned, status.learning);
                    return Some(format!("party {who} has not signed {lines} lines: {signed:?}"));
                }
                if unsent > 0 {
                    return Some(format!("party {who} has {unsent} ops that nobody acknowledged"));
                }
            }
        }
        None
    }

    /// What must be true in the end.
    /// Nobody says in the end that an honest peer keeps an op back. (Where a clock jumps, a peer
    /// has been silent for that long until it speaks again.)
    fn check_standing(&self, who: usize) -> Result<(), Violation> {
        let party = &self.parties[who];
        let Some(replica) = party.replica.as_ref().filter(|_| party.is_honest()) else {
            return Ok(());
        };
        for peer in replica.peers(party.clock.last()) {
            let seat = self.parties[who].peers.get(&peer.peer);
            let honest = seat.is_some_and(|seat| self.links[seat.link].honest);
            for of_room in peer.rooms.iter().filter(|_| honest) {
                if let Standing::Withholding { op: Some(_) } = of_room.standing {
                    let what = format!("party {who} says of an honest peer: {of_room:?}");
                    return Err(self.broken(Invariant::HonestBlamed, what));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_end(&mut self) -> Result<(), Violation> {
        for who in 0..self.parties.len() {
            self.check_fully(who)?;
            self.check_standing(who)?;
        }
        for room in self.rooms.clone().iter().map(RoomName::id) {
            let held: Vec<(usize, BTreeSet<OpId>)> = self
                .parties
                .iter()
                .enumerate()
                .filter(|(_, party)| party.is_honest())
                .map(|(who, party)| {
                    let archive = party.disk.archives.get(&room);
                    let ops = archive.map(|archive| archive.ops.as_slice()).unwrap_or_default();
                    (who, ops.iter().map(|kept| kept.op.id()).collect())
                })
                .collect();
            let known: BTreeSet<OpId> = held.iter().flat_map(|(_, ids)| ids).copied().collect();
            for (who, ids) in &held {
                if let Some(id) = known.difference(ids).next() {
                    let what = format!("party {who} lacks {id:?}, which another holds");
                    return Err(self.broken(Invariant::Settles, what));
                }
            }
            let durable = self.truth.durable.iter().filter(|(of, _)| *of == room);
            if let Some((_, id)) = durable.into_iter().find(|(_, id)| !known.contains(id)) {
                let what = format!("{id:?} was durable and nobody holds it");
                return Err(self.broken(Invariant::NothingLost, what));
            }
        }
        self.check_thrift()
    }

    /// What each link carried after the healing is in proportion to what was to be pulled over it.
    /// Not to what the receiver lacked: what came to it on other ways since it last pulled from
    /// this store is sent again, because a cursor is all that a peer says about what it holds.
    fn check_thrift(&mut self) -> Result<(), Violation> {
        // A disk that was put back makes cursors false: then whole streams are repeated, once each.
        if self.restored.is_some() {
            return Ok(());
        }
        for link in self.links.iter().filter(|link| link.honest) {
            for end in [0, 1] {
                let (half, from) = (&link.halves[end], link.ends[1 - end]);
                let disk = &self.parties[from].disk;
                let (carried, due) = (half.ops_bytes, disk.bytes_after(&half.pulled));
                self.counts.links.push((carried, due));
                // What was put off is sent once more, though it may have been asked for meanwhile:
                // of all there is, at most, and once.
                let short = self.short.contains(&link.ends[end]);
                let again = if short { disk.bytes_after(&BTreeMap::new()) } else { 0 };
                if carried > 3 * due + again + LINK_BYTES_MAX {
                    let what =
                        format!("an honest link carried {carried} bytes one way, {due} were due");
                    return Err(self.broken(Invariant::Thrift, what));
                }
            }
        }
        Ok(())
    }
}

/// What a replica says of a room.
fn found(replica: &Replica, room: RoomId) -> Option<Model> {
    let status = replica.status(room)?;
    Some(Model {
        ops: usize::try_from(status.ops).unwrap_or(usize::MAX),
        entries: status.entries,
        heads: status.heads.into_iter().collect(),
        forks: status.equivocations,
        set: status.set,
        log: replica.log_digest(room)?,
    })
}
