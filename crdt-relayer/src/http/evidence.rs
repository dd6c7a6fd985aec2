//! Every equivocation that is known in a room, each with the file that proves it to anybody.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use crdt_core::Replica;
use crdt_core::evidence::{Equivocation, Evidence};
use crdt_core::graph::ForkPoint;
use crdt_core::id::{AuthorId, OpId, Position, RoomId, Seq};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::answer::ANSWER_BYTES_MAX;
use super::asked::{Parameters, RoomAsked, limit};
use super::places::Asker;
use super::problem::{Problem, ProblemBody};
use super::rooms::status;
use crate::error::StoreError;
use crate::store::reader::Reader;

/// Equivocations in one answer, where nothing else is asked for, and at most.
const FORKS: usize = 20;
const FORKS_MAX: usize = 100;

/// Which equivocations are asked for.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EvidenceAsked {
    /// Only those after this one: `next` of the answer before.
    #[param(pattern = "^[0-9a-f]{64}-[0-9]{1,15}-([0-9a-f]{64})?$")]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u64>,
}

/// What authors signed that no honest author signs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EvidenceBody {
    /// Always `crdt-relayer/evidence/1`.
    schema: &'static str,
    /// The room's id.
    room: String,
    /// The equivocations, by author and place.
    evidence: Vec<Fork>,
    /// What to give as `after` for the next ones; `null` if these are the last.
    #[schema(required)]
    next: Option<String>,
}

/// A point at which an author's chain forks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fork {
    /// Its name, the same wherever it is known.
    id: String,
    /// Who signed both ops.
    author: String,
    /// Their place in the author's chain.
    seq: u64,
    /// The op that both follow.
    #[schema(required)]
    prev: Option<String>,
    /// The two ops, the smaller id first.
    #[schema(min_items = 2, max_items = 2)]
    ops: Vec<String>,
    /// The evidence file, byte for byte: `crdt-node verify` checks it.
    file: String,
}

/// An equivocation and where its two ops are.
struct Found {
    equivocation: Equivocation,
    positions: [Option<Position>; 2],
}

impl Found {
    fn read(self, room: RoomId, reader: &Reader) -> Result<Fork, StoreError> {
        let damaged = || StoreError::Damaged("an op of an equivocation".to_owned());
        let [a, b] = self.positions;
        let (a, b) = (a.ok_or_else(damaged)?, b.ok_or_else(damaged)?);
        let (a, b) = (reader.at(room, a)?, reader.at(room, b)?);
        let evidence =
            Evidence::of(&a, &b).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let Equivocation { author, seq, prev, ops, .. } = self.equivocation;
        Ok(Fork {
            id: self.equivocation.id().to_string(),
            author: author.to_string(),
            seq: seq.number(),
            prev: prev.map(|prev| prev.to_string()),
            ops: ops.iter().map(ToString::to_string).collect(),
            file: format!("{evidence}\n"),
        })
    }
}

/// What is known of authors who forked their chains.
#[utoipa::path(get, path = "/v1/rooms/{room}/evidence", tag = "evidence",
    params(("room" = String, Path, example = "main", description = "Its name, or its id of 64 hex digits."), EvidenceAsked),
    responses(
        (status = 200, body = EvidenceBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn evidence(
    State(api): State<Arc<Api>>,
    who: Asker,
    room: RoomAsked,
    Parameters(asked): Parameters<EvidenceAsked>,
) -> Result<Response, Problem> {
    let limit = limit(asked.limit, FORKS, FORKS_MAX)?;
    let after = asked.after.map(|text| parse(&text).ok_or_else(malformed)).transpose()?;
    let place = api.answers.place(who)?;
    let room = status(&api, room.id).await?.id;
    let found = api.look(move |replica, _| find(replica, room, after, limit + 1)).await?;
    let page = api.readers.read(move |reader| {
        let (mut evidence, mut bytes, mut next) = (Vec::new(), 0, None);
        for (index, found) in found.into_iter().enumerate() {
            if index >= limit || bytes >= ANSWER_BYTES_MAX {
                return Ok((evidence, next));
            }
            next = Some(token(&found.equivocation));
            let fork = found.read(room, reader)?;
            bytes += fork.file.len();
            evidence.push(fork);
        }
        Ok((evidence, None))
    });
    let (evidence, next) = page.await?;
    let (schema, room) = ("crdt-relayer/evidence/1", room.to_string());
    place.json(&EvidenceBody { schema, room, evidence, next })
}

fn find(replica: &Replica, room: RoomId, after: Option<ForkPoint>, max: usize) -> Vec<Found> {
    let found = |equivocation: Equivocation| {
        let positions = equivocation.ops.map(|op| replica.position(room, op));
        Found { equivocation, positions }
    };
    match after {
        Some(point) => replica.equivocations_after(room, point).take(max).map(found).collect(),
        None => replica.equivocations(room).take(max).map(found).collect(),
    }
}

fn malformed() -> Problem {
    Problem::malformed("query", "`after` is what `next` said in the answer before.")
}

/// Where an equivocation is in the list, as text.
fn token(equivocation: &Equivocation) -> String {
    let Equivocation { author, seq, prev, .. } = equivocation;
    let prev = prev.map_or_else(String::new, |prev| prev.to_string());
    format!("{author}-{}-{prev}", seq.number())
}

fn parse(token: &str) -> Option<ForkPoint> {
    let (author, rest) = token.split_once('-')?;
    let (seq, prev) = rest.split_once('-')?;
    let prev = if prev.is_empty() { None } else { Some(OpId::parse(prev).ok()?) };
    let digits = seq.bytes().all(|byte| byte.is_ascii_digit()).then_some(seq)?;
    Some((AuthorId::parse(author).ok()?, Seq::new(digits.parse().ok()?)?, prev))
}
