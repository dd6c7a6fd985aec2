//! What is answered when something is not: RFC 9457, with a code for programs. Where a code means
//! what one of the websocket's means, it is the same word. Source: `docs/HTTP.md`, "Problems".

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::driver::Stopped;
use crate::error::StoreError;

/// Seconds after which somebody who was turned away for being too much may try again.
const RETRY_AFTER_S: u32 = 1;

/// Why a request is not carried out.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

/// A problem, as RFC 9457 wants it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Says that `title` is all there is to know about the kind of problem.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// What the status means.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong and what to do, in a sentence.
    detail: String,
    /// For programs.
    #[schema(example = "room")]
    code: &'static str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// Something in the address or the head of a request is malformed.
    pub(crate) fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// Too much of this is asked for at one time.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail)
    }

    /// The relayer cannot do what it is there for.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, detail } = self;
        let title = status.canonical_reason().unwrap_or("Problem");
        let status_number = status.as_u16();
        let body =
            ProblemBody { r#type: "about:blank", title, status: status_number, detail, code };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if code == "busy" {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

impl From<Stopped> for Problem {
    fn from(_: Stopped) -> Self {
        Self::unavailable("stopped", "The relayer is stopping; try again, or ask another one.")
    }
}

impl From<StoreError> for Problem {
    /// Where the store is and why it fails is nobody's business but its operator's.
    fn from(_: StoreError) -> Self {
        Self::unavailable("store", "The store cannot be read; its operator has to look at it.")
    }
}

/// Nothing is under this path.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!("Nothing is at {}; /openapi.json lists what there is.", uri.path());
    Problem::not_found("path", detail)
}

/// Something is under this path, for other methods: the router adds which.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} cannot be asked with {method}; see /openapi.json.", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
}
