//! Answers with many ops: so many bytes of them wait to be read at one time, and who has one
//! already is told so instead of getting it again.

use std::convert::Infallible;
use std::fmt::Write;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::places::{Asker, Place, Places};
use super::problem::Problem;

/// Bytes of ops in one answer. One op alone may be larger.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Answers of that size at one time, until the last byte is on its way. Who takes them too slowly
/// is disconnected.
const ANSWERS_MAX: usize = 64;

/// Bytes handed to a connection at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is added to the tag of an answer that was compressed: it is another sequence of bytes.
const GZIPPED: &str = "-gzip";

/// Places for large answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers(Places);

impl Default for Answers {
    fn default() -> Self {
        let sentence = "Too many answers are still being read; ask again later.";
        Self(Places::new(ANSWERS_MAX, sentence))
    }
}

/// The place of one answer.
#[derive(Debug)]
pub(crate) struct AnswerPlace {
    _place: Place,
}

impl Answers {
    /// Takes a place. To be taken before anything is looked up: who waits for a turn to read holds
    /// a place too, so no address keeps more turns waiting than its share.
    pub(crate) fn place(&self, asker: Asker) -> Result<AnswerPlace, Problem> {
        Ok(AnswerPlace { _place: self.0.take(asker)? })
    }
}

impl AnswerPlace {
    /// An answer that keeps its place until it is sent, with a tag.
    pub(crate) fn tagged(self, kind: &'static str, tag: &Tag, body: impl Into<Bytes>) -> Response {
        let mut response = self.plain(kind, body);
        response.headers_mut().extend(tag.headers());
        response
    }

    /// An answer in JSON that keeps its place until it is sent.
    pub(crate) fn json(self, body: &impl Serialize) -> Result<Response, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Problem::unavailable("store", format!("The answer cannot be written ({error})."))
        })?;
        Ok(self.plain("application/json", body))
    }

    fn plain(self, kind: &'static str, body: impl Into<Bytes>) -> Response {
        let chunks = stream::unfold((body.into(), self), async |(mut rest, place)| {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            (!chunk.is_empty()).then_some((Ok::<_, Infallible>(chunk), (rest, place)))
        });
        // What compresses asks once more after the end.
        let mut response = (StatusCode::OK, Body::from_stream(chunks.fuse())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// A strong entity tag: equal only where every byte is.
#[derive(Clone, Debug)]
pub(crate) struct Tag(String);

impl Tag {
    /// The tag of what is determined by these parts.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new().chain_update(env!("CARGO_PKG_VERSION"));
        for part in parts {
            hasher.update(part.len().to_be_bytes());
            hasher.update(part);
        }
        let mut tag = String::new();
        for byte in hasher.finalize().iter().take(16) {
            // Writing to a string cannot fail.
            let _infallible = write!(tag, "{byte:02x}");
        }
        Self(tag)
    }

    /// The answer to somebody who has this already.
    pub(crate) fn not_modified(&self, request: &Parts) -> Option<Response> {
        let given = request.headers.get_all(IF_NONE_MATCH).iter();
        let mut given = given.filter_map(|value| value.to_str().ok());
        let plain = format!("\"{}\"", self.0);
        let zipped = format!("\"{}{GZIPPED}\"", self.0);
        let had = given.find_map(|list| {
            let mut tags = list.split(',').map(str::trim);
            tags.find(|tag| {
                let tag = tag.strip_prefix("W/").unwrap_or(tag);
                tag == "*" || tag == plain || tag == zipped
            })
        })?;
        let had = if had.contains(GZIPPED) { zipped } else { plain };
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().extend(self.headers());
        response.headers_mut().insert(ETAG, HeaderValue::from_str(&had).ok()?);
        Some(response)
    }

    /// A file that is part of the program.
    pub(crate) fn file(&self, kind: &'static str, text: &'static str) -> Response {
        let mut response = ([(CONTENT_TYPE, kind)], text).into_response();
        response.headers_mut().extend(self.headers());
        response
    }

    fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        let tag = HeaderValue::from_str(&format!("\"{}\"", self.0));
        [
            (ETAG, tag.unwrap_or_else(|_| HeaderValue::from_static("\"\""))),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (VARY, HeaderValue::from_static("accept, accept-encoding")),
        ]
    }
}

/// Gives an answer that was compressed on its way out a tag of its own.
pub(crate) async fn tag_what_is_compressed(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let zipped = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    if let (true, Some(tag)) = (zipped, tag.and_then(|tag| tag.strip_suffix('"')))
        && let Ok(tag) = HeaderValue::from_str(&format!("{tag}{GZIPPED}\""))
    {
        headers.insert(ETAG, tag);
    }
    response
}
