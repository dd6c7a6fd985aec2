//! What a running node says of its state, at its console and to other commands.

use std::sync::{Mutex, PoisonError};

use crdt_core::id::AuthorId;
use crdt_relayer::driver::Driver;

use crate::error::NodeError;
use crate::links::Links;
use crate::report::{self, RoomReport};
use crate::screen::Format;

/// What can be asked of a running node.
#[derive(Clone, Debug)]
pub struct State {
    /// The replica.
    pub driver: Driver,
    /// The node's author.
    pub author: AuthorId,
    /// The links.
    pub links: Links,
}

/// Reads a shared value; a thread that panicked while it held it leaves it usable.
pub fn peek<T: Clone>(shared: &Mutex<T>) -> T {
    shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl State {
    /// Every room as it is now.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn rooms(&self) -> Result<Vec<RoomReport>, NodeError> {
        let author = self.author;
        Ok(self.driver.query(move |replica| report::rooms(replica, author)).await?)
    }

    /// For people.
    pub fn text(&self, rooms: &[RoomReport]) -> String {
        let links = self.links.text(None);
        format!("{}{links}", report::status_text(self.author, rooms))
    }

    /// For programs.
    pub fn json(&self, rooms: &[RoomReport]) -> serde_json::Value {
        let mut fields = report::status_json(self.author, rooms);
        fields["running"] = serde_json::json!(true);
        fields["links"] = self.links.json(None);
        fields
    }

    /// What `peers` prints of a node that runs.
    pub fn peers(&self, format: Format) -> String {
        match format {
            Format::Json => self.links.peers_json().to_string(),
            Format::Text => self.links.text(None),
        }
    }

    /// What `status` prints of a node that runs.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn status(&self, format: Format) -> Result<String, NodeError> {
        let rooms = self.rooms().await?;
        Ok(match format {
            Format::Json => self.json(&rooms).to_string(),
            Format::Text => self.text(&rooms),
        })
    }
}
