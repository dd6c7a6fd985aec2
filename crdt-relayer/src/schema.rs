//! The tables of the store, and how to tell them from another file's.

use crdt_core::id::StoreId;
use rusqlite::Connection;

use crate::error::StoreError;

/// The layout this version reads and writes.
const LAYOUT: i64 = 1;

/// `CRDT` in ASCII, so that `file` and `SQLite` tools recognise the store.
const APPLICATION_ID: i64 = 0x4352_4454;

const SCHEMA: &str = "
CREATE TABLE meta (store BLOB NOT NULL) STRICT;
CREATE TABLE rooms (
    number INTEGER PRIMARY KEY,
    id     BLOB NOT NULL UNIQUE,
    name   TEXT
) STRICT;
CREATE TABLE stores (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE marks (
    room   INTEGER NOT NULL,
    store  INTEGER NOT NULL,
    pulled INTEGER NOT NULL DEFAULT 0,
    acked  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (room, store)
) STRICT, WITHOUT ROWID;
CREATE TABLE ops (
    place  INTEGER PRIMARY KEY, -- room number << 40 | position in the order of arrival
    source INTEGER,             -- stores.number; NULL: written by this node
    id     BLOB NOT NULL,
    author BLOB NOT NULL,
    access BLOB,                -- the grant; NULL: the room itself
    seq    INTEGER NOT NULL,
    prev   BLOB,
    preds  BLOB NOT NULL,       -- 32 bytes each
    refs   BLOB NOT NULL,
    depth  INTEGER NOT NULL,
    ts     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    sig    BLOB NOT NULL,
    data   TEXT NOT NULL        -- canonical JSON
) STRICT;
CREATE VIEW log AS
    SELECT rooms.name AS room, ops.depth, lower(hex(ops.id)) AS op, lower(hex(ops.author)) AS author,
           ops.seq, datetime(ops.ts / 1000, 'unixepoch') AS claimed_time, ops.kind, ops.data
    FROM ops JOIN rooms ON rooms.number = ops.place >> 40
    ORDER BY rooms.number, ops.depth, ops.id;
";

/// Makes the tables in a file that has none.
pub(crate) fn create(db: &mut Connection, id: StoreId) -> Result<(), StoreError> {
    if layout(db)? != 0 {
        return Ok(());
    }
    let transaction = db.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO meta VALUES (?1)", [id.as_bytes()])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()?;
    Ok(())
}

/// Refuses a file of another version.
pub(crate) fn check(db: &Connection) -> Result<(), StoreError> {
    match layout(db)? {
        LAYOUT => Ok(()),
        found => Err(StoreError::Layout { found }),
    }
}

fn layout(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
