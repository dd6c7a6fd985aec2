//! What a relayer, or a node that listens, answers over HTTP. A node has the websocket and a few
//! plain pages; a relayer has the API for programs and web pages besides. Source: `docs/HTTP.md`.

mod answer;
mod asked;
mod bringer;
mod digests;
mod envelope;
mod events;
mod evidence;
mod members;
mod offered;
mod openapi;
mod ops;
mod page;
mod places;
mod probe;
mod problem;
mod readers;
mod rooms;
mod scrape;
mod submit;
mod websocket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use crdt_core::Replica;
use crdt_core::id::StoreId;
use crdt_core::time::Timestamp;
use tokio::sync::{Semaphore, watch};
use tower_http::compression::CompressionLayer;

use crate::access::{self, Access};
use crate::browsers::{self, Guard};
use crate::disk::Storage;
use crate::driver::{Driver, Stopped};
use crate::metrics::Metrics;
use crate::peered::Peered;
use answer::Answers;
use digests::Digests;
use events::Streams;
use members::Peers;
use places::Places;
use probe::Readiness;
pub(crate) use problem::Problem;
use readers::Readers;
use scrape::Scrapes;
pub use websocket::{Guests, Left, close_for, limited};

/// Looks at the replica at one time, for whoever asks over HTTP. Others wait their turn.
const LOOKS_MAX: usize = 4;

/// Age up to which what was seen of all rooms or connections is shown again: looking at thousands
/// of them takes the replica's time.
const FRESH_FOR: Duration = Duration::from_millis(250);

/// Bodies that come in at one time.
const BODIES_MAX: usize = 64;

/// Requests whose ops are brought to the replica at one time. Others wait their turn.
const BRINGING_MAX: usize = 16;

/// Who listens, and whether it lets anybody in.
#[derive(Clone, Debug)]
pub struct Service {
    /// The program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// While this says `false`, or its sender is gone, nobody is let in and whoever is in is
    /// disconnected.
    pub online: watch::Receiver<bool>,
    /// Who is in, if somebody wants to know.
    pub guests: Option<Guests>,
}

#[derive(Debug)]
pub(crate) struct Host {
    driver: Driver,
    service: Service,
}

/// The routes of a node that listens.
pub fn app(driver: Driver, service: Service, guard: Guard) -> Router {
    let host = Arc::new(Host { driver: driver.clone(), service: service.clone() });
    let about = Router::new().route("/", get(probe::about)).with_state(host);
    guarded(shared(driver, service).merge(about), guard)
}

/// The routes of a relayer, whose store is at this path.
pub fn relayer_app(driver: Driver, service: Service, store: Stored, guard: Guard) -> Router {
    let access = store.access.clone();
    let api = Arc::new(Api::new(driver.clone(), store, guard.metrics.clone()));
    let rooms = Router::new()
        .route("/v1/rooms", get(rooms::rooms))
        .route("/v1/rooms/{room}", get(rooms::room))
        .route("/v1/rooms/{room}/ops", get(ops::ops).post(submit::submit))
        .route("/v1/rooms/{room}/ops/{op}", get(ops::op))
        .route("/v1/rooms/{room}/events", get(events::events))
        .route("/v1/rooms/{room}/evidence", get(evidence::evidence))
        .layer(from_fn_with_state(access, access::guard))
        .route("/openapi.json", get(openapi::openapi))
        .merge(page::routes())
        .layer(CompressionLayer::new())
        .layer(from_fn(answer::tag_what_is_compressed))
        .route("/readyz", get(probe::readyz))
        .route("/metrics", get(scrape::metrics))
        .with_state(api);
    guarded(shared(driver, service).merge(rooms), guard)
}

/// Answers what has no route, and refuses web pages that may not ask.
fn guarded(routes: Router, guard: Guard) -> Router {
    routes
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(guard, browsers::guard))
}

/// The routes of both.
fn shared(driver: Driver, service: Service) -> Router {
    Router::new()
        .route("/healthz", get(probe::healthz))
        .route("/version", get(probe::version))
        .route("/websocket", get(websocket::websocket))
        .with_state(Arc::new(Host { driver, service }))
}

/// A relayer's store, as the API uses it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The file.
    pub path: PathBuf,
    /// Its id.
    pub id: StoreId,
    /// The relayers that are dialled.
    pub peered: Peered,
    /// Whether there is room for more.
    pub storage: watch::Receiver<Storage>,
    /// Who is let in.
    pub access: watch::Receiver<Access>,
}

/// What the API of a relayer works with, and how much of it may be used at one time.
#[derive(Debug)]
pub(crate) struct Api {
    driver: Driver,
    readiness: Readiness,
    scrapes: Scrapes,
    readers: Readers,
    peers: Peers,
    digests: Digests,
    answers: Answers,
    streams: Streams,
    access: watch::Receiver<Access>,
    looks: Arc<Semaphore>,
    bodies: Places,
    bringing: Semaphore,
    /// The store that ops count as coming from which come over HTTP.
    bringer: StoreId,
}

impl Api {
    fn new(driver: Driver, store: Stored, metrics: Metrics) -> Self {
        Self {
            scrapes: Scrapes::of(metrics, &store),
            readiness: Readiness::of(driver.clone(), store.storage),
            driver,
            readers: Readers::of(store.path),
            peers: Peers::default(),
            digests: Digests::default(),
            answers: Answers::default(),
            streams: Streams::default(),
            access: store.access,
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            bodies: Places::new(
                BODIES_MAX,
                "Too many ops are coming in at once; send these again later.",
            ),
            bringing: Semaphore::new(BRINGING_MAX),
            bringer: bringer::store_beside(store.id),
        }
    }

    /// Looks at the replica.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = Arc::clone(&self.looks).acquire_owned().await.map_err(|_| Stopped)?;
        // Who asked may leave; the turn is over only when it was looked.
        let look = move |replica: &Replica, now| {
            let seen = look(replica, now);
            drop(turn);
            seen
        };
        Ok(self.driver.query_at(look).await?)
    }
}
