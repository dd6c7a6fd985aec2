//! The state of each link: what `/peers` and `status` say of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

/// State of each link, by relay.
pub type Links = Arc<Mutex<BTreeMap<String, LinkState>>>;

/// The state of a link.
#[derive(Clone, Debug)]
pub enum LinkState {
    /// It is connected.
    Connected,
    /// It is not.
    Down {
        /// Why.
        reason: String,
        /// When it is dialled again.
        retry_ms: u64,
    },
}

impl LinkState {
    /// Whether a person would be told the same of both.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connected, Self::Connected) => true,
            (Self::Down { reason: a, .. }, Self::Down { reason: b, .. }) => a == b,
            (Self::Connected, Self::Down { .. }) | (Self::Down { .. }, Self::Connected) => false,
        }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Connected => json!({"state": "connected"}),
            Self::Down { reason, retry_ms } => {
                json!({"state": "down", "reason": reason, "retry_ms": retry_ms})
            }
        }
    }
}

/// Notes the state of a link. Returns the one before.
pub(crate) fn note(links: &Links, url: &str, state: &LinkState) -> Option<LinkState> {
    let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
    links.insert(url.to_owned(), state.clone())
}

/// All links, for people.
pub fn text(links: &BTreeMap<String, LinkState>) -> String {
    let line = |(url, state): (&String, &LinkState)| match state {
        LinkState::Connected => format!("relay  {url}  connected"),
        LinkState::Down { reason, .. } => format!("relay  {url}  down: {reason}"),
    };
    links.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All links, for programs.
pub fn json(links: &BTreeMap<String, LinkState>) -> serde_json::Value {
    let entry = |(url, state): (&String, &LinkState)| (url.clone(), state.json());
    serde_json::Value::Object(links.iter().map(entry).collect())
}
