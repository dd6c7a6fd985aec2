//! What must be true after every event, of the party it happened to. All of it is cheap: it looks
//! at what has changed.

use std::collections::BTreeSet;
use std::fmt;

use crdt_core::effect::{Event as Told, PeerId, Record};
use crdt_core::id::{OpId, Position, RoomId, StoreId};
use crdt_core::limits;

use super::model;
use super::options::{Crime, Fault};
use super::wire::Said;
use super::world::World;

/// What must be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An op on an honest disk is good in every byte, by the rules that need nothing but itself.
    NoPhantom,
    /// An op on an honest disk follows the ops it names, which are there before it.
    Causality,
    /// A disk holds no op twice, each in its place, in a room that is taken part in.
    Store,
    /// An honest author never has two ops at one place.
    OwnSeq,
    /// What a user is told is durable is on disk.
    Durable,
    /// Nothing is sent or acknowledged before what it speaks of is on disk.
    CommitFirst,
    /// A cursor says no more than what was pulled from that store is held.
    Cursor,
    /// An op counted as acknowledged by an honest store is on that store's disk.
    Acked,
    /// What waits is bounded.
    Bounds,
    /// An honest peer is blamed for nothing.
    HonestBlamed,
    /// Equal sets are equal logs.
    EqualSets,
    /// A replica says of its log what the rules say of the ops on its disk.
    Oracle,
    /// A disk opened again gives the same.
    Reopens,
    /// Everybody holds the same in the end, and knows of nobody who lacks it.
    Settles,
    /// Nothing durable is lost.
    NothingLost,
    /// An honest author is never seen forked.
    HonestForked,
    /// What is sent to close gaps is in proportion to them.
    Thrift,
    /// The program does not panic.
    NoPanic,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Something that must be true and was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What must be true.
    pub invariant: Invariant,
    /// What was the case instead.
    pub what: String,
    /// The number of the event.
    pub event: u64,
    /// Virtual time since the start, in ms.
    pub ms: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, what, event, ms } = self;
        write!(f, "{invariant} broken at event {event}, {ms} ms: {what}")
    }
}

impl World {
    /// Syncs what was written, after every record of it was judged.
    pub(super) fn commit(&mut self, who: usize) -> Result<(), Violation> {
        let honest = self.parties[who].is_honest();
        let mut moved: Vec<Record> = Vec::new();
        for record in self.parties[who].disk.take_unsynced() {
            match &record {
                Record::Op { .. } if honest => self.judge_op(who, &record)?,
                Record::Pulled { .. } | Record::Acked { .. } if honest => {
                    moved.push(record.clone());
                }
                Record::Room { .. }
                | Record::Op { .. }
                | Record::Pulled { .. }
                | Record::Acked { .. } => {}
            }
            self.parties[who].disk.keep(record);
        }
        // Cursors and ops are one transaction, so a cursor may speak of any op of it.
        for record in moved {
            self.judge_mark(who, &record)?;
        }
        Ok(())
    }

    fn judge_op(&mut self, who: usize, record: &Record) -> Result<(), Violation> {
        let Record::Op { position, source, op } = record else { return Ok(()) };
        let head = op.head();
        let known_before = self.truth.known.len();
        let judged = self.truth.judge(op);
        self.counts.ops += u64::from(self.truth.known.len() > known_before);
        let party = &self.parties[who];
        let says =
            |what: &str| format!("party {who} keeps {:?} of {:?}: {what}", op.id(), head.author);
        match judged {
            Err(two @ "an honest author signed two ops at one place") => {
                return Err(self.broken(Invariant::OwnSeq, says(two)));
            }
            Err(rule) => return Err(self.broken(Invariant::NoPhantom, says(rule))),
            Ok(()) => {}
        }
        let Some(archive) = party.disk.archives.get(&head.room) else {
            return Err(self.broken(Invariant::Store, says("the room is not taken part in")));
        };
        if archive.holds(op.id()) {
            return Err(self.broken(Invariant::Store, says("it is there already")));
        }
        if position.number() != archive.end() + 1 {
            return Err(self.broken(Invariant::Store, says("it is not in its place")));
        }
        if source.is_none() && Some(head.author) != party.author() {
            return Err(self.broken(Invariant::Store, says("it is said to be its own")));
        }
        model::judge_past(op, |id| archive.get(id).map(|op| &**op))
            .map_err(|rule| self.broken(Invariant::Causality, says(rule)))
    }

