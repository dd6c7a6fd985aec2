//! Reads of a whole room or of everything.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crdt_core::effect::Record;
use crdt_core::id::{Position, RoomId, StoreId};
use crdt_core::op::Op;

use super::{Store, StoredRoom, places, position_of};
use crate::error::StoreError;
use crate::row::{self, COLUMNS};

/// Records that are handed over at one time, and bytes of their ops.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// Batches that may wait to be restored.
const BATCHES_WAITING_MAX: usize = 4;

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
    /// Reading and restoring go on at the same time, the second on a thread of its own.
    ///
    /// # Errors
    /// [`StoreError`], or what `restore` returns.
    pub fn replay<E: From<StoreError> + Send>(
        &self,
        mut restore: impl FnMut(Record) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let at_once = thread::scope(|scope| {
            let (sender, batches) = sync_channel::<Vec<Record>>(BATCHES_WAITING_MAX);
            let restore = &mut restore;
            let restoring = move || batches.into_iter().flatten().try_for_each(restore);
            let restoring = thread::Builder::new().spawn_scoped(scope, restoring).ok()?;
            let read = self.read_in_batches(&sender);
            drop(sender);
            let restored = restoring.join().unwrap_or_else(|panic| resume_unwind(panic));
            // What failed while restoring came before whatever was read after it.
            Some(restored.and(read.map_err(E::from)))
        });
        // Where no thread can be started it takes longer.
        at_once.unwrap_or_else(|| self.read_all(restore))
    }

    /// Gives everything in batches, until it is not taken any more.
    fn read_in_batches(&self, sender: &SyncSender<Vec<Record>>) -> Result<(), StoreError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let read = self.read_all(|record| {
            bytes += if let Record::Op { op, .. } = &record { op.weight() } else { 0 };
            batch.push(record);
            if batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
                return Ok(());
            }
            bytes = 0;
            sender.send(std::mem::take(&mut batch)).map_err(|_| Halted::NotTaken)
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
        mut restore: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let rooms = self.rooms()?;
        let ids: HashMap<i64, StoreId> = self.stores.iter().map(|(id, n)| (*n, *id)).collect();
        for StoredRoom { id, name } in rooms {
            restore(Record::Room { id, name })?;
            let number = self.room(id)?.number;
            for (store, pulled, acked) in self.marks(number)? {
                let Some(store) = ids.get(&store).copied() else { continue };
                let (pulled, acked) = (row::position(pulled), row::position(acked));
                if pulled > Position::START {
                    restore(Record::Pulled { room: id, store, position: pulled })?;
                }
                if acked > Position::START {
                    restore(Record::Acked { room: id, store, position: acked })?;
                }
            }
            self.for_each(id, |position, source, op| {
                let source = source.and_then(|number| ids.get(&number).copied());
                restore(Record::Op { position, source, op: op.into() })
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

    /// Visits a room's ops in order of arrival, with the number of the store each came from.
    fn for_each<E: From<StoreError>>(
        &self,
        room: RoomId,
        mut visit: impl FnMut(Position, Option<i64>, Op) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = self.room(room)?.number;
        let sql = format!("SELECT {COLUMNS} FROM ops WHERE place BETWEEN ?1 AND ?2 ORDER BY place");
        let mut statement = self.db.prepare(&sql).map_err(StoreError::from)?;
        let mut rows = statement.query(places(number)).map_err(StoreError::from)?;
        let mut expected = 1;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let (place, source, op) = row::read(row, room)?;
            let position = position_of(place);
            if position.number() != expected {
                let gap = format!("op {expected} is missing before op {}", position.number());
                return Err(StoreError::Damaged(gap).into());
            }
            expected += 1;
            visit(position, source, op)?;
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
        self.for_each(room, |_, _, op| visit(op))
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
            if let Some(op) = self.read_at(place, room)? {
                visit(op)?;
            }
        }
        Ok(())
    }
}
