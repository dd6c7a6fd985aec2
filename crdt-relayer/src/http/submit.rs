//! Ops that come over HTTP. A peer in this process brings them, so that they are checked, kept and
//! passed on like those that come over a websocket, and are on disk before they are answered.
//! Source: `docs/PROTOCOL.md`, "Acknowledgement".

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use crdt_core::Replica;
use crdt_core::id::OpId;
use crdt_core::intake::Shortage;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Api;
use super::asked::{Nothing, Parameters, RoomAsked};
use super::bringer::{Bringer, Lost};
use super::offered::{Offered, Spelling};
use super::places::Asker;
use super::problem::{Problem, ProblemBody};
use crate::admission::Seat;
use crate::driver::Stopped;
use crate::metrics::Refused;
use crate::verdict::Verdict;

/// Time in which more is taken of an author who is too fast, whatever its rate is.
const RATE_WAIT: Duration = Duration::from_secs(1);

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Time for a body to come.
const BODY_MAX: Duration = Duration::from_secs(30);

/// What became of ops.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Verdicts {
    /// Always `crdt-relayer/verdicts/1`.
    schema: &'static str,
    /// One for each op, in their order.
    verdicts: Vec<VerdictBody>,
}

/// What became of an op.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictBody {
    /// The id it says it has, if it says one.
    #[schema(required)]
    id: Option<String>,
    /// What became of it.
    verdict: VerdictWord,
    /// Why it was rejected: `json`, or a code of the protocol about an op.
    #[schema(required)]
    code: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerdictWord {
    /// It is in the log, on disk; now or since before.
    Stored,
    /// It waits in memory for an op that it depends on.
    Parked,
    /// It never will be in the log.
    Rejected,
}

impl VerdictBody {
    fn of(id: Option<OpId>, verdict: Verdict) -> Self {
        let (word, code) = match verdict {
            Verdict::Stored => (VerdictWord::Stored, None),
            Verdict::Parked => (VerdictWord::Parked, None),
            // None is left that is put off: that is a problem, see `bring`.
            Verdict::Rejected(code) | Verdict::Later(code) => (VerdictWord::Rejected, Some(code)),
        };
        Self { id: id.map(|id| id.to_string()), verdict: word, code }
    }
}

/// Takes ops, at most 1,000 in at most 1 MiB. Saying the same again changes nothing.
#[utoipa::path(post, path = "/v1/rooms/{room}/ops", tag = "ops",
    params(("room" = String, Path, example = "main", description = "Its name, or its id of 64 hex digits.")),
    request_body(
        description = "At most 1,000 ops, each as `Envelope` says. Each is judged by itself.",
        content((Vec<Value> = "application/json"), (String = "application/x-ndjson")),
    ),
    responses(
        (status = 200, body = Verdicts),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn submit(
    State(api): State<Arc<Api>>,
    (asker, room): (Asker, RoomAsked),
    Parameters(Nothing {}): Parameters<Nothing>,
    Extension(seat): Extension<Seat>,
    request: Request,
) -> Result<Json<Verdicts>, Problem> {
    let (parts, body) = request.into_parts();
    let spelling = spelling(&parts.headers)?;
    let (address, from) = (seat.pace(), seat.address());
    if let Some(wait) = address.wait() {
        return Err(Problem::too_fast(Refused::RateOfAddress.sentence(), wait));
    }
    let place = api.bodies.take(asker)?;
    let body = whole(body).await?;
    address.took_bytes(body.len());
    let offered = Offered::parse(&body, spelling)?;
    address.took_ops(offered.len() as u64);
    // A client that leaves meanwhile leaves nothing half done, and takes up its place until then.
    let carried = tokio::spawn(async move {
        let verdicts = carry(&api, &room, (&offered, from)).await;
        drop(place);
        verdicts
    });
    let verdicts = carried.await.map_err(|_| Problem::from(Stopped))??;
    Ok(Json(Verdicts { schema: "crdt-relayer/verdicts/1", verdicts }))
}

/// How a body is written.
fn spelling(headers: &HeaderMap) -> Result<Spelling, Problem> {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    match kind.map(str::to_ascii_lowercase).as_deref() {
        None | Some("application/json") => Ok(Spelling::Array),
        Some("application/x-ndjson") => Ok(Spelling::Lines),
        Some(_) => {
            let detail = "Send application/json, an array of ops, or application/x-ndjson, an op \
                          on each line.";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media", detail))
        }
    }
}

/// A body, when all of it has come.
async fn whole(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let read = async {
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|_| Problem::malformed("body", "The body broke off; send all."))?;
            if whole.len() + chunk.len() > BODY_BYTES_MAX {
                let detail =
                    "A body holds at most 1048576 bytes; send the ops in several requests.";
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "size", detail));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    };
    timeout(BODY_MAX, read).await.unwrap_or_else(|_| {
        let detail = "The body did not come within 30 s; send fewer ops at once.";
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "silence", detail))
    })
}

