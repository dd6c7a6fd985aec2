//! Connections, as a replica knows them.

/// One connection. The driver never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// How a connection came about and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who opened it.
    pub side: Side,
    /// Which rooms are asked for.
    pub scope: Scope,
}

/// Which end of a connection this replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that opened it: its user chose the peer.
    Dialled,
    /// The one that was connected to: the peer may be anybody.
    Accepted,
}

/// Which rooms a replica asks a peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those it takes part in by its user's choice; of those that exist on demand, the ones that
    /// the peer asks for.
    Own,
    /// All it has, and each that comes into being: the peer is another relayer of the same service.
    Every,
    /// None: the peer brings ops for somebody who waits for the answer.
    None,
}

impl Link {
    /// A peer connected to this replica.
    pub const ACCEPTED: Self = Self { side: Side::Accepted, scope: Scope::Own };
    /// A peer in this process brings what somebody else sent.
    pub const BROUGHT: Self = Self { side: Side::Accepted, scope: Scope::None };
    /// This replica connected to a peer.
    pub const DIALLED: Self = Self { side: Side::Dialled, scope: Scope::Own };
    /// This replica connected to a peer that is to keep the same rooms.
    pub const PEERED: Self = Self { side: Side::Dialled, scope: Scope::Every };
}
