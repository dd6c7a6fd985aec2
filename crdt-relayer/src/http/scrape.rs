//! What is counted, and what is looked at when somebody asks for it.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use crdt_core::Replica;
use crdt_core::effect::PeerId;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::asked::{Nothing, Parameters};
use super::members::Seen;
use super::problem::{Problem, ProblemBody};
use super::{Api, FRESH_FOR, Stored};
use crate::access::Access;
use crate::disk::{FileSystem, Space};
use crate::driver::Stopped;
use crate::metrics::{Metrics, PeerSample, ROOMS_SHOWN, Sample};
use crate::peered::Peered;
use crate::store::files::files_of;

/// Time for a replica to be looked at. One that is stuck is not ready, and whoever watches it must
/// be told so.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Answers who asks for numbers, one at a time.
#[derive(Debug)]
pub(crate) struct Scrapes {
    metrics: Metrics,
    store: PathBuf,
    peered: Peered,
    access: watch::Receiver<Access>,
    sampled: Mutex<Option<Instant>>,
}

impl Scrapes {
    pub(super) fn of(metrics: Metrics, store: &Stored) -> Self {
        let Stored { path, peered, access, .. } = store;
        let (store, peered, access) = (path.clone(), peered.clone(), access.clone());
        Self { metrics, store, peered, access, sampled: Mutex::default() }
    }
}

impl Api {
    async fn sample(&self) -> Sample {
        let (heads, peers) = match timeout(LOOK_MAX, self.look_at_all()).await {
            Ok(Ok((heads, seen))) => (heads, Some(seen)),
            Ok(Err(_)) | Err(_) => (Vec::new(), None),
        };
        let ready = timeout(LOOK_MAX, self.readiness.check());
        let ready = peers.is_some() && matches!(ready.await, Ok(Ok(())));
        let peer = |(url, peer): (String, Option<PeerId>)| {
            let seen = peers.as_ref().zip(peer).and_then(|(seen, peer)| seen.lag(peer));
            let (lag_ops, unacked_ops) = seen.unwrap_or_default();
            PeerSample { peer: url, connected: seen.is_some(), lag_ops, unacked_ops }
        };
        Sample {
            ready,
            heads,
            store_bytes: bytes_of(&self.scrapes.store),
            disk_free_bytes: FileSystem(self.scrapes.store.clone()).free(),
            peers: self.scrapes.peered.now().into_iter().map(peer).collect(),
        }
    }

    async fn look_at_all(&self) -> Result<(Vec<(String, usize)>, Seen), Problem> {
        // Who may not read rooms is not told what they are called.
        let told = self.scrapes.access.borrow().lets_in(&Method::GET);
        let rooms = if told { self.look(|replica, _| largest(replica)).await? } else { Vec::new() };
        Ok((rooms, self.peers.now(self).await?))
    }
}

/// The rooms with the most ops, and how many heads each has.
fn largest(replica: &Replica) -> Vec<(String, usize)> {
    let mut rooms: Vec<_> = replica.rooms().map(|room| (replica.op_count(room), room)).collect();
    rooms.retain(|(ops, _)| *ops > 0);
    rooms.sort_unstable_by_key(|(ops, room)| (Reverse(*ops), *room));
    rooms.truncate(ROOMS_SHOWN);
    let shown = |(_, room)| {
        let name = replica.status_listing(room, 0).and_then(|status| status.name);
        let name = name.map_or_else(|| room.to_string(), |name| name.to_string());
        (name, replica.head_count(room))
    };
    rooms.into_iter().map(shown).collect()
}

/// Bytes of the store and of what is written ahead of it.
fn bytes_of(store: &Path) -> u64 {
    let files = files_of(store);
    files.iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum()
}

/// What is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "relayer", responses(
    (
        status = 200,
        body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8",
        description = "The text format of OpenMetrics.",
    ),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics(
    State(api): State<Arc<Api>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Response, Problem> {
    let scrapes = &api.scrapes;
    let text = {
        let mut sampled = scrapes.sampled.lock().await;
        if sampled.is_none_or(|at| at.elapsed() >= FRESH_FOR) {
            scrapes.metrics.sampled(&api.sample().await);
            *sampled = Some(Instant::now());
        }
        scrapes.metrics.text().map_err(|_| Stopped)?
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