/// Brings ops to the replica. Answers once what it calls stored is on disk.
async fn carry(
    api: &Api,
    room: &RoomAsked,
    (offered, from): (&[Offered], Option<IpAddr>),
) -> Result<Vec<VerdictBody>, Problem> {
    let sound = offered.iter().enumerate();
    let sound = sound.filter_map(|(at, op)| Some((op.depth, at, op.text.as_deref().ok()?)));
    let mut sound: Vec<(u64, usize, &str)> = sound.collect();
    // What others depend on is less deep: so none waits for one that comes after it.
    sound.sort_by_key(|(depth, ..)| *depth);
    let texts: Vec<&str> = sound.iter().map(|(.., text)| *text).collect();
    let brought =
        if texts.is_empty() { Vec::new() } else { bring(api, room, (&texts, from)).await? };
    let places = sound.iter().map(|(_, at, _)| *at);
    let mut verdicts: BTreeMap<usize, Verdict> = places.zip(brought).collect();
    let verdict = |(at, op): (usize, &Offered)| match &op.text {
        Ok(_) => VerdictBody::of(op.id, verdicts.remove(&at).unwrap_or(Verdict::Parked)),
        Err(code) => VerdictBody::of(op.id, Verdict::Rejected((*code).to_owned())),
    };
    Ok(offered.iter().enumerate().map(verdict).collect())
}

async fn bring(
    api: &Api,
    room: &RoomAsked,
    (ops, from): (&[&str], Option<IpAddr>),
) -> Result<Vec<Verdict>, Problem> {
    let turn = api.bringing.acquire().await.map_err(|_| Stopped)?;
    let mut bringer = Bringer::connect(&api.driver, api.bringer, from).await?;
    let brought = bringer.bring(room.id, ops).await;
    let stored = brought.iter().flatten().any(|verdict| *verdict == Verdict::Stored);
    let named = if stored { name(api, room, &bringer).await } else { Ok(()) };
    bringer.close().await;
    drop(turn);
    named?;
    let brought = brought?;
    match brought.iter().find_map(Verdict::later) {
        None => Ok(brought),
        Some(code) => {
            let stored = brought.iter().filter(|verdict| **verdict == Verdict::Stored).count();
            Err(put_off(code, stored, brought.len()))
        }
    }
}

/// Some ops are not taken now. Whoever sent them sends all of them again: what is stored stays so.
fn put_off(code: &str, stored: usize, all: usize) -> Problem {
    let detail =
        |why: &str| format!("{stored} of {all} ops are stored; {why}. Send all again later.");
    let all_shortages = [Shortage::Disk, Shortage::Quota, Shortage::Rate];
    let shortage = all_shortages.into_iter().find(|shortage| shortage.code() == code);
    let shortage = shortage.unwrap_or(Shortage::Disk);
    let why = match shortage {
        Shortage::Disk => "for the others the disk here has no room",
        Shortage::Quota => "for the others this room has no room here",
        Shortage::Rate => {
            let why = "the others come faster than is taken of one author";
            return Problem::too_fast(detail(why), RATE_WAIT);
        }
    };
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, shortage.code(), detail(why))
}

impl From<Lost> for Problem {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Stopped => Stopped.into(),
            Lost::Disk => {
                let detail =
                    "The disk here is full; what is stored stays so. Send all again later.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, Shortage::Disk.code(), detail)
            }
        }
    }
}

/// Tells the replica the room's name, if it does not know it yet: ops do not say it.
async fn name(api: &Api, room: &RoomAsked, bringer: &Bringer) -> Result<(), Problem> {
    let Some(name) = room.name.clone() else { return Ok(()) };
    let id = room.id;
    let look = move |replica: &Replica, _| replica.status_listing(id, 0);
    let status = api.look(look).await?;
    if status.is_some_and(|status| status.name.is_none()) {
        bringer.name(name).await?;
    }
    Ok(())
}
