//! Runs a replica: gathers what is at hand into a batch, lets the replica decide, writes what it
//! wants kept in one transaction, and only then sends. The only clock, and one thread of its own.
//! Source: `docs/ARCHITECTURE.md`, "The driver".

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdt_core::Replica;
use crdt_core::effect::{CloseReason, Command, Effect, Event, Input, Link, Load, PeerId, Record};
use crdt_core::id::RoomId;
use crdt_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::changes::{Changes, Following};
use crate::clock::Clock;
use crate::error::StoreError;
pub use crate::events::{Events, WhenFull};
use crate::metrics::Counts;
use crate::outbound::{Kept, Outbound};
use crate::share::{Share, Shares, Taken};
use crate::store::Store;

/// Inputs that may wait for the driver.
const INPUTS_WAITING_MAX: usize = 1_024;

/// Inputs taken into one batch, and so into one transaction.
const BATCH_INPUTS_MAX: usize = 1_024;

/// Bytes of received frames taken into one batch, and the time until no more are taken: what is
/// written in between waits that long to be durable.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const BATCH_TIME_MAX: Duration = Duration::from_millis(50);

/// Pages read from the store between two looks at the inputs.
const BATCH_LOADS_MAX: usize = 8;

/// Time for the peers to be told that this replica stops.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

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
        Self::spawn_counted(replica, store, events, Counts::default())
    }

    /// The same, for whoever wants to know the numbers.
    pub fn spawn_counted(
        replica: Replica,
        store: Store,
        events: Option<Events>,
        counts: Counts,
    ) -> (Self, End) {
        let changes = Changes::default();
        let (requests, inbox) = mpsc::channel(INPUTS_WAITING_MAX);
        let (ended, end) = oneshot::channel();
        let runtime = Handle::current();
        let task = Task {
            replica,
            store,
            events,
            inbox,
            peers: HashMap::new(),
            loads: VecDeque::new(),
            looks: Vec::new(),
            clock: Clock::start(),
            changes: changes.clone(),
            counts: counts.clone(),
        };
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
    /// A text frame came. Waits while too many bytes wait already, of this connection or of all.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) async fn received(&self, frame: Vec<u8>) -> Result<(), Stopped> {
        let taken = self.share.take(frame.len()).await.map_err(|_| Stopped)?;
        self.driver.request(Request::Input(Input::Received(self.peer, frame), Some(taken))).await
    }
}

struct Task {
    replica: Replica,
    store: Store,
    events: Option<Events>,
    inbox: mpsc::Receiver<Request>,
    peers: HashMap<PeerId, Outbound>,
    loads: VecDeque<Load>,
    /// Whoever looks at the replica after this batch.
    looks: Vec<Query>,
    clock: Clock,
    changes: Changes,
    counts: Counts,
}

impl Task {
    fn run(mut self, runtime: &Handle) -> Result<(), StoreError> {
        loop {
            let first = self.next_request(runtime);
            let mut taken = Vec::new();
            let (effects, stop) = self.batch(first, &mut taken)?;
            self.counts.came(self.replica.tally());
            self.counts.rooms(self.replica.room_count());
            self.carry_out(effects)?;
            // What they see is on disk.
            let now = self.clock.now();
            self.looks.drain(..).for_each(|look| look(&self.replica, now));
            // Only now may as many bytes be received again.
            drop(taken);
            if stop {
                self.say_goodbye(runtime);
                return Ok(());
            }
        }
    }

    fn say_goodbye(&mut self, runtime: &Handle) {
        let peers: Vec<Outbound> = self.peers.drain().map(|(_, outbound)| outbound).collect();
        let all_gone = async {
            for outbound in &peers {
                outbound.close(1001, "going-away");
            }
            for outbound in &peers {
                outbound.ended().await;
            }
        };
        // Who does not listen even now is left behind.
        let _in_time = runtime.block_on(async { timeout(GOODBYE_MAX, all_gone).await });
    }

