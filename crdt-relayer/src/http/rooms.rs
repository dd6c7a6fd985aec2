//! The rooms that are kept, and one of them with whoever is connected to it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use crdt_core::Replica;
use crdt_core::id::{LogDigest, Position, RoomId};
use crdt_core::limits::HEADS_LISTED_MAX;
use crdt_core::status::RoomStatus;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::asked::{Parameters, RoomAsked, limit};
use super::members::Member;
use super::places::Asker;
use super::problem::{Problem, ProblemBody};

/// Rooms in one answer, where nothing else is asked for, and at most.
const ROOMS: usize = 100;
const ROOMS_MAX: usize = 1_000;

/// What is asked of the list.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RoomsAsked {
    /// Only rooms whose ids are after this one.
    #[param(pattern = "^[0-9a-f]{64}$")]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
}

/// Rooms, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomsPage {
    /// Always `crdt-relayer/rooms/1`.
    schema: &'static str,
    /// The rooms.
    rooms: Vec<RoomItem>,
    /// What to give as `after` for the next ones; `null` if these are the last.
    #[schema(required)]
    next: Option<String>,
}

/// A room in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomItem {
    /// Its id.
    id: String,
    /// Its name, if known.
    #[schema(required)]
    name: Option<String>,
    /// Ops in its log.
    ops: u64,
    /// Transactions in its log.
    entries: u64,
    /// Bytes of its ops, as `limits.room_bytes` counts them.
    bytes: u64,
    /// How many heads it has.
    heads: usize,
    /// The digest of its set of ops.
    set: String,
    /// How many are connected that use it.
    members: usize,
    /// Points at which an author's chain forks.
    equivocations: usize,
}

/// The rooms that are kept here.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms", params(RoomsAsked), responses(
    (status = 200, body = RoomsPage),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn rooms(
    State(api): State<Arc<Api>>,
    who: Asker,
    Parameters(asked): Parameters<RoomsAsked>,
) -> Result<Response, Problem> {
    let limit = limit(asked.limit, ROOMS, ROOMS_MAX)?;
    let after = asked.after.map(|after| RoomId::parse(&after)).transpose().map_err(|_| {
        Problem::malformed("query", "`after` is a room's id of 64 digits in lower case.")
    })?;
    let place = api.answers.place(who)?;
    let look = move |replica: &Replica, _| {
        let rooms = replica
            .rooms_after(after)
            .take(limit + 1)
            .filter_map(|room| Some((replica.status_listing(room, 0)?, replica.head_count(room))));
        rooms.collect::<Vec<_>>()
    };
    let mut rooms = api.look(look).await?;
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| more).map(|(room, _)| room.id.to_string());
    let peers = api.peers.now(&api).await?;
    let rooms = rooms.into_iter().map(|(room, heads)| RoomItem {
        id: room.id.to_string(),
        name: room.name.map(|name| name.as_str().to_owned()),
        ops: room.ops,
        entries: room.entries,
        bytes: room.bytes,
        heads,
        set: room.set.to_string(),
        members: peers.count(room.id),
        equivocations: room.equivocations,
    });
    place.json(&RoomsPage { schema: "crdt-relayer/rooms/1", rooms: rooms.collect(), next })
}

/// What is asked of one room.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RoomWanted {
    /// Whether the digest of the log in order is wanted, for which all of it is read.
    #[serde(default)]
    log: bool,
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomBody {
    /// Always `crdt-relayer/room/1`.
    schema: &'static str,
    /// Its id.
    id: String,
    /// Its name, if known.
    #[schema(required)]
    name: Option<String>,
    /// Ops in its log.
    ops: u64,
    /// Transactions in its log.
    entries: u64,
    /// Bytes of its ops, as `limits.room_bytes` counts them.
    bytes: u64,
    /// Its heads, ascending; the first 1,024 of them.
    heads: Vec<String>,
    /// The digest of its set of ops: two that say the same hold the same.
    set: String,
    /// Ops that wait for one they depend on.
    parked: usize,
    /// Ops that others name and that are not here; the first 16 of them.
    missing: Vec<String>,
    /// Points at which an author's chain forks.
    equivocations: usize,
    /// Who is connected and uses it.
    members: Vec<Member>,
    /// The digest of its transactions in order, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    log: Option<String>,
}

/// One room.
#[utoipa::path(get, path = "/v1/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, example = "main", description = "Its name, or its id of 64 hex digits."), RoomWanted),
    responses(
        (status = 200, body = RoomBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn room(
    State(api): State<Arc<Api>>,
    who: Asker,
    room: RoomAsked,
    Parameters(wanted): Parameters<RoomWanted>,
) -> Result<Response, Problem> {
    let place = api.answers.place(who)?;
    let status = status(&api, room.id).await?;
    let log = if wanted.log { Some(digest(&api, &status).await?.to_string()) } else { None };
    let members = api.peers.now(&api).await?.members(room.id, status.set);
    let body = RoomBody {
        schema: "crdt-relayer/room/1",
        id: status.id.to_string(),
        name: status.name.map(|name| name.as_str().to_owned()),
        ops: status.ops,
        entries: status.entries,
        bytes: status.bytes,
        heads: status.heads.iter().map(ToString::to_string).collect(),
        set: status.set.to_string(),
        parked: status.parked,
        missing: status.missing.ops.iter().map(ToString::to_string).collect(),
        equivocations: status.equivocations,
        members,
        log,
    };
    place.json(&body)
}

/// The digest of a room's log as it was when this was its status.
async fn digest(api: &Api, status: &RoomStatus) -> Result<LogDigest, Problem> {
    // Positions are given in the order of admission, so these ops are that set.
    let (room, through) = (status.id, Position::new(status.ops).unwrap_or_default());
    let readers = api.readers.clone();
    let compute =
        move || async move { readers.read(move |reader| reader.log_digest(room, through)).await };
    api.digests.of((room, status.set), compute).await
}

/// What is held of a room, with so many of its heads as are shown.
pub(crate) async fn status(api: &Api, room: RoomId) -> Result<RoomStatus, Problem> {
    let look = move |replica: &Replica, _| replica.status_listing(room, HEADS_LISTED_MAX);
    api.look(look).await?.ok_or_else(RoomAsked::unknown)
}
