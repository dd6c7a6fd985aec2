//! What goes into a replica and what comes out: plain data.

mod link;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::evidence::Equivocation;
use crate::id::{OpId, Position, RoomId, RoomName, Seq, SetDigest, StoreId};
use crate::intake::{Intake, Shortage};
use crate::json::Canonical;
use crate::message::{Decoded, Frame};
use crate::op::Op;

pub use link::{Link, PeerId, Scope, Side};

/// Chosen by whoever submits a transaction; comes back in the events about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What happens to a replica.
#[derive(Debug)]
pub enum Input {
    /// A connection is open both ways.
    PeerUp(PeerId, Link),
    /// It is gone.
    PeerDown(PeerId),
    /// A text frame came.
    Received(PeerId, Decoded),
    /// A binary frame came.
    ReceivedBinary(PeerId),
    /// What an [`Effect::Load`] asked for.
    Loaded(Loaded),
    /// The user wants something.
    Command(Command),
    /// From now on so much is taken of others.
    Intake(Intake),
    /// No more inputs are at hand: sign what waits, pass on what is new. Ends every batch.
    Flush,
}

impl Input {
    /// A text frame came, and is decoded now.
    pub fn received(peer: PeerId, frame: &[u8]) -> Self {
        Self::Received(peer, Decoded::of(frame))
    }
}

/// What the user wants.
#[derive(Debug)]
pub enum Command {
    /// Take part in an open room.
    Join(RoomName),
    /// Record a transaction in a room.
    Append {
        /// The room.
        room: RoomId,
        /// Comes back in [`Event::Durable`] or [`Event::Refused`].
        token: Token,
        /// The transaction.
        entry: Canonical,
    },
    /// Give back, as [`Event::Withdrawn`], what cannot be signed because the own chain is not
    /// known.
    Withdraw,
}

/// What to read from the store for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// For whom.
    pub peer: PeerId,
    /// The room.
    pub room: RoomId,
    /// Which ops.
    pub what: Select,
    /// Stop once this many bytes of envelopes are read; at least one op is.
    pub bytes_max: usize,
    /// Stop after so many ops.
    pub ops_max: usize,
}

/// Which ops to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Those after a position, in order of arrival, except those that came from one store.
    After(Position, Option<StoreId>),
    /// Those at these positions, in this order.
    At(Vec<Position>),
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was asked for.
    pub load: Load,
    /// The ops.
    pub ops: Vec<Op>,
    /// For [`Select::After`]: everything up to here was read or skipped.
    pub through: Position,
}

/// What the driver must do, in this order: every [`Effect::Persist`] of a batch in one durable
/// transaction, then the rest one by one; what the user is told may come last. Nothing is sent
/// before what it speaks of is durable.
#[derive(Debug)]
pub enum Effect {
    /// Write to the store. If that fails the replica must be dropped.
    Persist(Record),
    /// Read from the store and come back with [`Input::Loaded`].
    Load(Load),
    /// Send a text frame.
    Send(PeerId, Frame),
    /// Close a connection.
    Close(PeerId, CloseReason),
    /// Tell the user.
    Notify(Event),
}

/// What the store keeps.
#[derive(Clone, Debug)]
pub enum Record {
    /// A room that is taken part in.
    Room {
        /// Its id.
        id: RoomId,
        /// Its name, if known.
        name: Option<RoomName>,
    },
    /// An op in its place in the order of arrival.
    Op {
        /// Its place.
        position: Position,
        /// The store it came from; `None` if this node wrote it.
        source: Option<StoreId>,
        /// The op.
        op: Arc<Op>,
    },
    /// How far the room was pulled from another store.
    Pulled {
        /// The room.
        room: RoomId,
        /// The other store.
        store: StoreId,
        /// A position in it.
        position: Position,
    },
    /// How far another store has acknowledged this one's ops.
    Acked {
        /// The room.
        room: RoomId,
        /// The other store.
        store: StoreId,
        /// A position in this store.
        position: Position,
    },
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It speaks another version.
    Version,
    /// Its first message was no `hello`.
    Hello,
    /// A frame was too large.
    Size,
    /// Too many errors and invalid ops.
    Strikes,
    /// It is this very store.
    OwnStore,
    /// It did not prove that it has a key that is let in.
    Auth,
    /// Another connection to the same peer is kept.
    Twin(PeerId),
}

