//! The durable log: `SQLite` in write-ahead mode, one synchronised transaction a batch. Relayers
//! and nodes keep the same file; other processes may read it meanwhile.
//!
//! An op is appended under its place in the order of arrival, so that the table grows at its end;
//! where an op is by its id is known in memory. Nothing is ever updated but cursors.
//! Source: `docs/ARCHITECTURE.md`, "Store", and `docs/adr/0005-sqlite.md`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crdt_core::effect::{Load, Loaded, Record, Select};
use crdt_core::id::{Position, RoomId, RoomName, StoreId};
use crdt_core::op::Op;
use rusqlite::{Connection, OpenFlags, params};

use crate::error::StoreError;
use crate::page::Page;
use crate::place::{ROOM_NUMBERS, place, places, position_of};
use crate::row::{self, COLUMNS};
use crate::schema;

pub(crate) mod files;
pub(crate) mod reader;
mod scan;
mod upkeep;

/// Rows looked at for one page, whether or not they are for the peer who asked.
const SCAN_ROWS_MAX: u64 = 4_096;

/// Wait for another process that reads the store.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    id: StoreId,
    rooms: HashMap<RoomId, RoomRow>,
    stores: HashMap<StoreId, i64>,
}

#[derive(Clone, Copy, Debug)]
struct RoomRow {
    number: i64,
    end: Position,
}

/// A room as the store names it.
#[derive(Clone, Debug)]
pub struct StoredRoom {
    /// Its id.
    pub id: RoomId,
    /// Its name, if known.
    pub name: Option<RoomName>,
}