    /// Judges a cursor or a mark of what was acknowledged that has just been kept.
    fn judge_mark(&self, who: usize, record: &Record) -> Result<(), Violation> {
        let (room, store, position, pulled) = match record {
            Record::Pulled { room, store, position } => (*room, *store, *position, true),
            Record::Acked { room, store, position } => (*room, *store, *position, false),
            Record::Room { .. } | Record::Op { .. } => return Ok(()),
        };
        // What a liar brings under the store id of another is noted as coming from there and is not
        // streamed there; announcements find it out later.
        let own = self.honest_store(self.parties[who].store);
        let (Some(other), Some(_)) = (self.honest_store(store), own) else { return Ok(()) };
        let archive = |who: usize| self.parties[who].disk.archives.get(&room);
        let (from, to) = if pulled { (other, who) } else { (who, other) };
        let (Some(from), to) = (archive(from), archive(to)) else { return Ok(()) };
        // What it said before was judged then; looking at the last few keeps this cheap.
        let first = position.number().saturating_sub(64);
        let first = Position::new(first).unwrap_or_default();
        let lacking = from
            .range(first, position)
            .iter()
            .find(|kept| !to.is_some_and(|to| to.holds(kept.op.id())));
        let Some(lacking) = lacking else { return Ok(()) };
        let (invariant, what) = if pulled {
            (Invariant::Cursor, "has pulled everything of")
        } else {
            (Invariant::Acked, "has brought everything to")
        };
        let (id, position) = (lacking.op.id(), position.number());
        let what =
            format!("party {who} notes that it {what} {other} up to {position}, but not {id:?}");
        Err(self.broken(invariant, what))
    }

    /// The honest party with this store, unless a liar says that it has it.
    fn honest_store(&self, store: StoreId) -> Option<usize> {
        let claimed = self
            .liars
            .iter()
            .any(|liar| liar.crimes.contains(&Crime::ClaimStore) && liar.store == store);
        let restored = self.options.faults.contains_key(&Fault::Restore);
        let owner = self.parties.iter().position(|party| party.store == store);
        owner.filter(|who| !claimed && !restored && self.parties[*who].is_honest())
    }

    /// A party is about to say this to a peer.
    pub(super) fn check_send(
        &mut self,
        who: usize,
        peer: PeerId,
        said: &Said,
    ) -> Result<(), Violation> {
        match said {
            Said::Ops { room, ids } => {
                let lacking = self.not_on_disk(who, *room, ids);
                if let Some(id) = lacking {
                    let what = format!("party {who} sends {id:?}, which is not on its disk");
                    return Err(self.broken(Invariant::CommitFirst, what));
                }
            }
            Said::Ack { room, except } => {
                let awaiting = self.parties[who].awaiting.get_mut(&peer);
                let Some((of, ids)) = awaiting.and_then(std::collections::VecDeque::pop_front)
                else {
                    return Ok(());
                };
                let except: BTreeSet<usize> = except.iter().copied().collect();
                let stored = ids.into_iter().enumerate().filter(|(at, _)| !except.contains(at));
                let stored: Vec<OpId> = stored.map(|(_, id)| id).collect();
                let lacking = self.not_on_disk(who, of, &stored);
                if let (Some(id), true) = (lacking, of == *room) {
                    let what = format!("party {who} acknowledges {id:?}, which is not on its disk");
                    return Err(self.broken(Invariant::CommitFirst, what));
                }
            }
            Said::Heads { room, cursor } => {
                let end =
                    self.parties[who].disk.archives.get(room).map_or(0, super::disk::Archive::end);
                if *cursor > end {
                    let what = format!("party {who} announces {cursor} ops, {end} are on its disk");
                    return Err(self.broken(Invariant::CommitFirst, what));
                }
            }
            Said::Other => {}
        }
        Ok(())
    }

    fn not_on_disk(&self, who: usize, room: RoomId, ids: &[OpId]) -> Option<OpId> {
        let archive = self.parties[who].disk.archives.get(&room);
        ids.iter().copied().find(|id| !archive.is_some_and(|archive| archive.holds(*id)))
    }

