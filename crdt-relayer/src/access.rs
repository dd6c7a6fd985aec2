//! Who is let in, and which rooms are made. Source: `docs/OPERATIONS.md`, "Access".

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use crdt_core::id::{AuthorId, RoomId, RoomName};
use crdt_core::intake::Allowed;
use tokio::sync::watch;

use crate::config::{ConfigError, Resolved};
use crate::http::Problem;

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The keys that are let in, if not everybody is.
    pub keys: Option<Allowed>,
    /// Whether anybody may read over HTTP though not everybody is let in.
    pub http_read: bool,
    /// The rooms that may be made, if not all.
    pub rooms: Option<BTreeSet<RoomId>>,
}

impl Access {
    pub(crate) fn of(settings: &Resolved) -> Result<Self, ConfigError> {
        let keys = listed(settings, "auth.mode", "required", "auth.keys")?;
        let rooms = listed(settings, "rooms.create", "list", "rooms.list")?;
        let key = |text: &String| {
            AuthorId::parse(text).map_err(|_| {
                let problem = format!("{text:?} is no key of 64 hex digits");
                let hint = "crdt-node key show NAME prints a node's key";
                ConfigError::new(settings.place("auth.keys"), problem, hint)
            })
        };
        let room = |text: &String| {
            RoomName::parse(text).map(|name| name.id()).map_err(|_| {
                let problem = format!("{text:?} is no name of a room");
                let hint = "a name has 1 to 64 of a-z, 0-9, . _ and -, a letter or digit first";
                ConfigError::new(settings.place("rooms.list"), problem, hint)
            })
        };
        Ok(Self {
            keys: keys.map(|keys| keys.iter().map(key).collect()).transpose()?,
            http_read: settings.switch("auth.http_read"),
            rooms: rooms.map(|rooms| rooms.iter().map(room).collect()).transpose()?,
        })
    }

    /// Whether a request may be carried out of whom nobody knows who it is.
    pub(crate) fn lets_in(&self, method: &Method) -> bool {
        self.keys.is_none() || self.http_read && (method == Method::GET || method == Method::HEAD)
    }
}

/// Waits until nobody may read over HTTP any more: an answer that goes on ends then.
pub(crate) async fn closed_to_readers(mut access: watch::Receiver<Access>) {
    let closed = access.wait_for(|access| !access.lets_in(&Method::GET)).await.is_ok();
    if !closed {
        // It stays as it is: nobody is left who could change it.
        std::future::pending::<()>().await;
    }
}

/// A list that counts if a choice says so; one without the other is a mistake.
fn listed(
    settings: &Resolved,
    choice: &str,
    word: &str,
    list: &str,
) -> Result<Option<Vec<String>>, ConfigError> {
    let chosen = settings.text(choice).as_deref() == Some(word);
    let given = settings.list(list);
    match (chosen, given.is_empty()) {
        (false, true) => Ok(None),
        (true, false) => Ok(Some(given)),
        (true, true) => Err(ConfigError::new(
            settings.place(choice),
            format!("{choice} is {word}, and {list} is empty"),
            format!("set {list} as well"),
        )),
        (false, false) => Err(ConfigError::new(
            settings.place(list),
            format!("{list} is set, and {choice} is not {word}"),
            format!("set {choice} to {word} as well"),
        )),
    }
}

/// Refuses requests where only those are let in who prove a key: over HTTP nobody can.
pub(crate) async fn guard(
    State(access): State<watch::Receiver<Access>>,
    request: Request,
    next: Next,
) -> Response {
    if access.borrow().lets_in(request.method()) {
        return next.run(request).await;
    }
    let detail =
        "Only those are let in who prove a key, which a websocket can and a request cannot.";
    Problem::new(StatusCode::FORBIDDEN, "auth", detail).into_response()
}
