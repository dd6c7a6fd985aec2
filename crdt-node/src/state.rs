//! What a running node says of its state, at its console and to other commands.

use std::sync::{Mutex, PoisonError};

use crdt_core::id::AuthorId;
use crdt_relayer::driver::Driver;

use crate::error::NodeError;
use crate::links::Links;
use crate::report::{self, RoomReport};
use crate::screen::Format;
use crate::standing::{Peers, Standings};

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

    /// Every link as it is now.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn links(&self) -> Result<Standings, NodeError> {
        let peers = self.driver.query_at(Peers::of).await?;
        Ok(Standings::new(&self.links, peers))
    }

    /// For people.
    pub fn text(&self, rooms: &[RoomReport], links: &Standings) -> String {
        format!("{}{}", report::status_text(self.author, rooms), links.text(None))
    }

    /// For programs.
    pub fn json(&self, rooms: &[RoomReport], links: &Standings) -> serde_json::Value {
        let mut fields = report::status_json(self.author, rooms);
        fields["running"] = serde_json::json!(true);
        fields["links"] = links.json(None);
        fields
    }

    /// What `peers` prints of a node that runs.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn peers(&self, format: Format) -> Result<String, NodeError> {
        let links = self.links().await?;
        Ok(match format {
            Format::Json => links.peers_json().to_string(),
            Format::Text => links.text(None),
        })
    }

    /// What `status` prints of a node that runs.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn status(&self, format: Format) -> Result<String, NodeError> {
        let (rooms, links) = (self.rooms().await?, self.links().await?);
        Ok(match format {
            Format::Json => self.json(&rooms, &links).to_string(),
            Format::Text => self.text(&rooms, &links),
        })
    }
}
