//! A node that signs nothing, and needs no key: it takes ops into a home and gives them to others,
//! as one command wants it, where no node runs.

use crdt_core::effect::Event;
use crdt_core::id::RoomName;
use crdt_relayer::dial::Dialer;

use crate::error::NodeError;
use crate::home::Home;
use crate::import::{self, Bytes, Report};
use crate::marks;
use crate::node::{Happening, Node, NodeConfig, Signer, Trust, unasked};

/// The node of a home, without its key. It holds the home's lock.
#[derive(Debug)]
pub struct Keyless {
    node: Node,
}

impl Keyless {
    /// Starts it. It takes part in the rooms that are kept or configured, and from now on in
    /// `rooms`.
    /// `relays` is how many peers it will be connected to.
    ///
    /// # Errors
    /// As [`Node::spawn`].
    pub async fn start(
        home: &Home,
        mut rooms: Vec<RoomName>,
        relays: usize,
    ) -> Result<Self, NodeError> {
        for room in home.settings()?.rooms {
            rooms.push(RoomName::parse(&room)?);
        }
        let config = NodeConfig {
            home: home.path().to_owned(),
            key: Signer::Nobody(home.author()?),
            rooms,
            marks: marks::folder()?,
            trust: Trust::Marks,
            routes: relays,
            listen: None,
            certificates: None,
            allowed: None,
            dialer: Dialer::default(),
        };
        Ok(Self { node: Node::spawn(config).await? })
    }

    /// Takes ops from bytes, once.
    ///
    /// # Errors
    /// As [`import::once`].
    pub async fn import(&mut self, bytes: Bytes) -> Result<Report, NodeError> {
        let driver = self.node.driver().clone();
        let taken = import::once(&driver, bytes);
        tokio::pin!(taken);
        loop {
            tokio::select! {
                report = &mut taken => return report,
                events = self.events() => drop(events?),
            }
        }
    }

    /// The next events. Must be asked for again and again, as [`Node::next`] must.
    ///
    /// # Errors
    /// The node has ended.
    pub(crate) async fn events(&mut self) -> Result<Vec<Event>, NodeError> {
        loop {
            match self.node.next().await {
                Happening::Events(events) => {
                    events.iter().for_each(warn);
                    return Ok(events);
                }
                Happening::Link(_) | Happening::Left(_) => {}
                Happening::Ended(how) => return Err(unasked(how)),
            }
        }
    }

    /// The node, to connect it and to look at its replica.
    pub(crate) fn node(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Ends it. All that was taken is on disk.
    ///
    /// # Errors
    /// As [`Node::stop`].
    pub async fn stop(self) -> Result<(), NodeError> {
        self.node.stop().await.0
    }
}

/// Tells a person what concerns the own key.
fn warn(event: &Event) {
    if let Event::SignedElsewhere { op, .. } = event {
        eprintln!(
            "WARNING  op {op} is signed with your key and was not written here: the key is or was \
             used elsewhere, or an older copy of this home was"
        );
    }
}
