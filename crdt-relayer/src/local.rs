//! A peer in this process: it speaks the protocol to the replica without a websocket. What reads a
//! file or a message bus into a room is such a peer, so everything it brings is checked like the
//! rest.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use crdt_core::effect::{Link, PeerId};
use crdt_core::message::Frame;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::driver::{Driver, Inlet, Stopped};
use crate::outbound::{Backlog, Outbound, Outgoing};
use crate::pace::Pace;
use crate::verdict::{self, Verdict};

/// A connection to a replica of this process.
#[derive(Debug)]
pub struct LocalPeer {
    peer: PeerId,
    inlet: Inlet,
    outgoing: UnboundedReceiver<Outgoing>,
    backlog: Arc<Backlog>,
}

impl LocalPeer {
    /// Connects, on behalf of an address if that counts. The replica speaks first, with its
    /// `hello`.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn connect(
        driver: &Driver,
        link: Link,
        address: Option<IpAddr>,
    ) -> Result<Self, Stopped> {
        let (outbound, outgoing, backlog) = Outbound::new(Pace::default());
        let peer = driver.next_peer();
        let inlet = driver.connected((peer, address), link, outbound).await?;
        Ok(Self { peer, inlet, outgoing, backlog })
    }

    /// What the replica knows this connection by.
    pub fn id(&self) -> PeerId {
        self.peer
    }

    /// Says something. Waits while the replica has too much to do.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn send(&self, frame: &str) -> Result<(), Stopped> {
        self.inlet.received(Bytes::copy_from_slice(frame.as_bytes())).await
    }

    /// What the replica says next; `Err` with the reason once it has closed the connection.
    ///
    /// # Errors
    /// The reason, in a word.
    pub async fn recv(&mut self) -> Result<Frame, &'static str> {
        match self.outgoing.recv().await {
            Some(Outgoing::Frame(frame)) => {
                self.backlog.sent(frame.len());
                Ok(frame)
            }
            Some(Outgoing::Close(close)) => {
                let (_, reason) = *close;
                Err(reason)
            }
            None => Err("stopped"),
        }
    }

    /// What became of so many ops that were said last, once what is stored is on disk. Whatever
    /// else the replica says meanwhile is passed over.
    ///
    /// # Errors
    /// The replica has closed the connection: the reason, in a word.
    pub async fn verdicts(&mut self, ops: usize) -> Result<Vec<Verdict>, &'static str> {
        loop {
            if let Some(verdicts) = verdict::read(&self.recv().await?, ops) {
                return Ok(verdicts);
            }
        }
    }

    /// Ends the connection.
    pub async fn close(self) {
        // A replica that has stopped has forgotten the peer already.
        let _stopped = self.inlet.disconnected().await;
    }
}
