//! A running node: replica, store, key and links.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::{Command, Event};
use crdt_core::id::{AuthorId, RoomId, RoomName, StoreId};
use crdt_core::intake::Allowed;
use crdt_core::json::Canonical;
use crdt_core::key::{EachTime, SecretKey};
use crdt_core::replica::{Config, Rooms};
use crdt_relayer::admission::Admission;
use crdt_relayer::browsers::{Browsers, Guard};
use crdt_relayer::dial::{Dialer, LinkEvent};
use crdt_relayer::driver::{Driver, End, Events, Stopped, WhenFull};
use crdt_relayer::error::StoreError;
use crdt_relayer::home::{self, Lock, STORE_FILE};
use crdt_relayer::http::{self, Guests, Left, Service};
use crdt_relayer::limits::Limits;
use crdt_relayer::metrics::Metrics;
use crdt_relayer::relayer::random;
use crdt_relayer::server::Server;
use crdt_relayer::signatures::AllCores;
use crdt_relayer::store::Store;
use crdt_relayer::tls::Certificates;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::error::NodeError;
use crate::links::Links;
use crate::marks::Marks;
use crate::routes::Routes;

/// Batches whose events may wait to be shown.
const BATCHES_WAITING_MAX: usize = 4;

/// Link events that may wait to be shown.
const LINKS_WAITING_MAX: usize = 64;

/// What a node is made with.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where its store and lock are.
    pub home: PathBuf,
    /// Signs its transactions, or nothing.
    pub key: Signer,
    /// What it takes part in.
    pub rooms: Vec<RoomName>,
    /// The folder in which it is noted how much each key has signed.
    pub marks: PathBuf,
    /// Whether to believe the marks or the store.
    pub trust: Trust,
    /// Relays and peers it will be connected to.
    pub routes: usize,
    /// Where it will accept connections of others.
    pub listen: Option<SocketAddr>,
    /// Encrypts what it accepts; plain if there are none.
    pub certificates: Option<Certificates>,
    /// How it dials others.
    pub dialer: Dialer,
    /// Whoever connects there must prove that it has one of these keys, if any are given.
    pub allowed: Option<Allowed>,
}

/// Who signs a node's transactions.
#[derive(Debug)]
pub enum Signer {
    /// This key.
    Key(SecretKey),
    /// Nobody: the node of this author only takes and gives ops, and needs no key for that.
    Nobody(AuthorId),
}

impl Signer {
    /// Whose node it is.
    pub fn author(&self) -> AuthorId {
        match self {
            Self::Key(key) => key.author(),
            Self::Nobody(author) => *author,
        }
    }

    fn key(self) -> Option<SecretKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Nobody(_) => None,
        }
    }
}

/// What a node believes about its own chain when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The marks: where they are ahead of the store or missing, the chain is learnt from others
    /// before anything is signed.
    Marks,
    /// The store: it signs at once, and may fork its chain.
    Store,
}

/// Transactions that could not be signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    /// For which room, if its name is known.
    pub room: Option<RoomName>,
    /// The transactions.
    pub entries: Vec<Canonical>,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Happening {
    /// In rooms, at the same time.
    Events(Vec<Event>),
    /// To a link.
    Link(LinkEvent),
    /// To a connection that was accepted: it has ended.
    Left(Left),
    /// Its replica ended by itself: its store failed.
    Ended(Result<(), NodeError>),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    driver: Driver,
    /// `None` once it has ended.
    ended: Option<End>,
    outcome: Result<(), NodeError>,
    routes: Routes,
    events: mpsc::Receiver<Vec<Event>>,
    links: mpsc::Receiver<LinkEvent>,
    left: mpsc::Receiver<Left>,
    door: Door,
    author: AuthorId,
    marks: Marks,
    /// Why the marks could not be written: the node must stop.
    unnoted: Option<NodeError>,
    _lock: Lock,
}

