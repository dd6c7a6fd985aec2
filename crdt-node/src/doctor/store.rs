//! The log and who has it: the lock, the store, and what is noted of the own chain.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crdt_core::id::{AuthorId, RoomId};
use crdt_relayer::home::is_locked;
use crdt_relayer::store::Store;

use super::{Check, word};
use crate::control;
use crate::error::NodeError;
use crate::home::Home;
use crate::marks;
use crate::report;
use crate::screen::Format;

/// Whether a process has the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// One has.
    Yes,
    /// None has.
    No,
}

/// What a store holds of one room.
#[derive(Debug)]
pub(super) struct Held {
    name: String,
    ops: u64,
    /// One more than the highest place in the own chain.
    own: u64,
}

/// What a store holds, by room.
pub(super) type Log = BTreeMap<RoomId, Held>;

/// Whether a node runs in the home, and whether one elsewhere signs with its key.
pub(super) fn lock(home: &Home, marks: &Path, author: Option<AuthorId>) -> (Check, Running) {
    let shown = home.path().display();
    if control::ask(home.path(), "status", Format::Json).is_some() {
        return (Check::ok("lock", format!("a node runs in {shown} and answers")), Running::Yes);
    }
    match is_locked(home.path()) {
        Ok(true) => {
            let message =
                format!("a process has {shown} and does not answer: it starts, stops or is stuck");
            let fix = format!("fuser -v {} names it", word(&home.path().join("lock")));
            return (Check::warning("lock", message, fix), Running::Yes);
        }
        Ok(false) => {}
        Err(error) => return (Check::failed("lock", &error.into()), Running::No),
    }
    let elsewhere = author.map(|author| (author, is_locked(&marks::folder_of(marks, author))));
    let check = match elsewhere {
        Some((author, Ok(true))) => Check::failed("lock", &NodeError::KeyBusy { author }),
        Some((_, Err(error))) => Check::failed("lock", &error.into()),
        Some((_, Ok(false))) | None => {
            Check::ok("lock", format!("no node runs in {shown}; one may be started"))
        }
    };
    (check, Running::No)
}

/// Whether the store opens, in the layout of this version. Where no node has done so, everything is
/// read back as at a start.
pub(super) fn log(home: &Home, author: Option<AuthorId>, running: Running) -> (Check, Option<Log>) {
    let path = home.store();
    if !path.exists() {
        let missing = crdt_relayer::error::StoreError::Missing { path };
        return (Check::failed("store", &missing.into()), None);
    }
    let opened = Store::open_read(&path).map_err(NodeError::from);
    let shown = path.display();
    if running == Running::Yes {
        let check = match opened.and_then(|store| Ok(store.rooms()?.len())) {
            Ok(rooms) => format!("{shown} opens, rooms: {rooms}; the node has read it back"),
            Err(error) => return (Check::failed("store", &error), None),
        };
        return (Check::ok("store", check), None);
    }
    match opened.and_then(|store| read_back(&store, author)) {
        Ok(log) => {
            let ops: u64 = log.values().map(|held| held.ops).sum();
            let message =
                format!("{shown} opens and reads back whole, rooms: {}, ops: {ops}", log.len());
            (Check::ok("store", message), Some(log))
        }
        Err(error) => (Check::failed("store", &error), None),
    }
}

/// Reads everything as a start does: each hash is checked, and each op must fit the graph.
fn read_back(store: &Store, author: Option<AuthorId>) -> Result<Log, NodeError> {
    let mut replica = report::empty(store)?;
    if let Some(author) = author {
        replica.follow(author);
    }
    store.replay(|record| replica.restore(record).map_err(NodeError::from))?;
    let held = |room: RoomId| {
        let status = replica.status(room)?;
        let name = status.name.map_or_else(|| room.to_string(), |name| name.to_string());
        Some((room, Held { name, ops: status.ops, own: replica.own_ops(room) }))
    };
    Ok(replica.rooms().filter_map(held).collect())
}

/// What this machine has noted of the key, beside what the store holds of its chain.
pub(super) fn mark(home: &Home, marks: &Path, author: AuthorId, log: Option<&Log>) -> Check {
    let run = format!("crdt-node run {}, with a relay that has them", home.name());
    let noted = match marks::noted(marks, author) {
        Ok(Some(noted)) => noted,
        Ok(None) => {
            let message = "nothing here says how many ops the key has signed: a home from another \
                           machine; it learns its chain from relays before it signs";
            return Check::warning("mark", message, run);
        }
        Err(NodeError::File { path, source }) if source.kind() == io::ErrorKind::InvalidData => {
            let message = format!(
                "{}: {source}; it counts as not there: the node learns its chain from relays \
                 before it signs",
                path.display()
            );
            return Check::warning("mark", message, run);
        }
        Err(error) => return Check::failed("mark", &error),
    };
    let held = |room: &RoomId| log.map(|log| log.get(room).map_or(0, |held| held.own));
    let behind = noted.rooms.iter().find_map(|(room, signed)| {
        let held = held(room).filter(|held| held < signed)?;
        let named = log.and_then(|log| log.get(room)).map(|held| held.name.clone());
        Some((named.unwrap_or_else(|| room.to_string()), *signed, held))
    });
    if let Some((room, signed, held)) = behind {
        let message = format!(
            "an old copy: the key has signed {signed} ops in room {room}, the store holds {held}; \
             it learns the others from relays before it signs"
        );
        return Check::warning("mark", message, run);
    }
    let ops: u64 = noted.rooms.values().sum();
    let beside = if log.is_some() { "; the store holds them" } else { "" };
    Check::ok("mark", format!("the key has signed {ops} ops, says this machine{beside}"))
}
