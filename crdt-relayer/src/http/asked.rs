//! What a request asks for, read strictly: what is not known or malformed is an error.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use crdt_core::id::{OpId, Position, RoomId, RoomName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A room as the path names it.
#[derive(Clone, Debug)]
pub(crate) struct RoomAsked {
    pub(crate) id: RoomId,
    /// Its name, if that is how it was named.
    pub(crate) name: Option<RoomName>,
}

impl RoomAsked {
    /// 64 digits are an id, although a room might be called so.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = RoomId::parse(text) {
            return Some(Self { id, name: None });
        }
        let name = RoomName::parse(text).ok()?;
        Some(Self { id: name.id(), name: Some(name) })
    }

    /// There is no such room.
    pub(crate) fn unknown() -> Problem {
        Problem::not_found("room", "No such room is kept here; /v1/rooms lists those that are.")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RoomAsked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        part(parts, state, "room").await?.and_then(|text| Self::parse(&text)).ok_or_else(|| {
            let detail = "A room is its name, like main, or its id of 64 digits in lower case.";
            Problem::not_found("room", detail)
        })
    }
}

/// An op as the path names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpAsked(pub(crate) OpId);

impl<S: Send + Sync> FromRequestParts<S> for OpAsked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = part(parts, state, "op").await?;
        text.and_then(|text| OpId::parse(&text).ok()).map(Self).ok_or_else(|| {
            Problem::not_found("op", "An op is named by its id of 64 digits in lower case.")
        })
    }
}

/// A part of the path, by its name.
async fn part<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<Option<String>, Problem> {
    let all = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::not_found("path", "The path is not UTF-8; write it as such."))?;
    Ok(all.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()))
}

/// The parameters after the question mark: all of them known, none twice.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(asked)| Self(asked)).map_err(|rejection| {
            let detail = format!("{}.", rejection.body_text());
            Problem::malformed("query", detail)
        })
    }
}

/// No parameters at all.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// How much of a list is asked for.
pub(crate) fn limit(asked: Option<u64>, default: usize, max: usize) -> Result<usize, Problem> {
    let limit = asked.map_or(Ok(default), usize::try_from).unwrap_or(usize::MAX);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::malformed("query", format!("`limit` is a number from 1 to {max}.")))
}

/// A position as a parameter or header gives it.
pub(crate) fn position(number: u64) -> Result<Position, Problem> {
    Position::new(number).ok_or_else(|| {
        Problem::malformed("query", "A position is a number from 0 to 9007199254740991.")
    })
}

/// Chooses how to answer: the first of what is offered that the client likes best.
pub(crate) fn preferred(parts: &Parts, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let accept = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(&str, u16)> = accept
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(range)
        .collect();
    let Some(first) = offered.first() else { return Err(unacceptable(offered)) };
    if ranges.is_empty() {
        return Ok(first);
    }
    let mut best: Option<(&'static str, u16)> = None;
    for kind in offered {
        let quality = quality(&ranges, kind);
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((kind, quality));
        }
    }
    best.map(|(kind, _)| kind).ok_or_else(|| unacceptable(offered))
}

fn unacceptable(offered: &[&str]) -> Problem {
    let detail = format!("This is answered as {}; accept one of these.", offered.join(" or "));
    Problem::new(StatusCode::NOT_ACCEPTABLE, "accept", detail)
}

/// A media range and its quality in thousandths.
fn range(text: &str) -> (&str, u16) {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .and_then(|quality| quality.parse::<f32>().ok())
        .map_or(1.0, |quality| quality.clamp(0.0, 1.0));
    // Three digits at most are allowed, so nothing is lost.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1000, clamped"
    )]
    (kind, (quality * 1000.0).round() as u16)
}

/// How much a client likes a kind: what its most exact range says.
fn quality(ranges: &[(&str, u16)], kind: &str) -> u16 {
    let any_of = kind.split('/').next().unwrap_or_default();
    let exactness = |range: &str| match range.split_once('/') {
        _ if range.eq_ignore_ascii_case(kind) => 3,
        Some((main, "*")) if main.eq_ignore_ascii_case(any_of) => 2,
        Some(("*", "*")) => 1,
        Some(_) | None => 0,
    };
    let fitting = ranges.iter().map(|(range, quality)| (exactness(range), *quality));
    fitting.filter(|(exact, _)| *exact > 0).max_by_key(|(exact, _)| *exact).map_or(0, |(_, q)| q)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const OFFERED: [&str; 2] = ["application/json", "application/x-ndjson"];

    fn chosen(accept: Option<&str>) -> Option<&'static str> {
        let mut request = Request::builder();
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        preferred(&parts, &OFFERED).ok()
    }

    #[test]
    fn what_a_client_likes_best_is_chosen_and_else_the_first() {
        let [json, lines] = OFFERED.map(Some);
        assert_eq!(chosen(None), json);
        for (accept, expected) in [
            ("*/*", json),
            ("application/x-ndjson", lines),
            ("application/json;q=0.5, application/x-ndjson", lines),
            ("application/*", json),
            ("text/html, */*;q=0.1", json),
            ("application/json;q=0, application/*", lines),
            ("Application/X-NDJSON; q=0.001", lines),
            ("text/html", None),
            ("*/*;q=0", None),
            ("", json),
        ] {
            assert_eq!(chosen(Some(accept)), expected, "{accept}");
        }
    }

    #[test]
    fn a_room_is_named_or_numbered() {
        let id = "ab".repeat(32);
        assert_eq!(RoomAsked::parse(&id).unwrap().id.to_string(), id);
        let main = RoomAsked::parse("main").unwrap();
        assert_eq!(main.id, main.name.unwrap().id());
        for text in ["", "MAIN", "a b", &"AB".repeat(32), &"a".repeat(65)] {
            assert!(RoomAsked::parse(text).is_none(), "{text}");
        }
    }
}