/// Where others connect to a node.
#[derive(Debug)]
struct Door {
    /// Until others are let in.
    server: Option<Server>,
    guests: Guests,
    /// Serves others, once they are let in.
    serving: Option<JoinHandle<()>>,
    /// Ends the accepting of connections when it is dropped.
    running: watch::Sender<bool>,
}

impl Node {
    /// Starts a node: takes the lock and the address to listen on, loads everything the store
    /// holds, and only then accepts transactions. It connects nowhere yet, and lets nobody in.
    ///
    /// # Errors
    /// The home or the address is in use, or its store cannot be read.
    pub async fn spawn(config: NodeConfig) -> Result<Self, NodeError> {
        home::make(&config.home)?;
        let lock = home::lock(&config.home)?;
        let server = match config.listen {
            Some(address) => Some(
                Server::bind(address, config.certificates)
                    .await
                    .map_err(|source| NodeError::Listen(address, source))?,
            ),
            None => None,
        };
        let store_path = config.home.join(STORE_FILE);
        let mut store = Store::open_existing(&store_path)?;
        let author = config.key.author();
        let mut replica = Replica::new(Config {
            store: store.id(),
            agent: concat!("crdt-node/", env!("CARGO_PKG_VERSION")).into(),
            rooms: Rooms::Joined,
            key: config.key.key(),
            seed: random()?,
            allowed: config.allowed,
            signatures: Arc::new(AllCores::of(EachTime)),
        });
        replica.follow(author);
        store.replay(|record| replica.restore(record).map_err(NodeError::from))?;
        let mut marks = Marks::open(&config.marks, author)?;
        let held: Vec<(RoomId, u64)> =
            replica.rooms().map(|room| (room, replica.own_ops(room))).collect();
        match config.trust {
            Trust::Store => marks.believe(held.into_iter())?,
            Trust::Marks => {
                let fresh = StoreId::from_bytes(random()?);
                if replica.doubt_if_behind(marks.signed(config.routes), fresh) {
                    store.rename(fresh)?;
                }
                // What was on disk before the last process could note it.
                for (room, ops) in held {
                    marks.raise(room, ops);
                }
                marks.save()?;
            }
        }
        let (sender, events) = mpsc::channel(BATCHES_WAITING_MAX);
        let told = Events { sender, wanted: |_| true, when_full: WhenFull::Wait };
        let (driver, ended) = Driver::spawn(replica, store, Some(told));
        for room in config.rooms {
            driver.command(Command::Join(room)).await?;
        }
        let (links_sender, links) = mpsc::channel(LINKS_WAITING_MAX);
        let (left_sender, left) = mpsc::channel(LINKS_WAITING_MAX);
        let guests = Guests::new(left_sender);
        let links_known = Links::with(guests.clone());
        let routes = Routes::new(driver.clone(), config.dialer, links_sender, links_known);
        let (running, _) = watch::channel(true);
        Ok(Self {
            driver,
            ended: Some(ended),
            outcome: Ok(()),
            routes,
            events,
            links,
            left,
            door: Door { server, guests, serving: None, running },
            author,
            marks,
            unnoted: None,
            _lock: lock,
        })
    }

    /// Lets others in from now on, if it was given an address to listen on. Returns where it
    /// listens, the first time.
    pub fn listen(&mut self) -> Option<(SocketAddr, String)> {
        let server = self.door.server.take()?;
        let (address, url) = (server.address(), server.url());
        let service = Service {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            online: self.routes.open(),
            guests: Some(self.door.guests.clone()),
        };
        let metrics = Metrics::default();
        let allowed = watch::channel(Browsers::default()).1;
        let guard = Guard { allowed, metrics: metrics.clone() };
        let app = http::app(self.driver.clone(), service, guard);
        let admission = Admission::new(watch::channel(Limits::default()).1, metrics);
        let serving = server.run(app, admission, self.door.running.subscribe());
        self.door.serving = Some(tokio::spawn(serving));
        self.routes.links().listening(&url);
        Some((address, url))
    }

