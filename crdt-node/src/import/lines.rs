//! The lines of a file of ops: checked for all that an op says by itself, and gathered into
//! batches. On a thread of its own, so that signatures are checked beside the replica's work.
//! Source: `docs/PROTOCOL.md`, "Exported files" and "Validity".

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};

use crdt_core::id::{OpId, RoomId};
use crdt_core::limits;
use crdt_core::op::Op;
use tokio::sync::mpsc;

use super::Problem;
use crate::exported;

/// Batches that may wait for the replica.
const BATCHES_WAITING_MAX: usize = 4;

/// What was found in a file.
#[derive(Debug)]
pub(super) enum Found {
    /// Ops of one room, from lines that follow one another.
    Ops(Batch),
    /// A line that holds no op.
    Refused(Problem),
    /// There are no more lines than so many.
    End {
        /// How many.
        lines: u64,
    },
}

/// Ops that fit into one message.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) room: RoomId,
    /// Each with its line's number, from 1.
    pub(super) ops: Vec<(u64, Op)>,
}

/// Reads until the end, or until nobody listens.
pub(super) fn read(bytes: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Found>> {
    let (found, inbox) = mpsc::channel(BATCHES_WAITING_MAX);
    std::thread::spawn(move || {
        let mut reading = Reading { found, gathered: Vec::new(), ids: BTreeSet::new(), weight: 0 };
        // Who does not listen any more needs no end.
        let _unheard = match reading.all(BufReader::new(bytes)) {
            Ok(lines) => reading.found.blocking_send(Ok(Found::End { lines })),
            Err(Ended::Unheard) => Ok(()),
            Err(Ended::Unreadable(error)) => reading.found.blocking_send(Err(error)),
        };
    });
    inbox
}

/// Why reading ended early.
enum Ended {
    Unheard,
    Unreadable(io::Error),
}

struct Reading {
    found: mpsc::Sender<io::Result<Found>>,
    gathered: Vec<(u64, Op)>,
    /// Of those gathered: whether an op that is there twice was new is asked after the first is in.
    ids: BTreeSet<OpId>,
    weight: usize,
}

impl Reading {
    fn all(&mut self, mut input: impl BufRead) -> Result<u64, Ended> {
        let mut line = Vec::new();
        let mut lines = 0;
        while exported::next_line(&mut input, &mut line).map_err(Ended::Unreadable)? {
            lines += 1;
            match checked(&line) {
                Ok(op) => self.gather(lines, op)?,
                Err((code, message)) => {
                    self.tell(Found::Refused(Problem { line: lines, code: code.into(), message }))?;
                }
            }
        }
        self.hand_over()?;
        Ok(lines)
    }

    fn gather(&mut self, line: u64, op: Op) -> Result<(), Ended> {
        let other_room =
            self.gathered.first().is_some_and(|(_, a)| a.head().room != op.head().room);
        if other_room || self.ids.contains(&op.id()) {
            self.hand_over()?;
        }
        self.weight += op.weight();
        self.ids.insert(op.id());
        self.gathered.push((line, op));
        if self.weight >= limits::BATCH_BYTES || self.gathered.len() == limits::BATCH_OPS_MAX {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Ended> {
        let ops = std::mem::take(&mut self.gathered);
        self.ids.clear();
        self.weight = 0;
        match ops.first().map(|(_, op)| op.head().room) {
            Some(room) => self.tell(Found::Ops(Batch { room, ops })),
            None => Ok(()),
        }
    }

    fn tell(&self, found: Found) -> Result<(), Ended> {
        self.found.blocking_send(Ok(found)).map_err(|_| Ended::Unheard)
    }
}

/// The op on a line, if it is what it says and its author signed it; else the code and the reason.
fn checked(line: &[u8]) -> Result<Op, (&'static str, String)> {
    let signed = exported::op(line)?.verify();
    signed.map_err(|rejection| (rejection.code(), rejection.to_string()))
}
