//! A whole relayer in this process: store, replica, server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::Link;
use crdt_core::id::StoreId;
use crdt_core::key::CheckSignature;
use crdt_core::rejection::Rejection;
use crdt_core::replica::{Config, Rooms};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::admission::Admission;
use crate::browsers::{Browsers, Guard};
use crate::dial::{self, Dialer, LinkEvent, Route};
use crate::disk::{Disk, FileSystem, Space, Storage};
use crate::driver::{Driver, End, Events, Stopped};
use crate::error::StoreError;
use crate::home::{self, HomeError, Lock, STORE_FILE};
use crate::http::{self, Guests, Left, Service, Stored};
use crate::keeper::Keeper;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::peered::Peered;
use crate::server::Server;
use crate::signatures::AllCores;
use crate::store::Store;
use crate::tls::{Certificates, TlsError};

/// A relayer that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayerError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Its replica ended without saying why.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// It cannot encrypt.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Random(getrandom::Error),
}

impl From<Rejection> for RelayerError {
    fn from(rejection: Rejection) -> Self {
        Self::Store(StoreError::Damaged(rejection.to_string()))
    }
}

/// What a relayer is made with.
#[derive(Debug)]
pub struct RelayerConfig {
    /// The folder of its state.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Encrypts what it serves; plain if there are none.
    pub certificates: Option<Certificates>,
    /// Relayers it keeps the same rooms with.
    pub peers: Vec<String>,
    /// How it dials them.
    pub dialer: Dialer,
    /// How much anybody may take, at any time.
    pub limits: watch::Receiver<Limits>,
    /// Which web pages may speak to it, at any time.
    pub browsers: watch::Receiver<Browsers>,
    /// Who is let in, and which rooms are made, at any time.
    pub access: watch::Receiver<Access>,
    /// Told what happens in its rooms.
    pub events: Option<Events>,
    /// Told what becomes of its links to them.
    pub links: Option<mpsc::Sender<LinkEvent>>,
    /// Told of each connection that was accepted and has ended.
    pub left: Option<mpsc::Sender<Left>>,
    /// How much room there is for its state; where the folder is, if nothing else is given.
    pub space: Option<Box<dyn Space>>,
}

impl RelayerConfig {
    /// A relayer with its state in a folder and listening somewhere, and nothing else out of the
    /// ordinary.
    pub fn at(data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data,
            listen,
            certificates: None,
            peers: Vec::new(),
            dialer: Dialer::default(),
            limits: watch::channel(Limits::default()).1,
            browsers: watch::channel(Browsers::default()).1,
            access: watch::channel(Access::default()).1,
            events: None,
            links: None,
            left: None,
            space: None,
        }
    }
}

/// A running relayer.
#[derive(Debug)]
pub struct Relayer {
    driver: Driver,
    ended: End,
    serving: JoinHandle<()>,
    running: watch::Sender<bool>,
    _online: watch::Sender<bool>,
    metrics: Metrics,
    storage: watch::Receiver<Storage>,
    address: SocketAddr,
    url: String,
    _lock: Lock,
}

/// 32 random bytes.
///
/// # Errors
/// The system gives none.
pub fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Makes the replica of a store, as often as it is needed.
fn replicas(
    store: StoreId,
    seed: [u8; 32],
    signatures: Arc<dyn CheckSignature>,
) -> impl Fn() -> Replica + Send {
    move || {
        Replica::new(Config {
            store,
            agent: concat!("crdt-relayer/", env!("CARGO_PKG_VERSION")).into(),
            rooms: Rooms::OnDemand,
            key: None,
            seed,
            allowed: None,
            signatures: Arc::clone(&signatures),
        })
    }
}

impl Relayer {
    /// Starts a relayer.
    ///
    /// # Errors
    /// [`RelayerError`].
    pub async fn start(config: RelayerConfig) -> Result<Self, RelayerError> {
        let RelayerConfig { data, listen, certificates, peers, dialer, .. } = config;
        let RelayerConfig { limits, browsers, access, events, links, left, space, .. } = config;
        let metrics = Metrics::default();
        home::make(&data)?;
        let lock = home::lock(&data)?;
        let new_id = StoreId::from_bytes(random().map_err(RelayerError::Random)?);
        let path = data.join(STORE_FILE);
        let store = Store::open(&path, new_id)?;
        let peered = Peered::of(&peers);
        let disk = Disk::new(space.unwrap_or_else(|| Box::new(FileSystem(data))));
        let storage = disk.watch();
        let stored = Stored {
            path,
            id: store.id(),
            peered: peered.clone(),
            storage: storage.clone(),
            access: access.clone(),
        };
        let signatures = Arc::new(AllCores::of(metrics.counts.timed()));
        let anew = replicas(store.id(), random().map_err(RelayerError::Random)?, signatures);
        let mut replica = anew();
        store.replay(|record| replica.restore(record).map_err(RelayerError::from))?;
        let server = Server::bind(listen, certificates)
            .await
            .map_err(|source| RelayerError::Listen { address: listen, source })?;
        let (address, url) = (server.address(), server.url());
        let (limits_of_ops, anew) = (limits.clone(), Box::new(anew));
        let (counts, metrics_of_ops) = (metrics.counts.clone(), metrics.clone());
        let keeper = Keeper {
            disk,
            limits: limits_of_ops,
            access,
            metrics: metrics_of_ops,
            anew,
            told: None,
        };
        let (driver, ended) = Driver::spawn_kept(replica, store, events, counts, Some(keeper));
        let (running, watch) = watch::channel(true);
        let (online, switch) = watch::channel(true);
        let service = Service {
            name: "crdt-relayer",
            version: env!("CARGO_PKG_VERSION"),
            online: switch.clone(),
            guests: left.map(Guests::new),
        };
        let guard = Guard { allowed: browsers, metrics: metrics.clone() };
        let app = http::relayer_app(driver.clone(), service, stored, guard);
        let serving = tokio::spawn(server.run(app, Admission::new(limits, metrics.clone()), watch));
        let links = peered.note(links);
        for url in peers {
            let route = Route { url, link: Link::PEERED, dialer: dialer.clone() };
            tokio::spawn(dial::keep(driver.clone(), route, links.clone(), switch.clone()));
        }
        Ok(Self {
            driver,
            ended,
            serving,
            running,
            _online: online,
            metrics,
            storage,
            address,
            url,
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its websocket.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether there is room for more.
    pub fn storage(&self) -> watch::Receiver<Storage> {
        self.storage.clone()
    }

    /// Its replica.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Waits until its replica ends by itself: its store failed.
    ///
    /// # Errors
    /// Why the store failed.
    pub async fn failed(&mut self) -> Result<(), RelayerError> {
        // A driver that vanished without a word has panicked.
        Ok((&mut self.ended).await.map_err(|_| Stopped)??)
    }

    /// Stops accepting, finishes the batch at hand, tells the members to come back later, and ends.
    ///
    /// # Errors
    /// Why the store failed, if it did.
    pub async fn stop(mut self) -> Result<(), RelayerError> {
        self.running.send_replace(false);
        self.driver.stop().await;
        let failed = self.failed().await;
        // Whoever starts another one may listen on the same address.
        drop(self.serving.await);
        failed
    }
}
