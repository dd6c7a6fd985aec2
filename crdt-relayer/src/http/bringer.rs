//! A peer in this process that brings ops and asks for nothing.

use std::net::IpAddr;

use crdt_core::effect::Link;
use crdt_core::id::{Position, RoomId, RoomName, StoreId};
use crdt_core::intake::Shortage;
use crdt_core::limits::{BATCH_OPS_MAX, WINDOW_BYTES};
use crdt_core::message::{Hello, Message};
use sha2::{Digest, Sha256};

use crate::driver::{Driver, Stopped};
use crate::local::LocalPeer;
use crate::verdict::Verdict;

/// Bytes of ops in one message. A frame holds twice as many.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// Why ops could not be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The replica has stopped.
    Stopped,
    /// It found the disk full.
    Disk,
}

impl From<Stopped> for Lost {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Lost {
    /// What the word means with which the replica closed the connection.
    fn of(reason: &str) -> Self {
        if reason == Shortage::Disk.code() { Self::Disk } else { Self::Stopped }
    }
}

/// A connection that brings what one request offers. That is less than a window, so its credit
/// never runs out, and so few messages that they are not strikes enough to be disconnected for.
#[derive(Debug)]
pub(crate) struct Bringer {
    peer: LocalPeer,
}

impl Bringer {
    /// Connects. All that comes over HTTP is from one store, so that it shares one part of the room
    /// there is for ops that wait.
    pub(crate) async fn connect(
        driver: &Driver,
        store: StoreId,
        asker: Option<IpAddr>,
    ) -> Result<Self, Stopped> {
        let peer = LocalPeer::connect(driver, Link::BROUGHT, asker).await?;
        let agent = concat!("crdt-relayer/", env!("CARGO_PKG_VERSION"), " http");
        peer.send(&Message::Hello(Hello::new(agent, store, WINDOW_BYTES)).encode()).await?;
        Ok(Self { peer })
    }

    /// Brings ops of one room. Returns once they are on disk, with what became of each.
    pub(crate) async fn bring(&mut self, room: RoomId, ops: &[&str]) -> Result<Vec<Verdict>, Lost> {
        let mut verdicts = Vec::with_capacity(ops.len());
        let mut rest = ops;
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(batch_len(rest));
            rest = others;
            let frame = format!(r#"{{"type":"ops","room":"{room}","ops":[{}]}}"#, batch.join(","));
            self.peer.send(&frame).await?;
            verdicts.extend(self.peer.verdicts(batch.len()).await.map_err(Lost::of)?);
        }
        Ok(verdicts)
    }

    /// Says what a room is called.
    pub(crate) async fn name(&self, name: RoomName) -> Result<(), Stopped> {
        let (room, cursor) = (name.id(), Some(Position::START));
        self.peer.send(&Message::Sub { room, name: Some(name), cursor }.encode()).await?;
        self.peer.send(&Message::Unsub { room }.encode()).await
    }

    /// Ends the connection.
    pub(crate) async fn close(self) {
        self.peer.close().await;
    }
}

/// A store id for what is brought to a store, the same whenever it starts.
pub(crate) fn store_beside(store: StoreId) -> StoreId {
    let hasher = Sha256::new().chain_update("crdt-relayer/http").chain_update(store.as_bytes());
    StoreId::from_bytes(hasher.finalize().into())
}

/// How many ops the next message holds: one at least.
fn batch_len(ops: &[&str]) -> usize {
    let mut bytes = 0;
    let fitting = ops.iter().take(BATCH_OPS_MAX).take_while(|op| {
        bytes += op.len() + 1;
        bytes <= MESSAGE_BYTES_MAX
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_as_many_ops_as_fit_and_one_at_least() {
        let large = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(batch_len(&[&large, "x"]), 1);
        assert_eq!(batch_len(&["x", &large]), 1);
        assert_eq!(batch_len(&vec!["x"; 300]), BATCH_OPS_MAX);
        assert_eq!(batch_len(&["x", "y"]), 2);
    }
}
