//! Bugs that are planted on purpose, to see that the simulator finds them. A normal build has none:
//! [`planted`] is then a constant `false`. Built with `--cfg sim_bug`, one of them at a time can be
//! chosen while the program runs. Source: `docs/TESTING.md`, "Simulator".

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A signature is not checked.
    SignatureUnchecked = 1,
    /// Data need not be what the head says.
    DataUnchecked,
    /// An op need not continue its author's chain.
    ChainUnchecked,
    /// The depth need not follow from the dependencies.
    DepthUnchecked,
    /// The grant need not be the room's.
    GrantUnchecked,
    /// An op of another room is taken.
    ForeignRoomTaken,
    /// More dependencies are taken than are allowed.
    ParentCapDoubled,
    /// One author's parked ops are not bounded.
    ParkedUnbounded,
    /// An op that is there already is admitted once more.
    AdmittedTwice,
    /// A fork is not recorded.
    ForkForgotten,
    /// A head stays one though another op names it among others.
    HeadsStale,
    /// The log digest takes ops in the order in which they came.
    OrderByArrival,
    /// After a start the first own op begins the chain anew.
    TipForgotten,
    /// A restored copy signs before it knows its chain.
    DoubtIgnored,
    /// Own ops are as deep as their chain says, whatever else they name.
    OwnDepthByChain,
    /// Own ops claim the clock's time though it went back.
    OwnTimeBack,
    /// Who comes back is not sent what came meanwhile.
    OutboxForgotten,
    /// A cursor is noted one place further than was pulled.
    CursorAhead,
    /// An `ack` counts for the last message instead of the oldest.
    AckOfTheLast,
    /// A parked op is acknowledged as stored.
    ParkedAcknowledged,
    /// What a peer put off counts as stored there.
    LaterAcknowledged,
    /// A cursor is taken beyond what was put off.
    LaterSkipped,
    /// A bad signature is remembered against the good one.
    BadSignatureRemembered,
    /// The driver writes what a batch wants kept together with the next batch.
    PersistLate,
}

impl Bug {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::SignatureUnchecked,
        Self::DataUnchecked,
        Self::ChainUnchecked,
        Self::DepthUnchecked,
        Self::GrantUnchecked,
        Self::ForeignRoomTaken,
        Self::ParentCapDoubled,
        Self::ParkedUnbounded,
        Self::AdmittedTwice,
        Self::ForkForgotten,
        Self::HeadsStale,
        Self::OrderByArrival,
        Self::TipForgotten,
        Self::DoubtIgnored,
        Self::OwnDepthByChain,
        Self::OwnTimeBack,
        Self::OutboxForgotten,
        Self::CursorAhead,
        Self::AckOfTheLast,
        Self::ParkedAcknowledged,
        Self::LaterAcknowledged,
        Self::LaterSkipped,
        Self::BadSignatureRemembered,
        Self::PersistLate,
    ];
}

/// Whether this bug is planted: never.
#[cfg(not(sim_bug))]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this bug is planted now.
#[cfg(sim_bug)]
pub fn planted(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Plants one bug, or none, in all replicas of the process.
#[cfg(sim_bug)]
pub fn plant(bug: Option<Bug>) {
    let number = bug.map_or(0, |bug| bug as u8);
    PLANTED.store(number, core::sync::atomic::Ordering::Relaxed);
}

#[cfg(sim_bug)]
static PLANTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);
