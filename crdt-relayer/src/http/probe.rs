//! Whether this relayer lives, whether it can do its work, and what it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::asked::{Nothing, Parameters};
use super::problem::{Problem, ProblemBody};
use super::{Api, Host};
use crate::disk::Storage;
use crate::driver::Driver;

/// What a node that listens is, for people; a relayer has a page.
pub(crate) async fn about(
    State(host): State<Arc<Host>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> String {
    format!(
        "{} {}\nIt keeps the signed operations of its rooms and passes them on.\n\
         It can delay or withhold those of others; it cannot forge or change any.\n\
         Websocket: /websocket   Health: /healthz   Version: /version\n",
        host.service.name, host.service.version
    )
}

/// Healthy means that the driver answers: it has not stopped over a failed write.
#[utoipa::path(get, path = "/healthz", tag = "relayer", responses(
    (status = 200, body = String, content_type = "text/plain", description = "It lives."),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn healthz(
    State(host): State<Arc<Host>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<&'static str, Problem> {
    host.driver.query(|_| ()).await?;
    Ok("ok\n")
}

/// What must hold for a relayer to take ops. Each condition says in a sentence why it does not.
#[derive(Debug)]
pub(crate) struct Readiness {
    driver: Driver,
    storage: watch::Receiver<Storage>,
}

impl Readiness {
    pub(crate) fn of(driver: Driver, storage: watch::Receiver<Storage>) -> Self {
        Self { driver, storage }
    }

    /// Looks at each condition in turn; the first that does not hold is the answer.
    pub(super) async fn check(&self) -> Result<(), Problem> {
        self.driver.query(|_| ()).await?;
        let storage = *self.storage.borrow();
        storage.problem().map_or(Ok(()), |why| Err(Problem::unavailable("disk", why)))
    }
}

/// Ready means that ops sent now are taken.
#[utoipa::path(get, path = "/readyz", tag = "relayer", responses(
    (status = 200, body = String, content_type = "text/plain", description = "It takes ops."),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(
    State(api): State<Arc<Api>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<&'static str, Problem> {
    api.readiness.check().await?;
    Ok("ready\n")
}

/// What this is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct About {
    /// The program.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// The version of the protocol it speaks.
    protocol: i64,
}

/// What this is.
#[utoipa::path(get, path = "/version", tag = "relayer", responses(
    (status = 200, body = About),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn version(
    State(host): State<Arc<Host>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Json<About> {
    Json(About {
        name: host.service.name,
        version: host.service.version,
        protocol: crdt_core::head::VERSION,
    })
}
