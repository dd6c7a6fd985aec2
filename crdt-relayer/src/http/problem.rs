//! What is answered when something is not: RFC 9457, with a code for programs. Where a code means
//! what one of the websocket's means, it is the same word. Source: `docs/HTTP.md`, "Problems".

use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::driver::Stopped;
use crate::error::StoreError;
use crate::turnover::seconds;

const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request is not carried out.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// When to ask again.
    wait: Option<Duration>,
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
        Self { status, code, detail: detail.into(), wait: None }
    }

    /// Something in the address or the head of a request is malformed.
    pub(crate) fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// Too much of this is asked for at one time; it can be expected to be less after this time.
    pub(crate) fn busy(detail: impl Into<String>, wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).again_in(wait)
    }

    /// The same, and when to ask again.
    pub(crate) fn again_in(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Somebody sends faster than is taken; after this time more is.
    pub(crate) fn too_fast(detail: impl Into<String>, wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail).again_in(wait)
    }

    /// The relayer cannot do what it is there for.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }
}

impl Problem {
    fn body(self) -> ProblemBody {
        let Self { status, code, detail, .. } = self;
        let title = title(status);
        ProblemBody { r#type: "about:blank", title, status: status.as_u16(), detail, code }
    }

    /// The whole answer as it is written to a connection whose request nobody reads; it ends the
    /// connection.
    pub(crate) fn written(self) -> String {
        let status = self.status;
        let again = self.wait.map(|wait| format!("Retry-After: {}\r\n", seconds(wait)));
        let body = serde_json::to_string(&self.body()).unwrap_or_default();
        format!(
            "HTTP/1.1 {} {}\r\nConnection: close\r\n{}Content-Type: {PROBLEM_JSON}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            status.as_u16(),
            title(status),
            again.unwrap_or_default(),
            body.len(),
        )
    }
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Problem")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, wait) = (self.status, self.wait);
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
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
    let detail = format!("Nothing is at {}.", uri.path());
    Problem::not_found("path", detail)
}

/// Something is under this path, for other methods: the router adds which.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} cannot be asked with {method}.", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
}
