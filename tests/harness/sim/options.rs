//! What a run is made of: how many of whom, which faults and which lies. Drawn from the seed, each
//! fault on with probability one half and then at a rate of its own, so that the runs differ in
//! what they do not do as well: a fault that is always on hides what happens without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::tape::Tape;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in options and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == text)
            }
        }
    };
}

named! {
    /// What happens to honest parties, their disks, clocks and links.
    Fault {
        /// A process is killed: at rest, before its commit, after it, between two sends.
        Crash = "crash",
        /// A commit fails for want of space: the replica is dropped and started again later.
        DiskFull = "disk-full",
        /// A connection breaks, frames in flight are lost, both sides notice soon.
        Cut = "cut",
        /// A connection goes dead in one direction and is noticed late.
        HalfCut = "half-cut",
        /// Several links stay broken for a while.
        Partition = "partition",
        /// A wall clock jumps forwards or back.
        ClockJump = "clock-jump",
        /// A relayer loses its store and starts with a new one, under a new store id.
        LoseStore = "lose-store",
        /// A link is slow for a while.
        Slow = "slow",
        /// An operator puts back an old copy of a node's or relayer's disk.
        Restore = "restore",
        /// A relayer puts off ops of others for a while: all, those of a room, those of fast
        /// authors.
        Shortage = "shortage",
    }
}

named! {
    /// What a lying author does.
    Crime {
        /// Two ops at one place, each to other parties.
        Equivocate = "equivocate",
        /// Many ops at one place to one party.
        Siblings = "siblings",
        /// A signature that is not its author's, under the id of a good op that comes later.
        BadSignature = "bad-signature",
        /// A depth that does not follow from the dependencies.
        WrongDepth = "wrong-depth",
        /// A `prev` that is another author's, not the place before, or later.
        BrokenChain = "broken-chain",
        /// An op of one room in a message of another.
        ForeignRoom = "foreign-room",
        /// A grant that grants nothing.
        ForeignGrant = "foreign-grant",
        /// An op whose parent is shown to nobody, or to others only.
        Withhold = "withhold",
        /// Data that is not what the head says.
        WrongData = "wrong-data",
        /// An id that is not the hash of the head.
        WrongId = "wrong-id",
        /// Somebody else's op once more.
        Replay = "replay",
        /// More ops that wait for nothing than may be kept of one author.
        Flood = "flood",
        /// Ops of kinds that nobody knows.
        UnknownKind = "unknown-kind",
        /// As many preds as are allowed.
        ManyPreds = "many-preds",
        /// More preds than are allowed.
        TooManyPreds = "too-many-preds",
        /// An entry op without entries.
        EmptyEntry = "empty-entry",
        /// Frames that are no messages.
        Nonsense = "nonsense",
        /// Heads that nobody has.
        PhantomHeads = "phantom-heads",
        /// The store id of an honest party in its `hello`.
        ClaimStore = "claim-store",
        /// A valid child of an op that is refused.
        OnRefused = "on-refused",
    }
}

named! {
    /// What a lying relayer does to what it passes on.
    Lie {
        /// Leaves out one author's ops.
        WithholdAuthor = "withhold-author",
        /// Leaves out every op.
        WithholdAll = "withhold-all",
        /// Passes ops on in another order.
        Reorder = "reorder",
        /// Says things twice.
        Duplicate = "duplicate",
        /// Says its stream stands elsewhere than it does.
        Rewind = "rewind",
        /// Loses its store and keeps its store id.
        Forget = "forget",
        /// Names heads that nobody has.
        PhantomHeads = "phantom-heads",
        /// Shows some peers other ops than the rest.
        SplitViews = "split-views",
        /// Passes ops on under another room.
        OtherRooms = "other-rooms",
        /// Acknowledges what it throws away.
        FalseAcks = "false-acks",
        /// Throws frames away.
        Drop = "drop",
        /// Flips digits in what it passes on.
        Corrupt = "corrupt",
    }
}

/// A run, but for its tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Honest nodes that write.
    pub authors: usize,
    /// Honest relayers.
    pub relayers: usize,
    /// Relayers that lie.
    pub lying_relayers: usize,
    /// Authors that lie.
    pub liars: usize,
    /// Rooms.
    pub rooms: usize,
    /// Mean time between two transactions of a node, in ms.
    pub write_ms: u64,
    /// Mean time between two deeds of a lying author, in ms.
    pub lie_ms: u64,
    /// Transactions of a thousand that are large.
    pub large: u32,
    /// Largest delay of a frame, in ms.
    pub delay_ms: u64,
    /// Longest time a received frame waits for the driver, in ms.
    pub lag_ms: u64,
    /// Inputs a driver takes into one batch.
    pub batch: usize,
    /// Pairs of nodes of a thousand that are linked directly.
    pub mesh: u32,
    /// Time until everything heals, in ms.
    pub active_ms: u64,
    /// Deliveries after which everything heals.
    pub deliveries: u64,
    /// Events between two full comparisons.
    pub check_every: u64,
    /// Events after which the run ends, whatever has become of it; 0 for none.
    pub stop_after: u64,
    /// Faults that are on, each with the mean time in ms between two of them.
    pub faults: BTreeMap<Fault, u64>,
    /// Crimes that lying authors may commit.
    pub crimes: BTreeSet<Crime>,
    /// Lies that lying relayers may tell.
    pub lies: BTreeSet<Lie>,
}

