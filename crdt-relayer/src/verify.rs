//! Whether ops are what they claim to be, checked from scratch: each hash, signature, link and
//! rule, as by one who has never seen them.

use std::collections::BTreeMap;
use std::path::Path;

use crdt_core::id::{LogDigest, RoomId, RoomName, SetDigest, StoreId};
use crdt_core::log::{Log, Verdict};
use crdt_core::op::{HashedOp, Op};
use serde_json::{Value, json};

use crate::error::StoreError;
use crate::escape::safe;
use crate::store::Store;

/// Problems that are listed; more are counted.
const PROBLEMS_LISTED: usize = 20;

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Ops looked at.
    pub ops: u64,
    /// Hashes computed: of data and of heads.
    pub hashes: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Links to dependencies that lead to an op.
    pub links: u64,
    /// Points at which an author's chain forks.
    pub equivocations: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first of them, at most 20.
    pub problems: Vec<String>,
    /// The rooms, by id.
    pub rooms: Vec<VerifiedRoom>,
}

/// What was found of one room.
#[derive(Clone, Debug)]
pub struct VerifiedRoom {
    /// Its id.
    pub id: RoomId,
    /// Its name, if known.
    pub name: Option<RoomName>,
    /// Ops that are what they claim to be.
    pub ops: u64,
    /// The digest of their set.
    pub set: SetDigest,
    /// The digest of their transactions in order.
    pub log: LogDigest,
}

impl Verification {
    /// Whether every op is what it claims to be.
    pub fn is_ok(&self) -> bool {
        self.problem_count == 0
    }

    /// The exit code of a program that verified. Where forks are allowed they do not make it fail.
    pub fn exit_code(&self, forks: Forks) -> u8 {
        if !self.is_ok() {
            5
        } else if self.equivocations > 0 && forks == Forks::Reported {
            6
        } else {
            0
        }
    }

    /// For programs: an object, to which whoever reports more adds it.
    pub fn json(&self, schema: &str, forks: Forks) -> Value {
        json!({
            "schema": schema,
            "ok": self.is_ok(),
            "code": self.exit_code(forks),
            "ops": self.ops,
            "hashes": self.hashes,
            "signatures": self.signatures,
            "links": self.links,
            "equivocations": self.equivocations,
            "problems": self.problems,
        })
    }

    /// For people: a line, and one for each problem that is listed. What others wrote into a
    /// problem cannot act on a terminal.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} ops: {} hashes, {} signatures, {} links checked; {} equivocations",
            self.ops, self.hashes, self.signatures, self.links, self.equivocations
        );
        text.extend(self.problems.iter().map(|problem| format!("\n  {}", safe(problem))));
        let unlisted = self.problem_count.saturating_sub(PROBLEMS_LISTED as u64);
        if unlisted > 0 {
            text.extend([format!("\n  and {unlisted} more")]);
        }
        text
    }

    /// Notes something that is not as it should be.
    pub fn problem(&mut self, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED {
            self.problems.push(problem);
        }
    }
}

/// Whether recorded equivocations make a verification fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forks {
    /// They do.
    Reported,
    /// They do not.
    Allowed,
}

/// Checks ops one after another, dependencies first.
#[derive(Debug, Default)]
pub struct Verifier {
    logs: BTreeMap<RoomId, Log>,
    /// What was found so far.
    pub found: Verification,
}

impl Verifier {
    /// Checks an op whose hashes are known to be right.
    pub fn check(&mut self, op: HashedOp) {
        let (id, room) = (op.id(), op.head().room);
        let links = op.head().dependencies().count();
        self.found.hashes += 2;
        let log = self.logs.entry(room).or_insert_with(|| Log::new(room, 0));
        if log.has(id) {
            return self.found.problem(format!("op {id}: it is there twice"));
        }
        let source = StoreId::from_bytes([0; 32]);
        match log.receive(op, source, &mut Vec::new()) {
            Verdict::Stored => {
                self.found.signatures += 1;
                self.found.links += links as u64;
            }
            Verdict::Parked => {
                self.found.problem(format!("op {id}: a dependency does not come before it"));
            }
            Verdict::Rejected(rejection) => self.found.problem(format!("op {id}: {rejection}")),
        }
    }

    /// What was found in all.
    pub fn finish(mut self) -> Verification {
        for (id, log) in &self.logs {
            let graph = log.graph();
            self.found.equivocations += graph.equivocations().len() as u64;
            self.found.rooms.push(VerifiedRoom {
                id: *id,
                name: None,
                ops: graph.end().number(),
                set: log.set_digest(),
                log: log.log_digest(),
            });
        }
        self.found
    }
}

/// Checks a store as it is at one moment; another process may write to it meanwhile. Changes
/// nothing.
///
/// # Errors
/// The store cannot be read at all; damage that can be located is part of the result.
pub fn store(path: &Path) -> Result<Verification, StoreError> {
    let store = Store::open_snapshot(path)?;
    let mut verifier = Verifier::default();
    let mut names = BTreeMap::new();
    for room in store.rooms()? {
        names.insert(room.id, room.name);
        let checked = store.for_each_arrived(room.id, |op: Op| -> Result<(), StoreError> {
            verifier.found.ops += 1;
            verifier.check(op.unproven());
            Ok(())
        });
        located(checked, &mut verifier.found)?;
    }
    // After the ops: what says which op is damaged comes first.
    located(store.check_file(), &mut verifier.found)?;
    let mut found = verifier.finish();
    for room in &mut found.rooms {
        room.name = names.remove(&room.id).flatten();
    }
    Ok(found)
}

fn located(checked: Result<(), StoreError>, found: &mut Verification) -> Result<(), StoreError> {
    match checked {
        Err(StoreError::Damaged(what)) => found.problem(what),
        other => other?,
    }
    Ok(())
}
