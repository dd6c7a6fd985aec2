//! Runs a replica: gathers what is at hand into a batch, lets the replica decide, writes what it
//! wants kept in one transaction, and only then sends. The only clock, and one thread of its own.
//! Source: `docs/ARCHITECTURE.md`, "The driver".

mod filling;
mod gathering;
mod inbox;
mod task;
#[cfg(test)]
mod tests;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use crdt_core::Replica;
use crdt_core::effect::{Command, Input, Link, PeerId, Side};
use crdt_core::id::RoomId;
use crdt_core::message::Decoded;
use crdt_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::changes::{Changes, Following};
use crate::error::StoreError;
pub use crate::events::{Events, WhenFull};
use crate::keeper::Keeper;
use crate::metrics::Counts;
use crate::outbound::Outbound;
use crate::share::{Share, Shares, Taken};
use crate::store::Store;
use crate::turns::Lane;
use inbox::{Sender, inbox};
use task::Task;

/// Requests that may wait for the driver besides frames, which have shares.
const REQUESTS_WAITING_MAX: usize = 1_024;

/// What a request besides frames costs of a turn: as many bytes of frames.
const REQUEST_COST: usize = 512;

type Query = Box<dyn FnOnce(&Replica, Timestamp) + Send>;

enum Request {
    Up(PeerId, Link, Outbound),
    Came(PeerId, Came, Taken),
    Input(Input),
    Query(Query),
    Stop,
}

impl Request {
    /// What it costs of a turn.
    fn cost(&self) -> usize {
        if let Self::Came(.., taken) = self { taken.bytes() } else { REQUEST_COST }
    }

    /// Whether this process asks for it itself.
    fn is_own(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Input(Input::Command(_)))
    }
}

/// What came over a connection.
enum Came {
    Text(Bytes),
    Decoded(Decoded),
    Binary,
}

impl Came {
    /// Takes it apart. Returns the bytes of memory that it takes then.
    fn decode(&mut self) -> usize {
        if let Self::Text(frame) = self {
            *self = Self::Decoded(Decoded::of(frame));
        }
        if let Self::Decoded(frame) = self { frame.weight() } else { 0 }
    }

    fn input(self, peer: PeerId) -> Input {
        match self {
            Self::Text(frame) => Input::received(peer, &frame),
            Self::Decoded(frame) => Input::Received(peer, frame),
            Self::Binary => Input::ReceivedBinary(peer),
        }
    }
}

/// A request on its way.
struct Sent {
    lane: Lane,
    request: Request,
    /// Held until it is its turn.
    _place: Option<OwnedSemaphorePermit>,
}

/// A running replica. Clones speak to the same one.
#[derive(Clone, Debug)]
pub struct Driver {
    requests: Sender<Sent>,
    places: Arc<Semaphore>,
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
        let (requests, inbox) = inbox();
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
        let places = Arc::new(Semaphore::new(REQUESTS_WAITING_MAX));
        let (shares, peers) = (Shares::default(), Arc::default());
        (Self { requests, places, shares, peers, changes, counts }, end)
    }

    /// Waits while too many requests wait already.
    async fn request(&self, lane: Lane, request: Request) -> Result<(), Stopped> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Stopped)?;
        self.send(Sent { lane, request, _place: Some(place) })
    }

    fn send(&self, sent: Sent) -> Result<(), Stopped> {
        let urgent = sent.lane == Lane::Own;
        self.requests.send(sent, urgent)
    }

    /// What is counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A connection is open: frames for it go to `outbound`. Returns its way in; all connections of
    /// an address take turns as one.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn connected(
        &self,
        (peer, address): (PeerId, Option<IpAddr>),
        link: Link,
        outbound: Outbound,
    ) -> Result<Inlet, Stopped> {
        let lane = address.map_or(Lane::Peer(peer), Lane::Address);
        let share = self.shares.of_peer(address, link.side);
        self.request(lane, Request::Up(peer, link, outbound)).await?;
        Ok(Inlet { driver: self.clone(), peer, side: link.side, lane, share })
    }

    /// A number for a new connection.
    pub(crate) fn next_peer(&self) -> PeerId {
        PeerId(self.peers.fetch_add(1, Ordering::Relaxed))
    }

    /// The user wants something. Waits while too much waits already.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.request(Lane::Own, Request::Input(Input::Command(command))).await
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
        self.request(Lane::Own, Request::Query(look)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Follows a room: from now on every op that entered its log and is on disk is news.
    pub fn follow(&self, room: RoomId) -> Following {
        self.changes.follow(room)
    }

    /// Finishes what this process asked for before, says goodbye to all peers and ends. Frames that
    /// wait are not taken: nobody was told that they were.
    pub async fn stop(&self) {
        // If it has stopped already there is nothing to do.
        let _already_stopped = self.request(Lane::Own, Request::Stop).await;
    }
}

/// The way in of one connection.
#[derive(Debug)]
pub(crate) struct Inlet {
    driver: Driver,
    peer: PeerId,
    side: Side,
    lane: Lane,
    share: Share,
}

impl Inlet {
    /// A text frame came. Waits while too many bytes wait already, of its share or of all. What a
    /// peer says whom this side chose is decoded here, while the driver has something else to do;
    /// what others say, in its turn.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn received(&self, frame: Bytes) -> Result<(), Stopped> {
        let taken = self.take(frame.len()).await?;
        if self.side == Side::Accepted {
            return self.came(Came::Text(frame), taken);
        }
        let decoded = Decoded::of(&frame);
        drop(frame);
        let taken = if decoded.weight() > taken.bytes() {
            // Whoever holds a part of a share and waits for the rest may wait for itself.
            drop(taken);
            self.take(decoded.weight()).await?
        } else {
            taken
        };
        self.came(Came::Decoded(decoded), taken)
    }

    /// A binary frame came.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn received_binary(&self) -> Result<(), Stopped> {
        let taken = self.take(0).await?;
        self.came(Came::Binary, taken)
    }

    async fn take(&self, bytes: usize) -> Result<Taken, Stopped> {
        self.share.take(bytes).await.map_err(|_| Stopped)
    }

    fn came(&self, came: Came, taken: Taken) -> Result<(), Stopped> {
        let request = Request::Came(self.peer, came, taken);
        self.driver.send(Sent { lane: self.lane, request, _place: None })
    }

    /// The connection is gone.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn disconnected(&self) -> Result<(), Stopped> {
        let request = Request::Input(Input::PeerDown(self.peer));
        self.driver.request(self.lane, request).await
    }
}