    /// Waits for a request, unless pages are to be read or the replica wants to be woken.
    fn next_request(&mut self, runtime: &Handle) -> Option<Request> {
        if !self.loads.is_empty() {
            return self.inbox.try_recv().ok();
        }
        let now = self.clock.now();
        let wait = self.replica.wake_at().map(|at| {
            let ms = at.as_ms().saturating_sub(now.as_ms());
            Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        });
        runtime.block_on(async {
            match wait {
                // Everybody who could ask has gone: the same as being told to stop.
                None => Some(self.inbox.recv().await.unwrap_or(Request::Stop)),
                Some(wait) => timeout(wait, self.inbox.recv())
                    .await
                    .ok()
                    .map(|request| request.unwrap_or(Request::Stop)),
            }
        })
    }

    /// Feeds the replica what is at hand. Returns what it wants done, and whether to stop then.
    fn batch(
        &mut self,
        first: Option<Request>,
        held: &mut Vec<Taken>,
    ) -> Result<(Vec<Effect>, bool), StoreError> {
        let (now, started) = (self.clock.now(), Instant::now());
        let (mut effects, mut stop, mut bytes) = (Vec::new(), false, 0);
        let mut request = first;
        for taken in 1..=BATCH_INPUTS_MAX {
            match request {
                None => break,
                Some(Request::Up(peer, link, outbound)) => {
                    self.peers.insert(peer, outbound);
                    effects.extend(self.replica.handle(now, Input::PeerUp(peer, link)));
                }
                Some(Request::Input(input, space)) => {
                    if let Input::PeerDown(peer) = input {
                        self.peers.remove(&peer);
                    }
                    effects.extend(self.replica.handle(now, input));
                    bytes += space.as_ref().map_or(0, Taken::bytes);
                    held.extend(space);
                }
                Some(Request::Query(look)) => self.looks.push(look),
                Some(Request::Stop) => stop = true,
            }
            // A request taken from the inbox is carried out: none is taken after the last turn.
            let full = bytes >= BATCH_BYTES_MAX || started.elapsed() >= BATCH_TIME_MAX;
            let more = !stop && !full && taken < BATCH_INPUTS_MAX;
            request = if more { self.inbox.try_recv().ok() } else { None };
        }
        for _ in 0..BATCH_LOADS_MAX {
            let Some(load) = self.loads.pop_front() else { break };
            if self.peers.contains_key(&load.peer) {
                let loaded = self.store.load(load)?;
                self.counts.caught_up(loaded.ops.len());
                effects.extend(self.replica.handle(now, Input::Loaded(loaded)));
            }
        }
        effects.extend(self.replica.handle(now, Input::Flush));
        Ok((effects, stop))
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut records = effects.iter().filter_map(record).peekable();
        let news = records.peek().is_some();
        if news {
            let began = Instant::now();
            self.store.append(records)?;
            self.counts.committed(began);
        }
        let began = Instant::now();
        for effect in effects {
            match effect {
                Effect::Persist(_) => {}
                Effect::Load(load) => self.loads.push_back(load),
                Effect::Send(peer, frame) => {
                    if let Some(outbound) = self.peers.get(&peer) {
                        outbound.send(frame);
                    }
                }
                Effect::Close(peer, reason) => self.close(peer, reason),
                Effect::Notify(event) => {
                    self.counts.happened(&event);
                    if let Event::Admitted { room, .. } = &event {
                        self.changes.note(*room);
                    }
                    if let Some(events) = &self.events {
                        events.tell(event);
                    }
                }
            }
        }
        if news {
            self.counts.passed_on(began);
        }
        Ok(())
    }
}

impl Task {
    fn close(&mut self, peer: PeerId, reason: CloseReason) {
        let Some(outbound) = self.peers.remove(&peer) else { return };
        let twin = match reason {
            CloseReason::Twin(twin) => twin,
            CloseReason::Version
            | CloseReason::Hello
            | CloseReason::Size
            | CloseReason::Strikes
            | CloseReason::OwnStore
            | CloseReason::Auth => return outbound.close(reason.code(), reason.as_str()),
        };
        match self.peers.get(&twin) {
            Some(kept) => outbound.close_for(Kept { peer: twin, outbound: kept.clone() }),
            None => outbound.close(reason.code(), reason.as_str()),
        }
    }
}

fn record(effect: &Effect) -> Option<&Record> {
    if let Effect::Persist(record) = effect { Some(record) } else { None }
}
