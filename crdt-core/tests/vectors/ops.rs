//! `ops.json`: ops as text, one after another into one room, and what becomes of each.

use std::collections::BTreeSet;

use crdt_core::id::{RoomName, StoreId};
use crdt_core::log::{Admitted, Log, Verdict};
use crdt_core::op::{EnvelopeError, RawOp};
use serde::{Deserialize, Serialize};

use super::made::{ALICE, Made, ROOM, hex, list, quoted};
use crate::Vectors;

mod form;
mod past;
mod rules;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    room: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    op: String,
    verdict: String,
}

/// What a log makes of an op as text.
pub(crate) fn receive(log: &mut Log, op: &str, admitted: &mut Vec<Admitted>) -> &'static str {
    let verdict = match RawOp::parse(op.as_bytes()).and_then(|raw| Ok(raw.check_hash()?)) {
        Ok(op) => log.receive(op, StoreId::from_bytes([0; 32]), admitted),
        Err(EnvelopeError::Json(_)) => return "json",
        Err(EnvelopeError::Rejected(rejection)) => Verdict::Rejected(rejection),
    };
    match verdict {
        Verdict::Stored => "stored",
        Verdict::Parked => "parked",
        Verdict::Rejected(rejection) => rejection.code(),
    }
}

pub(crate) fn empty_log(room: &str) -> Log {
    Log::new(RoomName::parse(room).unwrap().id(), 0)
}

impl Vectors for File {
    const FILE: &str = "ops.json";

    fn make() -> Self {
        let cases = [form::cases(), rules::cases(), past::cases()].into_iter().flatten().collect();
        Self { room: ROOM.into(), cases }
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        for case in &self.cases {
            let mut log = empty_log(&self.room);
            for (index, step) in case.steps.iter().enumerate() {
                let verdict = receive(&mut log, &step.op, &mut Vec::new());
                assert_eq!(verdict, step.verdict, "{}, step {index}", case.name);
                seen.insert(verdict);
            }
        }
        let all = [
            "ancestor", "chain", "data", "depth", "entry", "field", "grant", "head", "id", "json",
            "key", "parked", "room", "sig", "size", "stored", "version",
        ];
        assert!(seen.iter().eq(&all), "every verdict has a case: {seen:?}");
    }
}

fn case(name: impl Into<String>, steps: &[(&Made, &str)]) -> Case {
    let step = |(op, verdict): &(&Made, &str)| Step { op: op.text(), verdict: (*verdict).into() };
    Case { name: name.into(), steps: steps.iter().map(step).collect() }
}

fn one(name: impl Into<String>, op: &Made, verdict: &str) -> Case {
    case(name, &[(op, verdict)])
}

fn text(name: &str, op: impl Into<String>, verdict: &str) -> Case {
    Case { name: name.into(), steps: vec![Step { op: op.into(), verdict: verdict.into() }] }
}

fn first() -> Made {
    Made::first(ALICE, "[1]")
}

/// An op whose dependencies are all set by the case; none of them is known.
fn floating() -> Made {
    first().head("prev", quoted(hex(&[9; 32]))).head("seq", 1).head("depth", 2)
}

fn ids(bytes: impl IntoIterator<Item = u8>) -> String {
    list(&bytes.into_iter().map(|byte| hex(&[byte; 32])).collect::<Vec<_>>())
}
