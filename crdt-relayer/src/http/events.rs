//! A room as it grows: server-sent events. A stream reads from the store what comes after its place
//! in it, then waits to be told that there is more, so it misses nothing, repeats nothing, and
//! costs nothing while nothing happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use crdt_core::id::{Position, RoomId, SetDigest};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use super::Api;
use super::asked::{Parameters, RoomAsked, position};
use super::ops::write_placed;
use super::places::{Asker, Place, Places};
use super::problem::{Problem, ProblemBody};
use super::rooms::status;
use crate::access::closed_to_readers;
use crate::changes::Following;
use crate::store::reader::PageMax;

/// Streams at one time.
pub(crate) const STREAMS_MAX: usize = 256;

/// Ops that a stream holds in memory while its client reads.
const PAGE_MAX: PageMax = PageMax { ops: 128, bytes: 64 * 1024 };

/// Time from news to what it comes to: in a busy room it is told so often and no more.
const ROOM_EVERY: Duration = Duration::from_millis(300);

/// Time between two comments, so that whoever is between knows that the stream lives.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: &str = "last-event-id";

/// Places for streams.
#[derive(Clone, Debug)]
pub(crate) struct Streams(Places);

impl Default for Streams {
    fn default() -> Self {
        let sentence = "Too many streams are open; try again later, or ask for pages of ops.";
        Self(Places::new(STREAMS_MAX, sentence))
    }
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsAsked {
    /// The stream begins after this position, if `Last-Event-ID` says nothing else; without either,
    /// with what comes from now on.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    after: Option<u64>,
}

/// The room as it grows. `op` events hold an op and its position; `room` events hold ops, entries,
/// set and heads, at the start and whenever the set has changed.
#[utoipa::path(get, path = "/v1/rooms/{room}/events", tag = "events",
    params(
        ("room" = String, Path, example = "main", description = "Its name, or its id of 64 hex digits."),
        EventsAsked,
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, maximum = 9_007_199_254_740_991_i64,
            description = "The position of the last op that came."),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn events(
    State(api): State<Arc<Api>>,
    (who, room): (Asker, RoomAsked),
    Parameters(asked): Parameters<EventsAsked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = last_event_id(&headers)?.or(asked.after).map(position).transpose()?;
    let place = api.streams.0.take(who)?;
    // From here on nothing is missed.
    let news = api.driver.follow(room.id);
    let end = Position::new(status(&api, room.id).await?.ops).unwrap_or_default();
    let at = asked.unwrap_or(end);
    if at > end {
        let detail = "There is no such position here, so this store is not the one it is from; \
                      begin again with `after=0`.";
        return Err(Problem::malformed("cursor", detail));
    }
    // Whoever asked again would be refused: reading must not go on either.
    let closed = closed_to_readers(api.access.clone());
    let follower = Follower {
        api,
        room: room.id,
        at,
        news,
        behind: true,
        ready: VecDeque::new(),
        told: None,
        tell_at: Some(Instant::now()),
        _place: place,
    };
    let stream = stream::unfold(follower, async |mut follower| {
        let event = follower.next().await.ok()?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let stream = Box::pin(stream).take_until(Box::pin(closed)).fuse();
    let comments = KeepAlive::new().interval(COMMENT_EVERY);
    let mut response = Sse::new(stream).keep_alive(comments).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let id = id.to_str().ok().filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    let number = id.and_then(|id| id.parse().ok());
    let malformed = || Problem::malformed("cursor", "`Last-Event-ID` is a position: a number.");
    number.map(Some).ok_or_else(malformed)
}

/// One stream.
struct Follower {
    api: Arc<Api>,
    room: RoomId,
    /// Everything up to here is sent or ready.
    at: Position,
    news: Following,
    /// Whether the store may hold more.
    behind: bool,
    ready: VecDeque<Event>,
    /// The set that was told last.
    told: Option<SetDigest>,
    /// When the room is told.
    tell_at: Option<Instant>,
    _place: Place,
}

impl Follower {
    /// The next event. Reads more only when all that was read is sent.
    async fn next(&mut self) -> Result<Event, Problem> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.tell_at.is_some_and(|at| at <= Instant::now()) {
                self.tell_at = None;
                self.tell_room().await?;
            } else if self.behind {
                self.read().await?;
            } else {
                self.wait().await;
            }
        }
    }

    async fn read(&mut self) -> Result<(), Problem> {
        let (room, after) = (self.room, self.at);
        let page = self.api.readers.read(move |reader| match reader.extent(room)? {
            Some(extent) => reader.page((room, extent), after, PAGE_MAX),
            None => Ok(Vec::new()),
        });
        let page = page.await?;
        self.behind = !page.is_empty();
        for (position, op) in page {
            let mut data = String::new();
            write_placed(position, &op, &mut data);
            let id = position.number().to_string();
            self.ready.push_back(Event::default().event("op").id(id).data(data));
            self.at = position;
        }
        Ok(())
    }

    async fn tell_room(&mut self) -> Result<(), Problem> {
        let status = status(&self.api, self.room).await?;
        if self.told != Some(status.set) {
            self.told = Some(status.set);
            let heads: Vec<String> = status.heads.iter().map(ToString::to_string).collect();
            let room = json!({
                "ops": status.ops, "entries": status.entries, "set": status.set.to_string(),
                "heads": heads,
            });
            // Whoever comes again before the first op came begins here too.
            let id = self.at.number().to_string();
            self.ready.push_back(Event::default().event("room").id(id).data(room.to_string()));
        }
        Ok(())
    }

    async fn wait(&mut self) {
        let due = self.tell_at;
        let due = async move {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.news.changed() => {
                self.behind = true;
                self.tell_at.get_or_insert_with(|| Instant::now() + ROOM_EVERY);
            }
        }
    }
}
