//! Whether a log or an exported file is what it claims to be, checked from scratch.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crdt_core::evidence::{Equivocation, Evidence};
use crdt_core::id::{RoomId, StoreId};
use crdt_core::log::{Log, Verdict};
use crdt_core::op::{HashedOp, Op};
use crdt_relayer::error::StoreError;
use crdt_relayer::store::Store;
use serde_json::json;

use crate::error::NodeError;
use crate::evidence;
use crate::exported;
use crate::show;

/// Bytes of an evidence file: two heads.
const EVIDENCE_MAX: u64 = 64 * 1024;

/// Problems that are listed; more are counted.
const PROBLEMS_LISTED: usize = 20;

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    ops: u64,
    hashes: u64,
    signatures: u64,
    links: u64,
    equivocations: u64,
    problem_count: u64,
    problems: Vec<String>,
    /// What the file proves, if it is evidence.
    proved: Option<Equivocation>,
    /// Why a file that looks like evidence is none.
    unproved: Option<String>,
}

impl Verification {
    /// Whether every op is what it claims to be.
    pub fn is_ok(&self) -> bool {
        self.problem_count == 0
    }

    /// The process's exit code.
    pub fn exit_code(&self, forks: Forks) -> u8 {
        if !self.is_ok() {
            5
        } else if self.equivocations > 0 && forks == Forks::Reported {
            6
        } else {
            0
        }
    }

    /// For programs.
    pub fn json(&self, forks: Forks) -> serde_json::Value {
        json!({
            "schema": "crdt-node/verify/1",
            "ok": self.is_ok(),
            "code": self.exit_code(forks),
            "ops": self.ops,
            "hashes": self.hashes,
            "signatures": self.signatures,
            "links": self.links,
            "equivocations": self.equivocations,
            "problems": self.problems,
            "proved": self.proved.as_ref().map(|proved| json!({
                "id": proved.id().to_string(),
                "room": proved.room.to_string(),
                "author": proved.author.to_string(),
                "seq": proved.seq.number(),
                "a": proved.ops[0].to_string(),
                "b": proved.ops[1].to_string(),
            })),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        if let Some(proved) = &self.proved {
            let Equivocation { room, author, seq, ops: [a, b], .. } = proved;
            let (name, seq) = (evidence::name(proved.id()), seq.number());
            return format!(
                "{name} proves: {author} signed two different ops as #{seq} of room {room}:\n  {a}\n  {b}"
            );
        }
        if self.unproved.is_some() {
            return "nothing is proved".to_owned();
        }
        let mut text = format!(
            "{} ops: {} hashes, {} signatures, {} links checked; {} equivocations",
            self.ops, self.hashes, self.signatures, self.links, self.equivocations
        );
        for problem in &self.problems {
            text.push_str("\n  ");
            text.push_str(&show::safe(problem));
        }
        let unlisted = self.problem_count.saturating_sub(PROBLEMS_LISTED as u64);
        if unlisted > 0 {
            text = format!("{text}\n  and {unlisted} more");
        }
        text
    }

    /// The verdict as a command's end.
    ///
    /// # Errors
    /// What was found to be wrong.
    pub fn outcome(&self, forks: Forks) -> Result<(), NodeError> {
        if let Some(why) = &self.unproved {
            return Err(NodeError::NoProof(why.clone()));
        }
        match (self.exit_code(forks), self.problems.first()) {
            (5, Some(first)) => Err(NodeError::Unverified(first.clone())),
            (6, _) => Err(NodeError::Equivocation { count: self.equivocations }),
            _ => Ok(()),
        }
    }

    fn problem(&mut self, problem: String) {
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

/// Checks ops one after another, dependencies first, as a node that has never seen them.
struct Verifier {
    logs: BTreeMap<RoomId, Log>,
    found: Verification,
}

impl Verifier {
    fn new() -> Self {
        Self { logs: BTreeMap::new(), found: Verification::default() }
    }

    /// Checks an op whose hashes are known to be right.
    fn check(&mut self, op: HashedOp) {
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

    fn finish(mut self) -> Verification {
        let forks = self.logs.values().map(|log| log.graph().equivocations().len()).sum::<usize>();
        self.found.equivocations = forks as u64;
        self.found
    }
}

/// Checks every hash, signature, link and rule of a store again.
///
/// # Errors
/// The store cannot be read at all; damage that can be located is part of the result.
pub fn store(path: &Path) -> Result<Verification, NodeError> {
    let store = Store::open_read(path)?;
    let mut verifier = Verifier::new();
    for room in store.rooms()? {
        let checked = store.for_each_arrived(room.id, |op: Op| -> Result<(), StoreError> {
            verifier.found.ops += 1;
            verifier.check(op.unproven());
            Ok(())
        });
        match checked {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => verifier.found.problem(what),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(verifier.finish())
}

/// Checks a file: evidence, or else an export.
///
/// # Errors
/// The file cannot be read.
pub fn file(path: &Path) -> Result<Verification, NodeError> {
    let failed = |source| NodeError::file(path, source);
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    if file.fill_buf().map_err(failed)?.starts_with(b"{\"evidence\"") {
        let mut text = Vec::new();
        file.take(EVIDENCE_MAX).read_to_end(&mut text).map_err(failed)?;
        return Ok(check_evidence(&text));
    }
    let mut verifier = Verifier::new();
    let mut line = Vec::new();
    while exported::next_line(&mut file, &mut line).map_err(failed)? {
        verifier.found.ops += 1;
        match exported::op(&line) {
            Ok(op) => verifier.check(op),
            Err((_, problem)) => {
                let number = verifier.found.ops;
                verifier.found.problem(format!("line {number}: {problem}"));
            }
        }
    }
    if verifier.found.ops == 0 {
        verifier.found.problem("the file is empty".into());
    }
    Ok(verifier.finish())
}

fn check_evidence(file: &[u8]) -> Verification {
    let mut found = Verification::default();
    match Evidence::verify(file) {
        Ok(evidence) => {
            (found.hashes, found.signatures) = (2, 2);
            found.proved = Some(evidence.equivocation());
        }
        Err(error) => {
            found.problem(format!("this is no evidence: {error}"));
            found.unproved = Some(error.to_string());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_one_problem_and_the_next_keeps_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        std::fs::write(&path, format!("{{}}\n{}\n[]\n", "x".repeat(300_000))).unwrap();
        let found = file(&path).unwrap();
        assert_eq!((found.ops, found.problem_count), (3, 3));
        assert_eq!(found.problems[1], "line 2: a line has at most 131072 bytes");
        assert!(found.problems[2].starts_with("line 3: "), "{:?}", found.problems);
    }
}