    /// An honest party never has a reason to close a connection with another.
    pub(super) fn check_close(&self, who: usize, peer: PeerId) -> Result<(), Violation> {
        let seat = self.parties[who].peers.get(&peer);
        if seat.is_some_and(|seat| self.links[seat.link].honest) {
            let what = format!("party {who} closes its connection to an honest peer");
            return Err(self.broken(Invariant::HonestBlamed, what));
        }
        Ok(())
    }

    /// A party tells its user something.
    pub(super) fn told(&mut self, who: usize, told: &Told) -> Result<(), Violation> {
        if !self.parties[who].is_honest() {
            return Ok(());
        }
        self.parties[who].note(told);
        match told {
            Told::Admitted { room, op, .. } => {
                if self.not_on_disk(who, *room, &[op.id()]).is_some() {
                    let what = format!("party {who} shows {:?}, which is not on its disk", op.id());
                    return Err(self.broken(Invariant::CommitFirst, what));
                }
            }
            Told::Durable { room, op, .. } => {
                if self.not_on_disk(who, *room, &[*op]).is_some() {
                    let what = format!("party {who} calls {op:?} durable, it is not on its disk");
                    return Err(self.broken(Invariant::Durable, what));
                }
                self.truth.durable.insert((*room, *op));
                self.say(|| format!("{who} has {op:?} durable"));
            }
            Told::Refused { error, .. } => {
                let what = format!("party {who} refuses a good transaction: {error}");
                return Err(self.broken(Invariant::Durable, what));
            }
            Told::Blamed { peer, code } => {
                let seat = self.parties[who].peers.get(peer);
                // An honest peer may ask faster than it is answered; it is told to wait.
                if seat.is_some_and(|seat| self.links[seat.link].honest) && *code != "busy" {
                    let what = format!("party {who} blames an honest peer: {code}");
                    return Err(self.broken(Invariant::HonestBlamed, what));
                }
            }
            Told::Withheld { peer, op, .. } => {
                let seat = self.parties[who].peers.get(peer);
                if seat.is_some_and(|seat| self.links[seat.link].honest) {
                    let what = format!("party {who} says that an honest peer withholds {op:?}");
                    return Err(self.broken(Invariant::HonestBlamed, what));
                }
            }
            Told::SignedElsewhere { op, .. } => {
                let what = format!("party {who} is told that it signed {op:?} elsewhere");
                return Err(self.broken(Invariant::OwnSeq, what));
            }
            Told::Learnt { .. } => self.count("chain learnt"),
            Told::Withdrawn { .. }
            | Told::PutOff { .. }
            | Told::Acked { .. }
            | Told::PeerReady { .. }
            | Told::Synced { .. }
            | Told::PeerProblem { .. } => {}
        }
        Ok(())
    }

    /// What waits in a party's memory is bounded.
    pub(super) fn check_party(&self, who: usize) -> Result<(), Violation> {
        let party = &self.parties[who];
        let Some(replica) = party.replica.as_ref().filter(|_| party.is_honest()) else {
            return Ok(());
        };
        for room in replica.rooms() {
            let Some(status) = replica.status(room) else { continue };
            // Only ops that are signed and not admitted can wait, so many of each author.
            let room_of = party.disk.archives.get(&room);
            let waiting = if status.parked == 0 { Vec::new() } else { self.truth.signed_in(room) };
            let most: usize = waiting
                .into_iter()
                .map(|(author, signed)| {
                    let held = room_of.map_or(0, |archive| archive.count_of(author));
                    signed.saturating_sub(held).min(limits::PARKED_PER_AUTHOR_MAX)
                })
                .sum();
            if status.parked > most.min(limits::PARKED_OPS_MAX) {
                let what = format!("{} ops wait at party {who}, {most} may", status.parked);
                return Err(self.broken(Invariant::Bounds, what));
            }
            let wanted = status.bounds.wants;
            if wanted > limits::WANTS_MAX {
                let what = format!("party {who} wants {wanted} ops");
                return Err(self.broken(Invariant::Bounds, what));
            }
        }
        Ok(())
    }
}
