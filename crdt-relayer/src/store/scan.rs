//! Reads of a whole room or of everything.

use std::collections::HashMap;
use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crdt_core::effect::Record;
use crdt_core::id::{Position, RoomId, StoreId};
use crdt_core::op::Op;

use super::{Store, StoredRoom, places, position_of};
use crate::error::StoreError;
use crate::row::{self, COLUMNS, Unchecked};

/// Records that are handed over at one time, and bytes of them.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// Batches that may wait to be checked, and to be restored.
const BATCHES_WAITING_MAX: usize = 2;

/// What is found on the way, an op as its row says.
#[expect(clippy::large_enum_variant, reason = "nearly all are ops")]
enum Found {
    Record(Record),
    Op { position: Position, source: Option<StoreId>, row: Unchecked },
}

impl Found {
    fn check(self) -> Result<Record, StoreError> {
        Ok(match self {
            Self::Record(record) => record,
            Self::Op { position, source, row } => {
                Record::Op { position, source, op: row.check()?.into() }
            }
        })
    }
}

/// Checks batches and passes them on. Stops when they are not taken any more, or at an op that is
/// damaged, after what came before it.
fn check_batches(
    batches: Receiver<Vec<Found>>,
    checked: &SyncSender<Vec<Record>>,
) -> Result<(), StoreError> {
    for batch in batches {
        let mut records = Vec::with_capacity(batch.len());
        let outcome = batch
            .into_iter()
            .try_for_each(|found| found.check().map(|record| records.push(record)));
        let taken = checked.send(records).is_ok();
        outcome?;
        if !taken {
            break;
        }
    }
    Ok(())
}

/// Why reading ended early.
enum Halted {
    Store(StoreError),
    NotTaken,
}

impl From<StoreError> for Halted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Everything it holds, in the order in which a replica wants it back. Each op's hashes are
    /// checked on the way; its signature was before it was written.
    ///
    /// Reading, checking and restoring go on at the same time, the latter two on threads of their
    /// own.
    ///
    /// # Errors
    /// [`StoreError`], or what `restore` returns.
    pub fn replay<E: From<StoreError> + Send>(
        &self,
        mut restore: impl FnMut(Record) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let at_once = thread::scope(|scope| {
            let (found, to_check) = sync_channel::<Vec<Found>>(BATCHES_WAITING_MAX);
            let (checked, to_restore) = sync_channel::<Vec<Record>>(BATCHES_WAITING_MAX);
            let restore = &mut restore;
            let restoring = move || to_restore.into_iter().flatten().try_for_each(restore);
            let restoring = thread::Builder::new().spawn_scoped(scope, restoring).ok()?;
            let checking = move || check_batches(to_check, &checked);
            let checking = thread::Builder::new().spawn_scoped(scope, checking).ok()?;
            let read = self.read_in_batches(&found);
            drop(found);
            let checked = checking.join().unwrap_or_else(|panic| resume_unwind(panic));
            let restored = restoring.join().unwrap_or_else(|panic| resume_unwind(panic));
            // What failed at a later stage came before whatever failed at an earlier one.
            Some(restored.and(checked.and(read).map_err(E::from)))
        });
        // Where no thread can be started it takes longer.
        at_once.unwrap_or_else(|| self.read_all(|found| restore(found.check()?)))
    }

    /// Gives everything in batches, until it is not taken any more.
    fn read_in_batches(&self, sender: &SyncSender<Vec<Found>>) -> Result<(), StoreError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let read = self.read_all(|found| {
            bytes += if let Found::Op { row, .. } = &found { row.weight() } else { 0 };
            batch.push(found);
            if batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
                return Ok(());
            }
            bytes = 0;
            sender.send(mem::take(&mut batch)).map_err(|_| Halted::NotTaken)
        });
        // What was read before it failed is restored. If it is not taken, whoever did not take it
        // knows why.
        drop(sender.send(batch));
        match read {
            Ok(()) | Err(Halted::NotTaken) => Ok(()),
            Err(Halted::Store(error)) => Err(error),
        }
    }

    fn read_all<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(Found) -> Result<(), E>,
    ) -> Result<(), E> {
        let rooms = self.rooms()?;
        let ids: HashMap<i64, StoreId> = self.stores.iter().map(|(id, n)| (*n, *id)).collect();
        for StoredRoom { id, name } in rooms {
            visit(Found::Record(Record::Room { id, name }))?;
            let number = self.room(id)?.number;
            for (store, pulled, acked) in self.marks(number)? {
                let Some(store) = ids.get(&store).copied() else { continue };
                let (pulled, acked) = (row::position(pulled), row::position(acked));
                if pulled > Position::START {
                    visit(Found::Record(Record::Pulled { room: id, store, position: pulled }))?;
                }
                if acked > Position::START {
                    visit(Found::Record(Record::Acked { room: id, store, position: acked }))?;
                }
            }
            self.for_each_row(id, |position, row| {
                let source = row.source.and_then(|number| ids.get(&number).copied());
                visit(Found::Op { position, source, row })
            })?;
        }
        Ok(())
    }

    fn marks(&self, room: i64) -> Result<Vec<(i64, i64, i64)>, StoreError> {
        let sql = "SELECT store, pulled, acked FROM marks WHERE room = ?1";
        let mut statement = self.db.prepare(sql)?;
        let rows = statement.query_map([room], |row| row.try_into())?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Visits a room's ops in order of arrival, as their rows say.
    fn for_each_row<E: From<StoreError>>(
        &self,
        room: RoomId,
        mut visit: impl FnMut(Position, Unchecked) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = self.room(room)?.number;
        let sql = format!("SELECT {COLUMNS} FROM ops WHERE place BETWEEN ?1 AND ?2 ORDER BY place");
        let mut statement = self.db.prepare(&sql).map_err(StoreError::from)?;
        let mut rows = statement.query(places(number)).map_err(StoreError::from)?;
        let mut expected = 1;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let row = row::read(row, room)?;
            let position = position_of(row.place);
            if position.number() != expected {
                let gap = format!("op {expected} is missing before op {}", position.number());
                return Err(StoreError::Damaged(gap).into());
            }
            expected += 1;
            visit(position, row)?;
        }
        Ok(())
    }

    /// Visits a room's ops in order of arrival.
    ///
    /// # Errors
    /// [`StoreError`], or what `visit` returns.
    pub fn for_each_arrived<E: From<StoreError>>(
        &self,
        room: RoomId,
        mut visit: impl FnMut(Op) -> Result<(), E>,
    ) -> Result<(), E> {
        self.for_each_row(room, |_, row| visit(row.check()?))
    }

    /// Visits a room's ops in log order: by depth, then by id.
    ///
    /// # Errors
    /// [`StoreError`], or what `visit` returns.
    pub fn for_each_ordered<E: From<StoreError>>(
        &self,
        room: RoomId,
        mut visit: impl FnMut(Op) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = self.room(room)?.number;
        // Only keys are sorted; each op is then read by its place.
        let sql = "SELECT place FROM ops WHERE place BETWEEN ?1 AND ?2 ORDER BY depth, id";
        let mut statement = self.db.prepare(sql).map_err(StoreError::from)?;
        let mut rows = statement.query(places(number)).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let place: i64 = row.get(0).map_err(StoreError::from)?;
            if let Some(op) = row::at(&self.db, place, room)? {
                visit(op)?;
            }
        }
        Ok(())
    }
}
