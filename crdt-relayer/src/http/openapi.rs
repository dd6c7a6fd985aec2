//! The description of the API, made from the code that serves it.

use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use super::asked::{Nothing, Parameters};
use super::problem::ProblemBody;
use super::{events, evidence, ops, page, probe, rooms, scrape, submit};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "crdt-relayer",
        description = "Signed ops of rooms: read, follow, add. A relayer can withhold, never forge: \
            check what you read. The prose is docs/HTTP.md.",
    ),
    paths(
        page::page, probe::healthz, probe::readyz, scrape::metrics, probe::version, openapi,
        rooms::rooms, rooms::room, ops::ops, ops::op, submit::submit, events::events,
        evidence::evidence,
    ),
    components(schemas(ProblemBody, ops::PlacedOp)),
    tags(
        (name = "relayer", description = "The relayer itself"),
        (name = "rooms", description = "What is kept"),
        (name = "ops", description = "Signed operations"),
        (name = "events", description = "A room as it grows"),
        (name = "evidence", description = "Who signed what no honest author signs"),
    ),
)]
struct Description;

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "relayer", responses(
    (status = 200, body = Object, description = "OpenAPI 3.1."),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn openapi(Parameters(Nothing {}): Parameters<Nothing>) -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| Description::openapi().to_json().unwrap_or_default());
    ([(CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}
