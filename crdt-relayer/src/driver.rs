//! Runs a replica: gathers what is at hand into a batch, lets the replica decide, writes what it
//! wants kept in one transaction, and only then sends. The only clock, and one thread of its own.
//! Source: `docs/ARCHITECTURE.md`, "The driver".

mod task;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crdt_core::Replica;
use crdt_core::effect::{Command, Input, Link, PeerId};
use crdt_core::id::RoomId;
use crdt_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::changes::{Changes, Following};
use crate::error::StoreError;
pub use crate::events::{Events, WhenFull};
use crate::keeper::Keeper;
use crate::metrics::Counts;
use crate::outbound::Outbound;
use crate::share::{Share, Shares, Taken};
use crate::store::Store;
use task::Task;

/// Inputs that may wait for the driver.
const INPUTS_WAITING_MAX: usize = 1_024;

type Query = Box<dyn FnOnce(&Replica, Timestamp) + Send>;

enum Request {
    Up(PeerId, Link, Outbound),
    Input(Input, Option<Taken>),
    Query(Query),
    Stop,
}

/// A running replica. Clones speak to the same one.
#[derive(Clone, Debug)]
pub struct Driver {
    requests: mpsc::Sender<Request>,
    shares: Shares,
    peers: Arc<AtomicU64>,
    changes: Changes,
    counts: Counts,
}

/// The replica has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replica has stopped")]
pub struct Stopped;

/// How a replica ended: well when it was told to stop, else because its store failed.
pub type End = oneshot::Receiver<Result<(), StoreError>>;

impl Driver {
    /// Starts a replica that was given back all its store kept. Must be called in a tokio runtime.
    pub fn spawn(replica: Replica, store: Store, events: Option<Events>) -> (Self, End) {
        Self::spawn_kept(replica, store, events, Counts::default(), None)
    }

    /// The same, for whoever wants to know the numbers, and for one that outlives a full disk.
    pub(crate) fn spawn_kept(
        replica: Replica,
        store: Store,
        events: Option<Events>,
        counts: Counts,
        keeper: Option<Keeper>,
    ) -> (Self, End) {
        let changes = Changes::default();
        let (requests, inbox) = mpsc::channel(INPUTS_WAITING_MAX);
        let (ended, end) = oneshot::channel();
        let runtime = Handle::current();
        let task = Task::new(replica, store, inbox)
            .telling(events, changes.clone())
            .counted(counts.clone())
            .kept_by(keeper);
        thread::spawn(move || {
            // Nobody may be waiting for the end any more.
            drop(ended.send(task.run(&runtime)));
        });
        let (shares, peers) = (Shares::default(), Arc::default());
        (Self { requests, shares, peers, changes, counts }, end)
    }

    async fn request(&self, request: Request) -> Result<(), Stopped> {
        self.requests.send(request).await.map_err(|_| Stopped)
    }

    /// What is counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The way in for the frames of a connection, and the address whose share of what may wait it uses.
    pub(crate) fn inlet(&self, peer: PeerId, address: Option<IpAddr>) -> Inlet {
        Inlet { driver: self.clone(), peer, share: self.shares.of_peer(address) }
    }

    /// A number for a new connection.
    pub(crate) fn next_peer(&self) -> PeerId {
        PeerId(self.peers.fetch_add(1, Ordering::Relaxed))
    }

    /// A connection is open: frames for it go to `outbound`.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn connected(
        &self,
        peer: PeerId,
        link: Link,
        outbound: Outbound,
    ) -> Result<(), Stopped> {
        self.request(Request::Up(peer, link, outbound)).await
    }

    /// A connection is gone.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn disconnected(&self, peer: PeerId) -> Result<(), Stopped> {
        self.request(Request::Input(Input::PeerDown(peer), None)).await
    }

    /// A binary frame came.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn received_binary(&self, peer: PeerId) -> Result<(), Stopped> {
        self.request(Request::Input(Input::ReceivedBinary(peer), None)).await
    }

    /// The user wants something. Waits while too much waits already.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.request(Request::Input(Input::Command(command), None)).await
    }

    /// Looks at the replica between two batches: what is seen is on disk.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.query_at(move |replica, _| look(replica)).await
    }

    /// The same, with the time that the replica is given, for what only means something beside the
    /// times it was given before: the wall clock may say less.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn query_at<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone.
        let look: Query = Box::new(move |replica, now| drop(answer.send(look(replica, now))));
        self.request(Request::Query(look)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Follows a room: from now on every op that entered its log and is on disk is news.
    pub fn follow(&self, room: RoomId) -> Following {
        self.changes.follow(room)
    }

    /// Finishes what is at hand, says goodbye to all peers and ends.
    pub async fn stop(&self) {
        // If it has stopped already there is nothing to do.
        let _already_stopped = self.request(Request::Stop).await;
    }
}

/// The way in for the text frames of one connection.
#[derive(Debug)]
pub(crate) struct Inlet {
    driver: Driver,
    peer: PeerId,
    share: Share,
}

impl Inlet {
    /// A text frame came. Waits while too many bytes wait already, of its share or of all.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn received(&self, frame: Vec<u8>) -> Result<(), Stopped> {
        let taken = self.share.take(frame.len()).await.map_err(|_| Stopped)?;
        self.driver.request(Request::Input(Input::Received(self.peer, frame), Some(taken))).await
    }
}
