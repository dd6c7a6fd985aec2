//! A room's ops in the order in which they arrived here, as they were signed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use crdt_core::Replica;
use crdt_core::id::{Position, RoomId};
use crdt_core::op::Op;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::answer::{ANSWER_BYTES_MAX, Tag};
use super::asked::{Nothing, OpAsked, Parameters, RoomAsked, limit, position, preferred};
use super::envelope::Envelope;
use super::places::Asker;
use super::problem::{Problem, ProblemBody};
use super::rooms::status;
use crate::store::reader::PageMax;

/// Ops in one answer, where nothing else is asked for, and at most.
const OPS: usize = 100;
const OPS_MAX: usize = 1_000;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const BYTES: &str = "application/octet-stream";

/// Which ops are asked for.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OpsAsked {
    /// Only ops after this position.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64, default = 0)]
    after: Option<u64>,
    /// How many at most; fewer if they are large.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
}

/// Some ops of a room: describes what is written by hand, so that ops keep their bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpsPage {
    /// Always `crdt-relayer/ops/1`.
    schema: &'static str,
    /// The room's id.
    room: String,
    /// The ops.
    ops: Vec<PlacedOp>,
    /// What to give as `after` for the next ones; `null` if these are the last.
    #[schema(required)]
    next: Option<u64>,
    /// The position of the room's last op; 0 if it has none.
    end: u64,
}

/// An op and where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlacedOp {
    /// Its position in the order of arrival, in this store; from 1.
    #[schema(minimum = 1)]
    position: u64,
    /// The op.
    op: Envelope,
}

/// Appends `{"position":…,"op":…}`, the op as its canonical bytes.
pub(crate) fn write_placed(position: Position, op: &Op, out: &mut String) {
    out.push_str("{\"position\":");
    out.push_str(&position.number().to_string());
    out.push_str(",\"op\":");
    op.write(out);
    out.push('}');
}

/// Ops of a room, in the order of arrival.
#[utoipa::path(get, path = "/v1/rooms/{room}/ops", tag = "ops",
    params(("room" = String, Path, example = "main", description = "Its name, or its id of 64 hex digits."), OpsAsked),
    responses(
        (status = 200, content((OpsPage = "application/json"), (String = "application/x-ndjson"))),
        (status = 304, description = "What `If-None-Match` names is what would be sent."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn ops(
    State(api): State<Arc<Api>>,
    who: Asker,
    room: RoomAsked,
    Parameters(asked): Parameters<OpsAsked>,
    request: Parts,
) -> Result<Response, Problem> {
    let max = PageMax { ops: limit(asked.limit, OPS, OPS_MAX)?, bytes: ANSWER_BYTES_MAX };
    let after = position(asked.after.unwrap_or(0))?;
    let kind = preferred(&request, &[JSON, LINES])?;
    let place = api.answers.place(who)?;
    let room = status(&api, room.id).await?.id;
    let look =
        move |reader: &crate::store::reader::Reader| Ok((reader.store(), reader.extent(room)?));
    let (store, extent) = api.readers.read(look).await?;
    let end = extent.map(|extent| extent.end).unwrap_or_default();
    let numbers = [after.number(), end.number(), u64::try_from(max.ops).unwrap_or(u64::MAX)];
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let tag = Tag::of(&[store.as_bytes(), room.as_bytes(), &numbers, kind.as_bytes()]);
    if let Some(response) = tag.not_modified(&request) {
        return Ok(response);
    }
    let write = if kind == LINES { write_lines } else { write_page };
    let page = api.readers.read(move |reader| {
        let ops = match extent {
            Some(extent) => reader.page((room, extent), after, max)?,
            None => Vec::new(),
        };
        Ok(write(room, &ops, end))
    });
    Ok(place.tagged(kind, &tag, page.await?))
}

fn write_lines(_: RoomId, ops: &[(Position, Op)], _: Position) -> String {
    let mut lines = String::new();
    for (position, op) in ops {
        write_placed(*position, op, &mut lines);
        lines.push('\n');
    }
    lines
}

fn write_page(room: RoomId, ops: &[(Position, Op)], end: Position) -> String {
    let mut page = format!(r#"{{"schema":"crdt-relayer/ops/1","room":"{room}","ops":["#);
    for (index, (position, op)) in ops.iter().enumerate() {
        if index > 0 {
            page.push(',');
        }
        write_placed(*position, op, &mut page);
    }
    let next = ops.last().filter(|(position, _)| *position < end);
    let next =
        next.map_or_else(|| "null".to_owned(), |(position, _)| position.number().to_string());
    page + &format!(r#"],"next":{next},"end":{}}}"#, end.number())
}

/// One op: with `Accept: application/octet-stream` the exact bytes of its envelope and nothing
/// else.
#[utoipa::path(get, path = "/v1/rooms/{room}/ops/{op}", tag = "ops",
    params(
        ("room" = String, Path, example = "main", description = "Its name, or its id of 64 hex digits."),
        ("op" = String, Path, description = "Its id of 64 hex digits."),
    ),
    responses(
        (status = 200, content((PlacedOp = "application/json"), (String = "application/octet-stream"))),
        (status = 304, description = "What `If-None-Match` names is what would be sent."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn op(
    State(api): State<Arc<Api>>,
    (who, room): (Asker, RoomAsked),
    OpAsked(id): OpAsked,
    Parameters(Nothing {}): Parameters<Nothing>,
    request: Parts,
) -> Result<Response, Problem> {
    let kind = preferred(&request, &[JSON, BYTES])?;
    let place = api.answers.place(who)?;
    let room = status(&api, room.id).await?.id;
    let position = api.look(move |replica: &Replica, _| replica.position(room, id)).await?;
    let position = position.ok_or_else(|| {
        Problem::not_found("op", "This op is not in the room's log here; it may come later.")
    })?;
    let read = move |reader: &crate::store::reader::Reader| {
        Ok((reader.store(), reader.at(room, position)?))
    };
    let (store, op) = api.readers.read(read).await?;
    let tag = Tag::of(&[store.as_bytes(), id.as_bytes(), kind.as_bytes()]);
    if let Some(response) = tag.not_modified(&request) {
        return Ok(response);
    }
    let mut body = String::new();
    if kind == BYTES {
        op.write(&mut body);
    } else {
        write_placed(position, &op, &mut body);
    }
    Ok(place.tagged(kind, &tag, body))
}
