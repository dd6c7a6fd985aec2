//! Where a replica tells its user what happened.

use crdt_core::effect::Event;
use tokio::sync::mpsc;

/// Where a replica tells its user what happened.
#[derive(Clone, Debug)]
pub struct Events {
    /// The channel: what happened in one batch is told at once.
    pub sender: mpsc::Sender<Vec<Event>>,
    /// Which of them are told.
    pub wanted: fn(&Event) -> bool,
    /// What happens when nobody reads it.
    pub when_full: WhenFull,
}

/// What a replica does while its events are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits: its user sees everything, and a slow screen slows the log down instead of filling
    /// the memory.
    Wait,
    /// It goes on: others depend on it, and the events are only for information.
    Drop,
}

impl Events {
    /// Tells the user. Whoever listened may have gone; the log goes on.
    pub(crate) fn tell(&self, events: Vec<Event>) {
        match self.when_full {
            WhenFull::Wait => drop(self.sender.blocking_send(events)),
            WhenFull::Drop => drop(self.sender.try_send(events)),
        }
    }
}
