//! Takes the ops of a file into a log: a peer in this process brings them, so that they are
//! checked, kept and passed on like those that come over a connection. Source: `docs/PROTOCOL.md`,
//! "Exported files".

mod carrier;
mod lines;
mod report;
mod source;

use std::collections::BTreeMap;
use std::io::Read;

use crdt_core::id::{OpId, RoomId};
use crdt_core::op::Op;
use crdt_relayer::driver::{Driver, Stopped};
use crdt_relayer::verdict::Verdict;

use crate::error::NodeError;
use carrier::Carrier;
use lines::{Batch, Found};
pub use report::{NotJoined, Problem, Report};
pub use source::{Bytes, Source};

/// Ops that came before one they depend on, of which it is looked at the end whether they got in.
/// As many as a room parks: what is beyond was let go of and must be read again.
const WAITING_MAX: usize = crdt_core::limits::PARKED_OPS_MAX;

/// The readings of one source: it is read again as long as that helps, because an op can stand in
/// it so long before one it depends on that it was let go of meanwhile.
#[derive(Debug)]
pub struct Readings {
    source: Source,
    /// What the readings so far came to.
    report: Option<Report>,
    over: bool,
}

impl Readings {
    /// Nothing is read yet.
    pub fn of(source: Source) -> Self {
        Self { source, report: None, over: false }
    }

    /// The bytes to take next; `None` if all is taken.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(&self) -> Result<Option<Bytes>, NodeError> {
        if self.over { Ok(None) } else { self.source.open().map(Some) }
    }

    /// Notes what became of them.
    ///
    /// # Errors
    /// They could not be taken.
    pub fn took(&mut self, taken: Result<Report, NodeError>) -> Result<(), NodeError> {
        let taken = taken.map_err(|error| self.source.named(error))?;
        let helped = match &mut self.report {
            None => {
                self.report = Some(taken);
                true
            }
            Some(report) => report.read_again(taken),
        };
        let parked = self.report.as_ref().is_some_and(|report| report.parked > 0);
        self.over = !helped || !parked || !self.source.is_repeatable();
        Ok(())
    }

    /// What they came to.
    pub fn report(self) -> Report {
        self.report.unwrap_or_default()
    }
}

/// Takes ops from bytes, once. Rooms that the replica does not take part in stay untouched.
///
/// # Errors
/// The bytes cannot be read, or the replica stops.
pub async fn once(driver: &Driver, bytes: impl Read + Send + 'static) -> Result<Report, NodeError> {
    let mut found = lines::read(bytes);
    let carrier = Carrier::connect(driver).await?;
    let mut pass = Pass { driver, carrier, waiting: BTreeMap::new(), report: Report::default() };
    while let Some(found) = found.recv().await {
        match found? {
            Found::Ops(batch) => pass.take(batch).await?,
            Found::Refused(problem) => pass.report.refuse(problem),
            Found::End { lines } => return pass.finish(lines).await,
        }
    }
    // A reader that vanished without a word has panicked.
    Err(NodeError::Stopped(Stopped))
}

/// One reading of the bytes.
struct Pass<'d> {
    driver: &'d Driver,
    carrier: Carrier<'d>,
    /// Lines that were parked, by op.
    waiting: BTreeMap<(RoomId, OpId), u64>,
    report: Report,
}

impl Pass<'_> {
    async fn take(&mut self, batch: Batch) -> Result<(), NodeError> {
        let Batch { room, ops } = batch;
        let ids = ops.iter().map(|(_, op)| op.id()).collect();
        let Some(held) = held(self.driver, room, ids).await? else {
            let first = ops.first().map_or(0, |(line, _)| *line);
            self.report.not_joined(room, first, ops.len());
            return Ok(());
        };
        let (known, fresh): (Vec<_>, Vec<_>) =
            ops.into_iter().zip(held).partition(|(_, held)| *held);
        self.report.known += known.len() as u64;
        if fresh.is_empty() {
            return Ok(());
        }
        let fresh: Vec<(u64, Op)> = fresh.into_iter().map(|(op, _)| op).collect();
        let verdicts = self.carrier.carry(room, fresh.iter().map(|(_, op)| op)).await?;
        for ((line, op), verdict) in fresh.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Stored => self.report.new += 1,
                Verdict::Parked => *self.waiting.entry((room, op.id())).or_default() += 1,
                // A node sets itself no limits, so nothing is put off.
                Verdict::Rejected(code) | Verdict::Later(code) => {
                    self.report.refuse(Problem::rejected(line, &code));
                }
            }
        }
        if self.waiting.len() >= WAITING_MAX {
            self.settle().await?;
            if self.waiting.len() >= WAITING_MAX {
                self.report.parked += self.waiting.values().sum::<u64>();
                self.waiting.clear();
            }
        }
        Ok(())
    }

    /// Counts what had waited and got in.
    async fn settle(&mut self) -> Result<(), NodeError> {
        let mut by_room: BTreeMap<RoomId, Vec<OpId>> = BTreeMap::new();
        for (room, op) in self.waiting.keys() {
            by_room.entry(*room).or_default().push(*op);
        }
        for (room, ops) in by_room {
            let held = held(self.driver, room, ops.clone()).await?.unwrap_or_default();
            for (op, _) in ops.into_iter().zip(held).filter(|(_, held)| *held) {
                let lines = self.waiting.remove(&(room, op)).unwrap_or_default();
                self.report.new += lines.min(1);
                self.report.known += lines.saturating_sub(1);
            }
        }
        Ok(())
    }

    async fn finish(mut self, lines: u64) -> Result<Report, NodeError> {
        self.settle().await?;
        self.report.lines = lines;
        self.report.parked += self.waiting.values().sum::<u64>();
        let mut rooms: Vec<RoomId> = self.waiting.keys().map(|(room, _)| *room).collect();
        rooms.dedup();
        for room in rooms {
            let missing = move |replica: &crdt_core::Replica| replica.status(room);
            let status = self.driver.query(missing).await?;
            let missing = status.map(|status| status.missing.ops).unwrap_or_default();
            self.report.missing.extend(missing.iter().map(ToString::to_string));
        }
        self.carrier.close().await;
        Ok(self.report)
    }
}

/// Which of these ops are in a room's log; `None` if the room is not taken part in.
async fn held(
    driver: &Driver,
    room: RoomId,
    ids: Vec<OpId>,
) -> Result<Option<Vec<bool>>, NodeError> {
    let look = move |replica: &crdt_core::Replica| {
        let held = |id: OpId| replica.position(room, id).is_some();
        replica.rooms().any(|id| id == room).then(|| ids.into_iter().map(held).collect())
    };
    Ok(driver.query(look).await?)
}
