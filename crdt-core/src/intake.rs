//! What this side takes of ops that nothing is wrong with: as much as it has room for. Whether an
//! op is valid does not depend on it, so what is put off here is taken as soon as there is room
//! again. Source: `docs/PROTOCOL.md`, "Put off".

use alloc::collections::BTreeSet;

use crate::id::{AuthorId, RoomId};
use crate::limits;
use crate::log::Admitted;
use crate::rates::{Authors, KeyRates};
use crate::time::{Span, Timestamp};

/// The keys whose owners are let in.
pub type Allowed = BTreeSet<AuthorId>;

/// What this side lacks to take a valid op now; what may last longest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// Its disk is full, or nearly.
    Disk,
    /// The room holds as much as this side keeps of one.
    Quota,
    /// Its author writes faster than is taken of one.
    Rate,
}

impl Shortage {
    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Quota => "quota",
            Self::Rate => "rate",
        }
    }

    /// What a code on the wire says.
    pub(crate) fn parse(code: &str) -> Option<Self> {
        [Self::Disk, Self::Quota, Self::Rate].into_iter().find(|shortage| shortage.code() == code)
    }

    /// The longest pause before it is tried again. One author in debt does not hold up others for
    /// long.
    pub(crate) const fn pause_max(self) -> Span {
        match self {
            Self::Disk | Self::Quota => limits::PUT_OFF_WAIT_MAX,
            Self::Rate => limits::PUT_OFF_RATE_WAIT_MAX,
        }
    }

    /// What whoever sent the op is told.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Disk => "the disk here is full; keep what is not acknowledged, it is taken later",
            Self::Quota => {
                "this room holds as much as is kept of a room here; keep what is not acknowledged"
            }
            Self::Rate => "the author writes faster than is taken here; it is taken later",
        }
    }
}

/// How much a replica takes of others. What it has itself to say is not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Nothing new is kept.
    pub disk_full: bool,
    /// Bytes of ops that a room may hold, each counted as [`Op::weight`](crate::op::Op::weight) has
    /// it; `None` for no limit.
    pub room_bytes_max: Option<u64>,
    /// How fast ops of one author are taken.
    pub rates: KeyRates,
    /// Rooms that a connection may use: at most [`limits::SUBSCRIPTIONS_MAX`].
    pub subscriptions_max: usize,
    /// Rooms that are held: at most [`limits::ROOMS_MAX`].
    pub rooms_max: usize,
    /// The rooms that may be made, if not all.
    pub rooms: Option<BTreeSet<RoomId>>,
    /// Whoever connects must prove that it has one of these keys, if any are given.
    pub allowed: Option<Allowed>,
}

impl Default for Intake {
    /// As much as the protocol allows.
    fn default() -> Self {
        Self {
            disk_full: false,
            room_bytes_max: None,
            rates: KeyRates::default(),
            subscriptions_max: limits::SUBSCRIPTIONS_MAX,
            rooms_max: limits::ROOMS_MAX,
            rooms: None,
            allowed: None,
        }
    }
}

impl Intake {
    /// Whether a room may be made.
    pub(crate) fn makes(&self, id: RoomId) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(&id))
    }

    /// What is lacking to take anything new into a room that holds so many bytes.
    pub(crate) fn lacks(&self, room_bytes: u64) -> Option<Shortage> {
        if self.disk_full {
            return Some(Shortage::Disk);
        }
        self.room_bytes_max.filter(|max| room_bytes >= *max).map(|_| Shortage::Quota)
    }
}

/// How much is taken, and what was taken lately.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    pub(crate) intake: Intake,
    pub(crate) authors: Authors,
}

/// What stands between the ops of one message and a room's log, besides the rules.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) now: Timestamp,
    /// What is lacking to take anything new.
    pub(crate) lacks: Option<Shortage>,
    pub(crate) authors: &'a mut Authors,
    /// None, where the peer is not paced.
    pub(crate) rates: KeyRates,
    /// What an author may owe.
    pub(crate) owed_max: Span,
    /// The most that an author owes of whom ops were taken.
    pub(crate) owed: Span,
}

impl Taking {
    /// The gate for a message to a room that holds so many bytes, of a peer that is paced so.
    pub(crate) fn gate(
        &mut self,
        now: Timestamp,
        (rates, owed_max): (KeyRates, Span),
        room_bytes: u64,
    ) -> Gate<'_> {
        let lacks = self.intake.lacks(room_bytes);
        Gate { now, lacks, authors: &mut self.authors, rates, owed_max, owed: Span::from_ms(0) }
    }

    /// Whether ops of this author will be taken, as far as can be said before those that come first
    /// are.
    pub(crate) fn is_open_to(
        &self,
        author: AuthorId,
        now: Timestamp,
        (rates, owed_max): (KeyRates, Span),
        room_bytes: u64,
    ) -> bool {
        let owed = self.authors.owes(now, rates, author).as_ms();
        self.intake.lacks(room_bytes).is_none() && owed <= owed_max.as_ms() / 2
    }
}

impl Gate<'_> {
    /// Why a new op of this author is not taken. One that others wait for is not kept from them:
    /// its author pays for it later.
    pub(crate) fn refuses(&self, author: AuthorId, awaited: bool) -> Option<Shortage> {
        let owes = || self.authors.owes(self.now, self.rates, author) > self.owed_max;
        self.lacks.or_else(|| (!awaited && owes()).then_some(Shortage::Rate))
    }

    /// An op was taken, and those that waited for it. Nobody is charged for what others send in its
    /// name: their signatures are good, and they were not here before. Whoever brings an op does
    /// not wait for what others brought earlier.
    pub(crate) fn took(&mut self, admitted: &[Admitted]) {
        for (index, entered) in admitted.iter().enumerate() {
            let (author, bytes) = (entered.op.head().author, entered.op.weight() as u64);
            self.authors.take(self.now, self.rates, author, bytes);
            if index == 0 {
                let owed = self.authors.owes(self.now, self.rates, author);
                self.owed = self.owed.max(owed).min(limits::RATE_OWED_MAX);
            }
        }
    }
}