impl CloseReason {
    /// The websocket close code (RFC 6455, section 7.4).
    pub const fn code(self) -> u16 {
        match self {
            Self::Size => 1009,
            Self::Twin(_) => 1000,
            Self::Version | Self::Hello | Self::Strikes | Self::OwnStore | Self::Auth => 1008,
        }
    }

    /// A word for the close frame.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Hello => "hello",
            Self::Size => "size",
            Self::Strikes => "strikes",
            Self::OwnStore => "own-store",
            Self::Auth => "auth",
            Self::Twin(_) => "twin",
        }
    }
}

/// What the user may want to know. Everything it says is durable.
#[derive(Clone, Debug)]
pub enum Event {
    /// An op entered a room's log.
    Admitted {
        /// The room.
        room: RoomId,
        /// The op.
        op: Arc<Op>,
        /// Its place in the order of arrival.
        position: Position,
        /// The store it came from; `None` if this node wrote it.
        source: Option<StoreId>,
        /// The fork of its author's chain that it brought to light, if it is the first to do so.
        equivocation: Option<Equivocation>,
    },
    /// A transaction was signed and is on disk.
    Durable {
        /// The room.
        room: RoomId,
        /// Which one.
        token: Token,
        /// The op that holds it.
        op: OpId,
        /// The op's place in this author's chain.
        seq: Seq,
        /// Its place in that op.
        index: usize,
        /// The op's place in the order of arrival.
        position: Position,
    },
    /// A transaction was not recorded.
    Refused {
        /// Which one.
        token: Token,
        /// Why.
        error: SubmitError,
    },
    /// An op came that this node's key signed and this node did not: the key is used elsewhere, or
    /// the store is older than it should be. Told once per room.
    SignedElsewhere {
        /// The room.
        room: RoomId,
        /// The op.
        op: OpId,
    },
    /// The own chain is known: what waited to be signed is signed now.
    Learnt {
        /// The room.
        room: RoomId,
        /// Ops in the chain.
        signed: u64,
    },
    /// Transactions that were not signed and will not be.
    Withdrawn {
        /// The room's name, if known.
        room: Option<RoomName>,
        /// The transactions, oldest first.
        entries: Vec<Canonical>,
    },
    /// A peer says that it has stored this node's ops up to a position.
    Acked {
        /// The room.
        room: RoomId,
        /// Who.
        peer: PeerId,
        /// The position.
        position: Position,
    },
    /// A peer has introduced itself.
    PeerReady {
        /// Who.
        peer: PeerId,
        /// Its software.
        agent: String,
        /// Its store.
        store: StoreId,
    },
    /// A peer holds the same set of ops.
    Synced {
        /// The room.
        room: RoomId,
        /// Who.
        peer: PeerId,
        /// The digest of the set.
        set: SetDigest,
        /// The room's name, if known.
        name: Option<RoomName>,
        /// Transactions in it.
        entries: u64,
    },
    /// A peer named an op and then said that it does not hold it.
    Withheld {
        /// The room.
        room: RoomId,
        /// Who.
        peer: PeerId,
        /// The op.
        op: OpId,
    },
    /// Ops of a peer were not taken, though nothing is wrong with them: the peer keeps them.
    PutOff {
        /// The room.
        room: RoomId,
        /// Who brought them.
        peer: PeerId,
        /// What is lacking here.
        shortage: Shortage,
        /// How many ops.
        ops: u64,
    },
    /// A peer says that this side did something wrong.
    PeerProblem {
        /// Who.
        peer: PeerId,
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// A peer did something wrong.
    Blamed {
        /// Who.
        peer: PeerId,
        /// What.
        code: &'static str,
    },
}

/// Why a transaction is not recorded. Nothing else is affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// This replica has no key.
    #[error("this replica has no key to sign with")]
    NoKey,
    /// The room was not joined.
    #[error("the room is not joined")]
    Room,
    /// The transaction alone is larger than an op may be.
    #[error("a transaction takes at most 65534 bytes")]
    Size,
    /// The transaction alone is nested deeper than an op's data may be.
    #[error("a transaction is nested at most 31 levels deep")]
    Depth,
    /// Too many transactions wait to be signed.
    #[error("too many transactions wait to be signed")]
    Busy,
}

impl SubmitError {
    /// The code for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoKey => "no-key",
            Self::Room => "room",
            Self::Size => "size",
            Self::Depth => "depth",
            Self::Busy => "busy",
        }
    }
}
