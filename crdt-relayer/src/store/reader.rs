//! Reads for whoever asks from outside while the driver writes: pages of a room, single ops, the
//! digest of its log. Each goes through a connection of its own, so none makes the driver wait.

use std::path::Path;

use crdt_core::id::{LogDigest, Position, RoomId, StoreId};
use crdt_core::op::Op;
use crdt_core::order::LogHasher;
use rusqlite::{Connection, OptionalExtension, params};

use super::{connect_read, place, places, position_of};
use crate::error::StoreError;
use crate::row::{self, COLUMNS};
use crate::schema;

/// A connection for reading only.
#[derive(Debug)]
pub(crate) struct Reader {
    db: Connection,
    store: StoreId,
}

/// Where a room's ops are, and how many, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    number: i64,
    /// The position of its last op.
    pub(crate) end: Position,
}

/// How much a page may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageMax {
    pub(crate) ops: usize,
    /// Bytes of envelopes; one op is read however large it is.
    pub(crate) bytes: usize,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let db = connect_read(path)?;
        schema::check(&db)?;
        let store = StoreId::from_bytes(db.query_row("SELECT store FROM meta", [], |r| r.get(0))?);
        Ok(Self { db, store })
    }

    /// The store's id: positions mean something in this store only.
    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    /// How far a room goes; one that is not on disk has no ops.
    pub(crate) fn extent(&self, room: RoomId) -> Result<Option<Extent>, StoreError> {
        let sql = "SELECT number FROM rooms WHERE id = ?1";
        let number: Option<i64> = self
            .db
            .prepare_cached(sql)?
            .query_row([room.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(number) = number else { return Ok(None) };
        let sql = "SELECT max(place) FROM ops WHERE place BETWEEN ?1 AND ?2";
        let last: Option<i64> =
            self.db.prepare_cached(sql)?.query_row(places(number), |row| row.get(0))?;
        Ok(Some(Extent { number, end: last.map(position_of).unwrap_or_default() }))
    }

    /// The ops after a position, each with its own.
    pub(crate) fn page(
        &self,
        (room, extent): (RoomId, Extent),
        after: Position,
        max: PageMax,
    ) -> Result<Vec<(Position, Op)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM ops WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let after = after.min(extent.end);
        let (from, to) = (place(extent.number, after), place(extent.number, extent.end));
        let limit = i64::try_from(max.ops).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![from, to, limit])?;
        let (mut ops, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let row = row::read(row, room)?;
            let position = position_of(row.place);
            let op = row.check()?;
            bytes += op.weight();
            if bytes > max.bytes && !ops.is_empty() {
                break;
            }
            ops.push((position, op));
        }
        Ok(ops)
    }

    /// The op at a position.
    pub(crate) fn at(&self, room: RoomId, position: Position) -> Result<Op, StoreError> {
        let missing = || StoreError::Damaged(format!("op {} is missing", position.number()));
        let extent = self.extent(room)?.ok_or_else(missing)?;
        row::at(&self.db, place(extent.number, position), room)?.ok_or_else(missing)
    }

    /// The digest of a room's log up to a position in the order of arrival. Reads and sorts all of
    /// it.
    pub(crate) fn log_digest(
        &self,
        room: RoomId,
        through: Position,
    ) -> Result<LogDigest, StoreError> {
        let mut hasher = LogHasher::default();
        if let Some(Extent { number, .. }) = self.extent(room)? {
            // Only keys are sorted; each op is then read by its place.
            let sql = "SELECT place FROM ops WHERE place > ?1 AND place <= ?2 ORDER BY depth, id";
            let mut statement = self.db.prepare_cached(sql)?;
            let bounds = [place(number, Position::START), place(number, through)];
            let mut rows = statement.query(bounds)?;
            while let Some(row) = rows.next()? {
                if let Some(op) = row::at(&self.db, row.get(0)?, room)? {
                    hasher.add(op.id(), u32::try_from(op.entry_count()).unwrap_or(u32::MAX));
                }
            }
        }
        Ok(hasher.finish())
    }
}
