//! A node or a relayer: the replica the programs run, a disk, a clock, and the driver's order of
//! doing things. Source: `docs/ARCHITECTURE.md`, "The driver".

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::{Effect, Event as Told, Input, Load, PeerId, Record};
use crdt_core::id::{AuthorId, OpId, RoomId, StoreId};
use crdt_core::key::{CheckSignature, SecretKey};
use crdt_core::own::Signed;
use crdt_core::rejection::Rejection;
use crdt_core::replica::{Config, Rooms};
use crdt_core::time::{Span, Timestamp};

use super::disk::Disk;
use super::mangle::Mangler;

/// Pages read from disk between two looks at the inputs, as in the driver of the programs.
const LOADS_MAX: usize = 8;

/// One end of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) link: usize,
    pub(super) end: usize,
}

/// Ops received and not acknowledged yet, message by message.
pub(super) type Awaiting = VecDeque<(RoomId, Vec<OpId>)>;

#[derive(Debug)]
pub(super) struct Party {
    pub(super) name: String,
    /// The seed of its key; none for a relayer.
    key: Option<[u8; 32]>,
    author: Option<AuthorId>,
    pub(super) store: StoreId,
    signatures: Arc<dyn CheckSignature>,
    /// How it lies; `None` if it is honest.
    pub(super) mangler: Option<Mangler>,
    pub(super) disk: Disk,
    /// None while its process does not run.
    pub(super) replica: Option<Replica>,
    pub(super) inbox: VecDeque<Input>,
    pub(super) loads: VecDeque<Load>,
    pub(super) peers: BTreeMap<PeerId, Seat>,
    pub(super) awaiting: BTreeMap<PeerId, Awaiting>,
    pub(super) clock: Clock,
    /// When its driver looks at its inputs next.
    pub(super) step_at: Option<u64>,
    /// An old copy of the disk that an operator keeps, and the id of the store on it.
    pub(super) backup: Option<(Disk, StoreId)>,
    /// What is noted outside the disk of how much its key has signed.
    marks: BTreeMap<RoomId, u64>,
    /// What the last batch wanted kept, if writing late is the planted bug.
    pub(super) late: Vec<Record>,
}

impl Party {
    pub(super) fn new(
        name: String,
        key: Option<[u8; 32]>,
        store: StoreId,
        signatures: &Arc<dyn CheckSignature>,
    ) -> Self {
        Self {
            name,
            key,
            author: key.map(|seed| SecretKey::from_seed(&seed).author()),
            store,
            signatures: Arc::clone(signatures),
            mangler: None,
            disk: Disk::default(),
            replica: None,
            inbox: VecDeque::new(),
            loads: VecDeque::new(),
            peers: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            clock: Clock::default(),
            step_at: None,
            backup: None,
            marks: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    pub(super) fn is_honest(&self) -> bool {
        self.mangler.is_none()
    }

    pub(super) fn author(&self) -> Option<AuthorId> {
        self.author
    }

    /// A replica given back what the disk holds, as the programs start it.
    pub(super) fn reopened(&self) -> Result<Replica, Rejection> {
        let mut replica = Replica::new(Config {
            store: self.store,
            agent: self.name.clone(),
            rooms: if self.key.is_some() { Rooms::Joined } else { Rooms::OnDemand },
            key: self.key.map(|seed| SecretKey::from_seed(&seed)),
            seed: [0; 32],
            allowed: None,
            signatures: Arc::clone(&self.signatures),
        });
        for record in self.disk.records() {
            replica.restore(record)?;
        }
        Ok(replica)
    }

    /// A replica as a process starts it, which compares what its key has signed with what its disk
    /// holds. It goes on as the store `fresh` if that is older.
    pub(super) fn started(&mut self, fresh: StoreId) -> Result<Replica, Rejection> {
        let mut replica = self.reopened()?;
        let signed = Signed { rooms: self.marks.clone(), others: Some(0), peers: 1 };
        if self.key.is_some() && replica.doubt_if_behind(signed, fresh) {
            self.store = fresh;
        }
        Ok(replica)
    }

    /// Notes outside the disk how much the key has signed, as a node does.
    pub(super) fn note(&mut self, told: &Told) {
        let (room, signed) = match told {
            Told::Durable { room, seq, .. } => (room, seq.number() + 1),
            Told::Learnt { room, signed } => (room, *signed),
            Told::Admitted { room, op, .. } if Some(op.head().author) == self.author() => {
                (room, op.head().seq.number() + 1)
            }
            Told::Admitted { .. }
            | Told::Refused { .. }
            | Told::SignedElsewhere { .. }
            | Told::Withheld { .. }
            | Told::PutOff { .. }
            | Told::Withdrawn { .. }
            | Told::Acked { .. }
            | Told::PeerReady { .. }
            | Told::Synced { .. }
            | Told::PeerProblem { .. }
            | Told::Blamed { .. } => return,
        };
        let mark = self.marks.entry(*room).or_default();
        *mark = signed.max(*mark);
    }

    /// The process ends, with whatever it had in memory.
    pub(super) fn stop(&mut self) {
        self.replica = None;
        self.inbox.clear();
        self.loads.clear();
        self.late.clear();
        self.awaiting.clear();
        self.step_at = None;
        self.disk.lose_unsynced();
    }

    /// Feeds the replica what is at hand. Returns what it wants done and how many frames it took.
    pub(super) fn batch(&mut self, now: Timestamp, inputs_max: usize) -> (Vec<Effect>, u64) {
        let Some(replica) = &mut self.replica else { return (Vec::new(), 0) };
        let (mut effects, mut frames) = (Vec::new(), 0);
        for _ in 0..inputs_max {
            let Some(input) = self.inbox.pop_front() else { break };
            frames += u64::from(matches!(input, Input::Received(..) | Input::ReceivedBinary(_)));
            effects.extend(replica.handle(now, input));
        }
        for _ in 0..LOADS_MAX {
            let Some(load) = self.loads.pop_front() else { break };
            if self.peers.contains_key(&load.peer) {
                let loaded = Input::Loaded(self.disk.load(load));
                effects.extend(replica.handle(now, loaded));
            }
        }
        effects.extend(replica.handle(now, Input::Flush));
        (effects, frames)
    }
}

/// The driver's clock: it follows the wall clock forwards and never goes back while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// What the wall clock is ahead of true time.
    pub(super) ahead: i64,
    last: i64,
    at: i64,
}

impl Clock {
    /// The process starts: only the wall clock is known.
    pub(super) fn start(&mut self, time: u64) {
        self.at = i64::try_from(time).unwrap_or(i64::MAX);
        self.last = self.at + self.ahead;
    }

    /// The time it showed last.
    pub(super) fn last(&self) -> Timestamp {
        Timestamp::from_ms(self.last)
    }

    pub(super) fn now(&mut self, time: u64) -> Timestamp {
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let followed = Timestamp::from_ms(self.last).after(Span::from_ms(time - self.at));
        self.last = followed.as_ms().max(time + self.ahead);
        self.at = time;
        Timestamp::from_ms(self.last)
    }
}
