//! What can be said about a log: its state, its entries, its export.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::evidence::Equivocation;
use crdt_core::id::{AuthorId, RoomId};
use crdt_core::key::EachTime;
use crdt_core::limits;
use crdt_core::replica::{Config, Rooms};
use crdt_core::status::{Bounds, RoomStatus};
use crdt_relayer::relayer::random;
use crdt_relayer::store::Store;
use serde_json::json;

use crate::error::NodeError;
use crate::screen::Format;
use crate::show::{self, Signer};

/// What is known of one room.
#[derive(Clone, Debug)]
pub struct RoomReport {
    /// Its name, or its id.
    pub name: String,
    /// What the replica says.
    pub status: RoomStatus,
    /// The digest of its entries in order.
    pub log: String,
    /// Own ops that nobody has acknowledged.
    pub unsent: usize,
    /// Authors who signed two different ops at one place.
    pub liars: BTreeSet<AuthorId>,
    /// The first point at which an author's chain forks, by author and place.
    pub evidence: Option<Equivocation>,
}

/// Every room of a replica.
pub fn rooms(replica: &Replica, author: AuthorId) -> Vec<RoomReport> {
    let report = |room: RoomId| {
        let status = replica.status(room)?;
        let name = status.name.as_ref().map_or_else(|| room.to_string(), ToString::to_string);
        let log = replica.log_digest(room)?.to_string();
        let liars = replica.equivocations(room).map(|found| found.author).collect();
        let (unsent, evidence) = (replica.unsent(room, author), replica.equivocations(room).next());
        Some(RoomReport { name, status, log, unsent, liars, evidence })
    };
    replica.rooms().filter_map(report).collect()
}

/// Every room of a store, whether or not a node runs on it.
///
/// # Errors
/// The store cannot be read or is damaged.
pub fn stored_rooms(store: &Store, author: AuthorId) -> Result<Vec<RoomReport>, NodeError> {
    Ok(rooms(&restored(store)?, author))
}

/// A replica that holds what a store does, to look at.
///
/// # Errors
/// The store cannot be read or is damaged.
pub fn restored(store: &Store) -> Result<Replica, NodeError> {
    let mut replica = empty(store)?;
    store.replay(|record| replica.restore(record).map_err(NodeError::from))?;
    Ok(replica)
}

/// A replica to look at, before anything of a store is put back.
pub(crate) fn empty(store: &Store) -> Result<Replica, NodeError> {
    Ok(Replica::new(Config {
        store: store.id(),
        agent: String::new(),
        rooms: Rooms::Joined,
        key: None,
        seed: random()?,
        allowed: None,
        signatures: Arc::new(EachTime),
    }))
}

/// The state for programs.
pub fn status_json(author: AuthorId, reports: &[RoomReport]) -> serde_json::Value {
    let room = |report: &RoomReport| {
        let status = &report.status;
        json!({
            "room": report.name,
            "id": status.id.to_string(),
            "ops": status.ops,
            "entries": status.entries,
            "heads": status.heads.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "set": status.set.to_string(),
            "log": report.log,
            "parked": status.parked,
            "evidence": status.equivocations,
            "liars": report.liars.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unsent": report.unsent,
            "unsigned": status.unsigned,
            "learning": status.learning.map(|learning| json!({"signed": learning.signed})),
            "missing": {
                "ops": status.missing.ops.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "since": status.missing.since.map(|since| show::rfc3339(since.as_ms())),
            },
            "bounds": bounds_json(status.parked, &status.bounds),
        })
    };
    json!({
        "schema": "crdt-node/status/1",
        "ok": true,
        "code": 0,
        "author": author.to_string(),
        "running": false,
        "rooms": reports.iter().map(room).collect::<Vec<_>>(),
    })
}

/// How far each bound of a room is used, beside the bound.
fn bounds_json(parked: usize, bounds: &Bounds) -> serde_json::Value {
    json!({
        "parked_ops": {"now": parked, "max": limits::PARKED_OPS_MAX},
        "parked_bytes": {"now": bounds.parked_bytes, "max": limits::PARKED_BYTES_MAX},
        "parked_evicted": bounds.parked_evicted,
        "wants": {"now": bounds.wants, "max": limits::WANTS_MAX},
        "wants_refused": bounds.wants_refused,
        "wants_given_up": bounds.wants_given_up,
        "rejected_ids": {"now": bounds.rejected, "max": limits::REJECTED_IDS_MAX},
        "repeated": bounds.repeated,
    })
}