fn connect_read(path: &Path) -> Result<Connection, StoreError> {
    let opened = |source| StoreError::Open { path: path.to_owned(), source };
    // Reading a store in write-ahead mode takes part in its locks, and so needs to write those.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let db = Connection::open_with_flags(path, flags).map_err(opened)?;
    db.busy_timeout(BUSY_MAX)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

impl Store {
    /// Opens the store at a path, or makes it with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path, new_id: StoreId) -> Result<Self, StoreError> {
        let opened = |source| StoreError::Open { path: path.to_owned(), source };
        let mut db = Connection::open(path).map_err(opened)?;
        db.busy_timeout(BUSY_MAX)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        schema::create(&mut db, new_id)?;
        Self::load_index(db)
    }

    /// Opens a store that was made before: one made anew beside an old key would sign again, and
    /// differently, what the key has signed.
    ///
    /// # Errors
    /// [`StoreError::Missing`] and the others.
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        Self::open(path, StoreId::from_bytes([0; 32]))
    }

    /// Opens an existing store for reading, also while another process writes to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_read(path: &Path) -> Result<Self, StoreError> {
        Self::load_index(connect_read(path)?)
    }

    fn load_index(db: Connection) -> Result<Self, StoreError> {
        schema::check(&db)?;
        let id: [u8; 32] = db.query_row("SELECT store FROM meta", [], |row| row.get(0))?;
        let id = StoreId::from_bytes(id);
        let mut store = Self { db, id, rooms: HashMap::new(), stores: HashMap::new() };
        store.index()?;
        Ok(store)
    }

    /// Goes on after an [`append`](Self::append) that found the disk full: as if it had not been
    /// tried.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn recover(&mut self) -> Result<(), StoreError> {
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        self.index()
    }

    /// Reads which rooms and stores there are.
    fn index(&mut self) -> Result<(), StoreError> {
        (self.rooms, self.stores) = (HashMap::new(), HashMap::new());
        for (number, room) in self.numbered("SELECT number, id FROM rooms")? {
            if !ROOM_NUMBERS.contains(&number) {
                return Err(StoreError::Damaged(format!("{number} numbers no room")));
            }
            let end = self.last_position(number)?;
            self.rooms.insert(RoomId::from_bytes(room), RoomRow { number, end });
        }
        for (number, id) in self.numbered("SELECT number, id FROM stores")? {
            self.stores.insert(StoreId::from_bytes(id), number);
        }
        Ok(())
    }

    fn numbered(&self, sql: &str) -> Result<Vec<(i64, [u8; 32])>, StoreError> {
        let mut statement = self.db.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn last_position(&self, room: i64) -> Result<Position, StoreError> {
        let last = "SELECT max(place) FROM ops WHERE place BETWEEN ?1 AND ?2";
        let place: Option<i64> = self.db.query_row(last, places(room), |row| row.get(0))?;
        Ok(place.map(position_of).unwrap_or_default())
    }

    /// Its id: drawn at random when it was made.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Goes on under another id: what others remember about places in it is void.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rename(&mut self, id: StoreId) -> Result<(), StoreError> {
        self.db.execute("UPDATE meta SET store = ?1", [id.as_bytes()])?;
        self.id = id;
        Ok(())
    }

    /// The rooms it holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rooms(&self) -> Result<Vec<StoredRoom>, StoreError> {
        let mut statement = self.db.prepare("SELECT id, name FROM rooms ORDER BY number")?;
        let rows = statement.query_map([], |row| {
            let name: Option<String> = row.get(1)?;
            Ok(StoredRoom {
                id: RoomId::from_bytes(row.get(0)?),
                name: name.and_then(|name| RoomName::parse(&name).ok()),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes records in one durable transaction: all of them or none.
    ///
    /// # Errors
    /// [`StoreError`]. After that nothing more may be written, except after `recover` where the
    /// disk was full.
    pub fn append<'r>(
        &mut self,
        records: impl IntoIterator<Item = &'r Record>,
    ) -> Result<(), StoreError> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for record in records {
            self.write(record)?;
        }
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Room { id, name } => self.write_room(*id, name.as_ref()),
            Record::Op { position, source, op } => self.write_op(*position, *source, op),
            Record::Pulled { room, store, position } => {
                self.write_mark("pulled", *room, *store, *position)
            }
            Record::Acked { room, store, position } => {
                self.write_mark("acked", *room, *store, *position)
            }
        }
    }

    fn write_room(&mut self, id: RoomId, name: Option<&RoomName>) -> Result<(), StoreError> {
        let insert = "INSERT INTO rooms (id, name) VALUES (?1, ?2)
                      ON CONFLICT (id) DO UPDATE SET name = coalesce(excluded.name, name)";
        self.db
            .prepare_cached(insert)?
            .execute(params![id.as_bytes(), name.map(RoomName::as_str)])?;
        if !self.rooms.contains_key(&id) {
            let number = self.db.last_insert_rowid();
            self.rooms.insert(id, RoomRow { number, end: Position::START });
        }
        Ok(())
    }

    fn write_op(
        &mut self,
        position: Position,
        source: Option<StoreId>,
        op: &Op,
    ) -> Result<(), StoreError> {
        let source = source.map(|store| self.store_number(store)).transpose()?;
        let room = op.head().room;
        let row = self.rooms.get_mut(&room).ok_or_else(|| StoreError::NoRoom(room.to_string()))?;
        row.end = position;
        row::insert(&self.db, place(row.number, position), source, op)?;
        Ok(())
    }

    fn store_number(&mut self, store: StoreId) -> Result<i64, StoreError> {
        if let Some(number) = self.stores.get(&store) {
            return Ok(*number);
        }
        self.db.execute("INSERT INTO stores (id) VALUES (?1)", [store.as_bytes()])?;
        let number = self.db.last_insert_rowid();
        self.stores.insert(store, number);
        Ok(number)
    }

    fn write_mark(
        &mut self,
        column: &str,
        room: RoomId,
        store: StoreId,
        position: Position,
    ) -> Result<(), StoreError> {
        let number = self.room(room)?.number;
        let store = self.store_number(store)?;
        let upsert = format!(
            "INSERT INTO marks (room, store, {column}) VALUES (?1, ?2, ?3)
             ON CONFLICT (room, store) DO UPDATE SET {column} = excluded.{column}"
        );
        let mut statement = self.db.prepare_cached(&upsert)?;
        statement.execute(params![number, store, row::int(position.number())])?;
        Ok(())
    }

    fn room(&self, id: RoomId) -> Result<RoomRow, StoreError> {
        self.rooms.get(&id).copied().ok_or_else(|| StoreError::NoRoom(id.to_string()))
    }

    /// Reads what a replica asks for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        // A room that nobody has written to is known in memory only.
        let Some(row) = self.rooms.get(&load.room).copied() else {
            return Ok(Loaded { load, ops: Vec::new(), through: Position::START });
        };
        let mut page = Page::new(&load);
        let mut through = row.end;
        match &load.what {
            Select::At(positions) => {
                for position in positions {
                    let op = row::at(&self.db, place(row.number, *position), load.room)?;
                    let op = op.ok_or_else(|| {
                        StoreError::Damaged(format!("op {} is missing", position.number()))
                    })?;
                    if page.add(op) {
                        break;
                    }
                }
            }
            Select::After(after, skip) => {
                let skip = skip.and_then(|store| self.stores.get(&store).copied());
                let last = (after.number() + SCAN_ROWS_MAX).min(row.end.number());
                through = Position::new(last).unwrap_or_default();
                let sql = format!(
                    "SELECT {COLUMNS} FROM ops
                     WHERE place > ?1 AND place <= ?2 AND (?3 IS NULL OR source IS NOT ?3)
                     ORDER BY place"
                );
                let mut statement = self.db.prepare_cached(&sql)?;
                let bounds = params![place(row.number, *after), place(row.number, through), skip];
                let mut rows = statement.query(bounds)?;
                while let Some(row) = rows.next()? {
                    let read = row::read(row, load.room)?;
                    let place = read.place;
                    if page.add(read.check()?) {
                        through = position_of(place);
                        break;
                    }
                }
            }
        }
        let ops = page.into_ops();
        Ok(Loaded { load, ops, through })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crdt_core::effect::PeerId;
    use tempfile::TempDir;

    use super::*;
    use crate::fixtures::{chain, room, room_name};

    const OTHER: StoreId = StoreId::from_bytes([2; 32]);

    fn at(number: u64) -> Position {
        Position::new(number).unwrap()
    }

    /// A store of so many ops, every third from another store.
    fn store(folder: &TempDir, ops: usize) -> Store {
        let path = folder.path().join("log.sqlite");
        let mut store = Store::open(&path, StoreId::from_bytes([1; 32])).unwrap();
        let mut records = vec![Record::Room { id: room(), name: Some(room_name()) }];
        for (number, op) in (1..).zip(chain(1, ops)) {
            let source = (number % 3 == 0).then_some(OTHER);
            records.push(Record::Op { position: at(number), source, op: Arc::new(op) });
        }
        store.append(&records).unwrap();
        store
    }

    fn page(store: &Store, what: Select, ops_max: usize) -> (Vec<String>, u64) {
        let load = Load { peer: PeerId(1), room: room(), what, bytes_max: usize::MAX, ops_max };
        let loaded = store.load(load).unwrap();
        let data = loaded.ops.iter().map(|op| op.data().to_owned()).collect();
        (data, loaded.through.number())
    }

    #[test]
    fn pages_follow_one_another_and_leave_out_what_came_from_the_reader() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder, 9);
        let mut come = Vec::new();
        let mut after = Position::START;
        while after < at(9) {
            let (data, through) = page(&store, Select::After(after, Some(OTHER)), 2);
            come.extend(data);
            after = at(through);
        }
        assert_eq!(come, ["[1]", "[2]", "[4]", "[5]", "[7]", "[8]"]);
        assert_eq!(page(&store, Select::After(at(6), None), 9).0, ["[7]", "[8]", "[9]"]);
        assert_eq!(page(&store, Select::At(vec![at(3), at(5)]), 9).0, ["[3]", "[5]"]);
        assert_eq!(page(&store, Select::At(vec![at(3), at(5)]), 1).0, ["[3]"]);
    }

    #[test]
    fn a_page_looks_at_so_many_rows_and_no_more() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder, usize::try_from(SCAN_ROWS_MAX).unwrap() + 10);
        assert_eq!(page(&store, Select::After(Position::START, None), usize::MAX).1, SCAN_ROWS_MAX);
    }

    #[test]
    fn a_room_that_is_not_on_disk_has_an_empty_page() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder, 1);
        let elsewhere = RoomName::parse("elsewhere").unwrap().id();
        for what in [Select::After(Position::START, None), Select::At(Vec::new())] {
            let load = Load { peer: PeerId(1), room: elsewhere, what, bytes_max: 1, ops_max: 1 };
            assert!(store.load(load).unwrap().ops.is_empty());
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_a_cursor_at_the_start_is_forgotten() {
        let folder = TempDir::new().unwrap();
        let mut kept = store(&folder, 3);
        let mark =
            |store: StoreId, number| Record::Pulled { room: room(), store, position: at(number) };
        let third = StoreId::from_bytes([3; 32]);
        kept.append(&[mark(OTHER, 7), mark(third, 8), mark(third, 0)]).unwrap();
        drop(kept);
        let again = Store::open(&folder.path().join("log.sqlite"), OTHER).unwrap();
        assert_eq!(again.id(), StoreId::from_bytes([1; 32]), "an id is drawn once");
        let mut seen = Vec::new();
        again
            .replay(|record| -> Result<(), StoreError> {
                seen.push(match record {
                    Record::Room { name, .. } => format!("room {}", name.unwrap()),
                    Record::Op { position, source, .. } => {
                        format!("op {} {}", position.number(), source == Some(OTHER))
                    }
                    Record::Pulled { store, position, .. } => {
                        format!("pulled {} {}", store == OTHER, position.number())
                    }
                    Record::Acked { position, .. } => format!("acked {}", position.number()),
                });
                Ok(())
            })
            .unwrap();
        let expected = ["room main", "pulled true 7", "op 1 false", "op 2 false", "op 3 true"];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_before_a_damaged_row_comes_back_and_whoever_stops_earlier_is_told_why() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder, 3_000);
        let alter = "UPDATE ops SET data = '[0]' WHERE data = '[2000]'";
        store.db.execute(alter, []).unwrap();
        let replay = |ops_max: usize| {
            let mut ops = 0;
            let replayed = store.replay(|record| {
                if matches!(record, Record::Op { .. }) {
                    ops += 1;
                }
                if ops > ops_max { Err(StoreError::Full) } else { Ok(()) }
            });
            (ops, replayed.unwrap_err())
        };
        assert!(matches!(replay(usize::MAX), (1_999, StoreError::Damaged(_))));
        for ops_max in [0, 1, 1_998] {
            let (ops, error) = replay(ops_max);
            assert!(ops == ops_max + 1 && matches!(error, StoreError::Full), "{ops}: {error}");
        }
    }

    #[test]
    fn a_missing_row_is_noticed() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder, 3);
        store.db.execute("DELETE FROM ops WHERE data = '[2]'", []).unwrap();
        let read = store.for_each_arrived(room(), |_| -> Result<(), StoreError> { Ok(()) });
        assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    }

    #[test]
    fn a_room_with_a_number_that_leaves_no_places_is_noticed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log.sqlite");
        let store = store(&folder, 1);
        for number in [i64::MAX, ROOM_NUMBERS.end, 0, -1, i64::MIN] {
            store.db.execute("UPDATE rooms SET number = ?1", [number]).unwrap();
            let read = Store::open_read(&path);
            assert!(matches!(read, Err(StoreError::Damaged(_))), "{number}: {read:?}");
        }
        for number in [1, ROOM_NUMBERS.end - 1] {
            store.db.execute("UPDATE rooms SET number = ?1", [number]).unwrap();
            assert!(Store::open_read(&path).is_ok(), "{number}");
        }
    }
}