impl Options {
    /// The options of a seed.
    pub fn of_seed(seed: u64, deliveries: u64) -> Self {
        let mut tape = Tape::of_seed(seed, 1);
        let tape = &mut tape;
        let mut all_relayers = 1 + tape.below(3);
        let lying_relayers = if tape.chance(500) { tape.below(all_relayers) } else { 0 };
        all_relayers -= lying_relayers;
        let most_authors = if tape.chance(300) { 10 } else { 5 };
        let options = Self {
            relayers: all_relayers,
            lying_relayers,
            authors: 3 + tape.below(most_authors),
            liars: if tape.chance(700) { tape.below(5) } else { 0 },
            rooms: 1 + usize::from(tape.chance(250)),
            write_ms: [100, 400, 1_500, 5_000][tape.below(4)],
            lie_ms: [1_000, 4_000, 15_000][tape.below(3)],
            large: if tape.chance(200) { 15 } else { 0 },
            delay_ms: [5, 60, 400, 2_000][tape.below(4)],
            lag_ms: [0, 2, 40][tape.below(3)],
            batch: [1, 4, 1_024][tape.below(3)],
            mesh: [0, 0, 150, 500][tape.below(4)],
            active_ms: [90_000, 400_000, 1_500_000][tape.below(3)],
            deliveries,
            check_every: tape.between(100, 1_500),
            stop_after: 0,
            faults: drawn(tape, Fault::ALL)
                .into_iter()
                .map(|fault| (fault, [2_000, 8_000, 30_000, 100_000][tape.below(4)]))
                .collect(),
            crimes: drawn(tape, Crime::ALL),
            lies: drawn(tape, Lie::ALL),
        };
        options.possible()
    }

    /// Without what cannot happen here.
    fn possible(mut self) -> Self {
        if self.liars == 0 {
            self.crimes.clear();
        }
        if self.lying_relayers == 0 {
            self.lies.clear();
        }
        self
    }
}

fn drawn<T: Copy + Ord>(tape: &mut Tape, all: &[T]) -> BTreeSet<T> {
    all.iter().copied().filter(|_| tape.chance(500)).collect()
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in self.numbers() {
            write!(f, "{name}={number} ")?;
        }
        let faults: Vec<String> =
            self.faults.iter().map(|(fault, ms)| format!("{}:{ms}", fault.name())).collect();
        let crimes: Vec<&str> = self.crimes.iter().map(|crime| crime.name()).collect();
        let lies: Vec<&str> = self.lies.iter().map(|lie| lie.name()).collect();
        let (faults, crimes, lies) = (faults.join(","), crimes.join(","), lies.join(","));
        write!(f, "faults={faults} crimes={crimes} lies={lies}")
    }
}

impl Options {
    fn numbers(&self) -> [(&'static str, u64); 16] {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        [
            ("authors", count(self.authors)),
            ("relayers", count(self.relayers)),
            ("lying-relayers", count(self.lying_relayers)),
            ("liars", count(self.liars)),
            ("rooms", count(self.rooms)),
            ("write-ms", self.write_ms),
            ("lie-ms", self.lie_ms),
            ("large", self.large.into()),
            ("delay-ms", self.delay_ms),
            ("lag-ms", self.lag_ms),
            ("batch", count(self.batch)),
            ("mesh", self.mesh.into()),
            ("active-ms", self.active_ms),
            ("deliveries", self.deliveries),
            ("check-every", self.check_every),
            ("stop-after", self.stop_after),
        ]
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let number = value.parse::<u64>();
        let count = || number.clone().ok().and_then(|number| usize::try_from(number).ok());
        let small = || number.clone().ok().and_then(|number| u32::try_from(number).ok());
        let list = || value.split(',').filter(|item| !item.is_empty());
        match name {
            "authors" => self.authors = count()?,
            "relayers" => self.relayers = count()?,
            "lying-relayers" => self.lying_relayers = count()?,
            "liars" => self.liars = count()?,
            "rooms" => self.rooms = count()?,
            "write-ms" => self.write_ms = number.ok()?,
            "lie-ms" => self.lie_ms = number.ok()?,
            "large" => self.large = small()?,
            "delay-ms" => self.delay_ms = number.ok()?,
            "lag-ms" => self.lag_ms = number.ok()?,
            "batch" => self.batch = count()?,
            "mesh" => self.mesh = small()?,
            "active-ms" => self.active_ms = number.ok()?,
            "deliveries" => self.deliveries = number.ok()?,
            "check-every" => self.check_every = number.ok()?,
            "stop-after" => self.stop_after = number.ok()?,
            "faults" => {
                let fault = |item: &str| {
                    let (fault, ms) = item.split_once(':')?;
                    Some((Fault::parse(fault)?, ms.parse().ok()?))
                };
                self.faults = list().map(fault).collect::<Option<_>>()?;
            }
            "crimes" => self.crimes = list().map(Crime::parse).collect::<Option<_>>()?,
            "lies" => self.lies = list().map(Lie::parse).collect::<Option<_>>()?,
            _ => return None,
        }
        Some(())
    }
}

impl FromStr for Options {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut options = Self::of_seed(0, 0);
        for word in text.split_whitespace() {
            let set = word.split_once('=').and_then(|(name, value)| options.set(name, value));
            set.ok_or_else(|| format!("not an option of the simulator: {word}"))?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_back_as_they_are_printed() {
        for seed in 0..200 {
            let options = Options::of_seed(seed, 500);
            assert_eq!(options.to_string().parse(), Ok(options));
        }
        assert!("authors=x".parse::<Options>().is_err() && "sun=1".parse::<Options>().is_err());
    }
}