/// The state for people.
pub fn status_text(author: AuthorId, reports: &[RoomReport]) -> String {
    let mut out = format!("author {author}\n");
    for report in reports {
        let status = &report.status;
        // Writing to a string cannot fail.
        let _infallible = write!(
            out,
            "room   {:<16} {} entries in {} ops, {} unsent, {} parked\n  set  {}\n  log  {}\n",
            report.name,
            status.entries,
            status.ops,
            report.unsent,
            status.parked,
            status.set,
            report.log,
        );
        for line in warnings(report) {
            let _infallible = writeln!(out, "  {line}");
        }
    }
    out
}

/// What a person should know of a room.
fn warnings(report: &RoomReport) -> Vec<String> {
    let status = &report.status;
    let mut lines = Vec::new();
    if let Some(learning) = status.learning {
        lines.push(show::learning(learning, report.status.unsigned));
    }
    if !report.liars.is_empty() {
        let liars: Vec<String> = report.liars.iter().map(show::short).collect();
        lines.push(format!(
            "LIARS    {} signed two different ops at one place; `evidence` shows {} proofs",
            liars.join(", "),
            status.equivocations
        ));
    }
    if let (Some(since), [first, ..]) = (status.missing.since, status.missing.ops.as_slice()) {
        let more = if status.missing.ops.len() > 1 { " and others" } else { "" };
        lines.push(format!(
            "MISSING  op {}{more} since {}: named by others, and nobody sends it",
            show::short(first),
            show::clock(since.as_ms()),
        ));
    }
    lines
}

/// Which entries of a log are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Only the last so many.
    pub last: Option<usize>,
    /// Only those by this author.
    pub author: Option<AuthorId>,
}

/// Writes a room's entries in log order.
///
/// # Errors
/// The store cannot be read, or the output not be written.
pub fn log(
    store: &Store,
    room: RoomId,
    wanted: Wanted,
    format: Format,
    own: AuthorId,
    out: &mut impl Write,
) -> Result<(), NodeError> {
    let liars: BTreeSet<AuthorId> =
        restored(store)?.equivocations(room).map(|found| found.author).collect();
    let mut kept: VecDeque<String> = VecDeque::new();
    store.for_each_ordered(room, |op| -> Result<(), NodeError> {
        if wanted.author.is_some_and(|author| author != op.head().author) {
            return Ok(());
        }
        let by = Signer::of(op.head().author, own, &liars);
        for (index, entry) in op.entries().iter().enumerate() {
            let line = match format {
                Format::Json => show::entry_json(&op, index, entry, by),
                Format::Text => show::entry_text(&op, entry, by),
            };
            match wanted.last {
                None => writeln!(out, "{line}")?,
                Some(last) => {
                    kept.push_back(line);
                    if kept.len() > last {
                        kept.pop_front();
                    }
                }
            }
        }
        Ok(())
    })?;
    for line in kept {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes a room's op envelopes, dependencies first: the same bytes wherever the set is the same.
/// Returns how many.
///
/// # Errors
/// The store cannot be read, or the output not be written.
pub fn export(store: &Store, room: RoomId, out: &mut impl Write) -> Result<u64, NodeError> {
    let mut ops = 0;
    store.for_each_ordered(room, |op| -> Result<(), NodeError> {
        ops += 1;
        Ok(writeln!(out, "{op}")?)
    })?;
    out.flush()?;
    Ok(ops)
}

/// Writes them to a new file, or none if that fails.
///
/// # Errors
/// The store cannot be read, or the file exists or cannot be written.
pub fn export_to(store: &Store, room: RoomId, path: &Path) -> Result<u64, NodeError> {
    let failed = |source: std::io::Error| NodeError::file(path, source);
    let mut out = BufWriter::new(File::create_new(path).map_err(failed)?);
    let written = export(store, room, &mut out);
    if written.is_err() {
        // If it stays, it is the error below that counts.
        let _stays = std::fs::remove_file(path);
    }
    if let Err(NodeError::Stdio(source)) = written { Err(failed(source)) } else { written }
}
