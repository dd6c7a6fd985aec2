//! Whether a log or an exported file is what it claims to be, checked from scratch.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crdt_core::evidence::{Equivocation, Evidence};
pub use crdt_relayer::verify::Forks;
use crdt_relayer::verify::{self, Verification as Found, Verifier};
use serde_json::json;

use crate::error::NodeError;
use crate::evidence;
use crate::exported;

/// Bytes of an evidence file: two heads.
const EVIDENCE_MAX: u64 = 64 * 1024;

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    found: Found,
    /// What the file proves, if it is evidence.
    proved: Option<Equivocation>,
    /// Why a file that looks like evidence is none.
    unproved: Option<String>,
}

impl Verification {
    /// For programs.
    pub fn json(&self, forks: Forks) -> serde_json::Value {
        let proved = self.proved.as_ref().map(|proved| {
            json!({
                "id": proved.id().to_string(),
                "room": proved.room.to_string(),
                "author": proved.author.to_string(),
                "seq": proved.seq.number(),
                "a": proved.ops[0].to_string(),
                "b": proved.ops[1].to_string(),
            })
        });
        let mut report = self.found.json("crdt-node/verify/1", forks);
        report["proved"] = proved.into();
        report
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
        self.found.text()
    }

    /// The verdict as a command's end.
    ///
    /// # Errors
    /// What was found to be wrong.
    pub fn outcome(&self, forks: Forks) -> Result<(), NodeError> {
        if let Some(why) = &self.unproved {
            return Err(NodeError::NoProof(why.clone()));
        }
        match (self.found.exit_code(forks), self.found.problems.first()) {
            (5, Some(first)) => Err(NodeError::Unverified(first.clone())),
            (6, _) => Err(NodeError::Equivocation { count: self.found.equivocations }),
            _ => Ok(()),
        }
    }
}

impl From<Found> for Verification {
    fn from(found: Found) -> Self {
        Self { found, proved: None, unproved: None }
    }
}

/// Checks every hash, signature, link and rule of a store again.
///
/// # Errors
/// The store cannot be read at all; damage that can be located is part of the result.
pub fn store(path: &Path) -> Result<Verification, NodeError> {
    Ok(verify::store(path)?.into())
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
    let mut verifier = Verifier::default();
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
    Ok(verifier.finish().into())
}

fn check_evidence(file: &[u8]) -> Verification {
    let mut found = Verification::default();
    match Evidence::verify(file) {
        Ok(evidence) => {
            (found.found.hashes, found.found.signatures) = (2, 2);
            found.proved = Some(evidence.equivocation());
        }
        Err(error) => {
            found.found.problem(format!("this is no evidence: {error}"));
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
        let found = file(&path).unwrap().found;
        assert_eq!((found.ops, found.problem_count), (3, 3));
        assert_eq!(found.problems[1], "line 2: a line has at most 131072 bytes");
        assert!(found.problems[2].starts_with("line 3: "), "{:?}", found.problems);
    }
}
