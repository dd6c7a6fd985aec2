//! A running node: replica, store, key and links.

use std::path::PathBuf;

use crdt_core::Replica;
use crdt_core::effect::{Command, Event};
use crdt_core::id::RoomName;
use crdt_core::key::SecretKey;
use crdt_core::replica::{Config, Rooms};
use crdt_relayer::dial::{self, LinkEvent};
use crdt_relayer::driver::{Driver, Ended, Events, Stopped, WhenFull};
use crdt_relayer::error::StoreError;
use crdt_relayer::home::{self, Lock, STORE_FILE};
use crdt_relayer::store::Store;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{mpsc, watch};

use crate::error::NodeError;

/// Events that may wait to be shown.
const EVENTS_WAITING_MAX: usize = 4_096;

/// Link events that may wait to be shown.
const LINKS_WAITING_MAX: usize = 64;

/// What a node is made with.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where its store and lock are.
    pub home: PathBuf,
    /// Signs its transactions.
    pub key: SecretKey,
    /// What it takes part in.
    pub rooms: Vec<RoomName>,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Happening {
    /// In a room.
    Event(Event),
    /// To a link.
    Link(LinkEvent),
    /// Its replica ended by itself: its store failed.
    Ended(Result<(), NodeError>),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    driver: Driver,
    /// `None` once it has ended.
    ended: Option<Ended>,
    outcome: Result<(), NodeError>,
    online: watch::Sender<bool>,
    events: mpsc::Receiver<Event>,
    links: mpsc::Receiver<LinkEvent>,
    links_sender: mpsc::Sender<LinkEvent>,
    _lock: Lock,
}

impl Node {
    /// Starts a node: takes the lock, loads everything the store holds, and only then accepts
    /// transactions. It connects nowhere yet.
    ///
    /// # Errors
    /// The home is in use or its store cannot be read.
    pub async fn spawn(config: NodeConfig) -> Result<Self, NodeError> {
        home::make(&config.home)?;
        let lock = home::lock(&config.home)?;
        let store_path = config.home.join(STORE_FILE);
        let store = Store::open_existing(&store_path)?;
        let mut replica = Replica::new(Config {
            store: store.id(),
            agent: concat!("crdt-node/", env!("CARGO_PKG_VERSION")).into(),
            rooms: Rooms::Joined,
            key: Some(config.key),
            seed: getrandom::u64()?,
        });
        store.replay(|record| replica.restore(record).map_err(NodeError::from))?;
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let (driver, ended) =
            Driver::spawn(replica, store, Some(Events { sender, when_full: WhenFull::Wait }));
        for room in config.rooms {
            driver.command(Command::Join(room)).await?;
        }
        let (links_sender, links) = mpsc::channel(LINKS_WAITING_MAX);
        let (online, _) = watch::channel(true);
        let (ended, outcome) = (Some(ended), Ok(()));
        Ok(Self { driver, ended, outcome, online, events, links, links_sender, _lock: lock })
    }

    /// Keeps a connection to a relay from now on.
    pub fn connect(&self, url: String) {
        let (driver, events) = (self.driver.clone(), self.links_sender.clone());
        tokio::spawn(dial::keep(driver, url, events, self.online.subscribe()));
    }

    /// Its replica.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The switch that connects and disconnects all links; writing goes on either way.
    pub fn switch(&self) -> watch::Sender<bool> {
        self.online.clone()
    }

    /// The next thing that happens. Must be called again and again: the node waits while too much
    /// is not taken.
    pub async fn next(&mut self) -> Happening {
        if let Some(ended) = &mut self.ended {
            let how_it_ended = tokio::select! {
                Some(event) = self.events.recv() => return Happening::Event(event),
                Some(link) = self.links.recv() => return Happening::Link(link),
                ended = ended => how(ended),
            };
            self.ended = None;
            self.outcome = how_it_ended;
        }
        // What it said before it ended comes first.
        match self.events.try_recv() {
            Ok(event) => Happening::Event(event),
            Err(_) => Happening::Ended(std::mem::replace(&mut self.outcome, Ok(()))),
        }
    }

    /// What has happened to a link already, if anything.
    pub fn try_link(&mut self) -> Option<LinkEvent> {
        self.links.try_recv().ok()
    }

    /// Finishes what is at hand and ends. Events that are still to come are dropped.
    ///
    /// # Errors
    /// Why the store failed, if it did.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        self.events.close();
        self.links.close();
        self.driver.stop().await;
        match &mut self.ended {
            Some(ended) => how(ended.await),
            None => self.outcome,
        }
    }
}

/// How a driver ended. One that vanished without a word has panicked.
fn how(ended: Result<Result<(), StoreError>, RecvError>) -> Result<(), NodeError> {
    Ok(ended.map_err(|_| Stopped)??)
}
