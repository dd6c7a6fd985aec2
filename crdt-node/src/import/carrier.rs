//! Brings ops to a replica as a peer in the same process.
//! Source: `docs/PROTOCOL.md`, "A session" and "Acknowledgement".

use crdt_core::effect::Link;
use crdt_core::id::{RoomId, StoreId};
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::{Hello, Message, encode_ops};
use crdt_core::op::Op;
use crdt_relayer::driver::{Driver, Stopped};
use crdt_relayer::local::LocalPeer;
use crdt_relayer::relayer::random;
use crdt_relayer::verdict::Verdict;

use crate::error::NodeError;

/// A connection over which one `ops` message at a time is under way. So its credit never runs out:
/// a receiver grants again what it has dealt with before less than one message of it is left.
pub(super) struct Carrier<'d> {
    driver: &'d Driver,
    peer: LocalPeer,
}

impl<'d> Carrier<'d> {
    pub(super) async fn connect(driver: &'d Driver) -> Result<Self, NodeError> {
        let peer = Self::introduced(driver).await?;
        Ok(Self { driver, peer })
    }

    /// Connects as a store that nobody has met.
    async fn introduced(driver: &Driver) -> Result<LocalPeer, NodeError> {
        // The user chose what it brings: it need not prove a key, as those who connect may have to.
        let peer = LocalPeer::connect(driver, Link::DIALLED, None).await?;
        let store = StoreId::from_bytes(random()?);
        let agent = concat!("crdt-node/", env!("CARGO_PKG_VERSION"), " import");
        peer.send(&Message::Hello(Hello::new(agent, store, WINDOW_BYTES)).encode()).await?;
        Ok(peer)
    }

    /// Brings ops of one room, not more than fit into a message. Returns once they are on disk,
    /// with what became of each.
    pub(super) async fn carry<'o>(
        &mut self,
        room: RoomId,
        ops: impl ExactSizeIterator<Item = &'o Op>,
    ) -> Result<Vec<Verdict>, NodeError> {
        let brought = ops.len();
        let frame = encode_ops(room, ops, None, &[]);
        // A replica that was brought many invalid ops closes the connection; those before are
        // answered then, and this goes on over a new one.
        for _ in 0..2 {
            self.peer.send(&frame).await?;
            if let Ok(verdicts) = self.peer.verdicts(brought).await {
                return Ok(verdicts);
            }
            self.peer = Self::introduced(self.driver).await?;
        }
        Err(NodeError::Stopped(Stopped))
    }

    pub(super) async fn close(self) {
        self.peer.close().await;
    }
}