    /// Its replica.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Where it dials: added and removed while it runs.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The next thing that happens. Must be called again and again: the node waits while too much
    /// is not taken.
    pub async fn next(&mut self) -> Happening {
        if let Some(error) = self.unnoted.take() {
            return Happening::Ended(Err(error));
        }
        if let Some(ended) = &mut self.ended {
            let how_it_ended = tokio::select! {
                Some(events) = self.events.recv() => return self.noted(events),
                Some(link) = self.links.recv() => return Happening::Link(link),
                Some(left) = self.left.recv() => return Happening::Left(left),
                ended = ended => how(ended),
            };
            self.ended = None;
            self.outcome = how_it_ended;
        }
        // What it said before it ended comes first.
        match self.events.try_recv() {
            Ok(events) => self.noted(events),
            Err(_) => Happening::Ended(std::mem::replace(&mut self.outcome, Ok(()))),
        }
    }

    /// Notes outside the home how much the key has signed.
    fn noted(&mut self, events: Vec<Event>) -> Happening {
        self.marks.learn(self.author, &events);
        if let Err(error) = self.marks.save() {
            // The events are told all the same: what is durable is durable.
            self.unnoted.get_or_insert(error);
        }
        Happening::Events(events)
    }

    /// Looks at the replica. What happens meanwhile is dropped: the replica answers only while its
    /// events are taken.
    ///
    /// # Errors
    /// The node has ended.
    pub async fn ask<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let driver = self.driver.clone();
        let answer = driver.query(look);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer?),
                happening = self.next() => if let Happening::Ended(how) = happening {
                    return Err(unasked(how));
                },
            }
        }
    }

    /// What has happened to a link already, if anything.
    pub fn try_link(&mut self) -> Option<LinkEvent> {
        self.links.try_recv().ok()
    }

    /// Finishes what its user asked for and ends. Events that are still to come are dropped.
    /// Returns how it ended, and the transactions that could not be signed.
    pub async fn stop(self) -> (Result<(), NodeError>, Vec<Unsigned>) {
        let Self { driver, ended, outcome, mut events, door, mut marks, author, .. } = self;
        let (mut links, mut left) = (self.links, self.left);
        let Door { server, guests, serving, running } = door;
        drop((server, guests, running));
        links.close();
        left.close();
        let end = async {
            // One that has stopped already has nothing to give back.
            let _stopped_already = driver.command(Command::Withdraw).await;
            driver.stop().await;
            match ended {
                Some(ended) => how(ended.await),
                None => outcome,
            }
        };
        tokio::pin!(end);
        let (mut noted, mut unsigned) = (Ok(()), Vec::new());
        // Its last events tell how much it has signed.
        let mut last = |events: Vec<Event>| {
            marks.learn(author, &events);
            let outcome = std::mem::replace(&mut noted, Ok(()));
            noted = outcome.and(marks.save());
            for event in events {
                if let Event::Withdrawn { room, entries } = event {
                    unsigned.push(Unsigned { room, entries });
                }
            }
        };
        let ended = loop {
            tokio::select! {
                Some(events) = events.recv() => last(events),
                ended = &mut end => break ended,
            }
        };
        while let Ok(events) = events.try_recv() {
            last(events);
        }
        let noted = noted.and(marks.sync());
        // From now on nobody listens on its address.
        if let Some(serving) = serving {
            drop(serving.await);
        }
        (ended.and(noted), unsigned)
    }
}

/// The error of whoever wanted something of a node that ended by itself.
pub(crate) fn unasked(how: Result<(), NodeError>) -> NodeError {
    how.err().unwrap_or(NodeError::Stopped(Stopped))
}

/// How a driver ended. One that vanished without a word has panicked.
fn how(ended: Result<Result<(), StoreError>, RecvError>) -> Result<(), NodeError> {
    Ok(ended.map_err(|_| Stopped)??)
}
