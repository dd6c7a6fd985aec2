//! One op as a row of the store, and back.

use crdt_core::head::{Head, Kind};
use crdt_core::id::{AuthorId, DataHash, Depth, OpId, Position, RoomId, Seq};
use crdt_core::json::Canonical;
use crdt_core::key::Signature;
use crdt_core::op::{HashedOp, Op, RawOp};
use crdt_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::StoreError;

/// The columns that [`read`] expects, in its order.
pub(crate) const COLUMNS: &str =
    "place, source, id, author, access, seq, prev, preds, refs, depth, ts, kind, sig, data";

pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn position(number: i64) -> Position {
    u64::try_from(number).ok().and_then(Position::new).unwrap_or_default()
}

pub(crate) fn insert(
    db: &Connection,
    place: i64,
    source: Option<i64>,
    op: &Op,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO ops (place, source, id, author, access, seq, prev, preds, refs, depth,
               ts, kind, sig, data) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)";
    let head = op.head();
    db.prepare_cached(sql)?.execute(params![
        place,
        source,
        op.id().as_bytes(),
        head.author.as_bytes(),
        (head.grant != *head.room.as_bytes()).then_some(head.grant),
        int(head.seq.number()),
        head.prev.as_ref().map(OpId::as_bytes),
        packed(&head.preds),
        packed(&head.refs),
        int(head.depth.number()),
        head.ts.as_ms(),
        head.kind.as_str(),
        op.sig().as_bytes(),
        op.data(),
    ])?;
    Ok(())
}

fn packed(ids: &[OpId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

fn unpacked(bytes: &[u8]) -> Vec<OpId> {
    let (ids, _) = bytes.as_chunks::<32>();
    ids.iter().copied().map(OpId::from_bytes).collect()
}

/// A row as it was read: its op may not be what its id says.
pub(crate) struct Unchecked {
    pub(crate) place: i64,
    /// The number of the store it came from.
    pub(crate) source: Option<i64>,
    op: RawOp,
}

impl Unchecked {
    /// Bytes that it takes up, besides a fixed number.
    pub(crate) fn weight(&self) -> usize {
        let ids = self.op.head.preds.len() + self.op.head.refs.len();
        self.op.data.as_str().len() + ids * size_of::<OpId>()
    }

    /// The op, if it still is what its id says.
    pub(crate) fn check(self) -> Result<Op, StoreError> {
        let Self { place, op, .. } = self;
        let id = op.id;
        let checked = op.rebuild().and_then(HashedOp::trust_own_store);
        checked.map_err(|rejection| damaged(place, &format!("op {id}: {rejection},")))
    }
}

fn damaged(place: i64, what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} in row {place} of table ops"))
}

/// Reads the op in a place.
pub(crate) fn at(db: &Connection, place: i64, room: RoomId) -> Result<Option<Op>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM ops WHERE place = ?1");
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement.query_row([place], |row| Ok(read(row, room))).optional()?;
    found.transpose()?.map(Unchecked::check).transpose()
}

/// Reads a row. Its op is not checked yet.
pub(crate) fn read(row: &Row<'_>, room: RoomId) -> Result<Unchecked, StoreError> {
    let place: i64 = row.get(0)?;
    let damaged = |what: &str| damaged(place, what);
    let id = OpId::from_bytes(row.get(2)?);
    let data: String = row.get(13)?;
    let access: Option<[u8; 32]> = row.get(4)?;
    let count = |column: usize| -> Result<Option<u64>, rusqlite::Error> {
        row.get::<_, i64>(column).map(|number| u64::try_from(number).ok())
    };
    let kind = row.get_ref(11)?.as_str().map_err(rusqlite::Error::from)?;
    let head = Head {
        room,
        author: AuthorId::from_bytes(row.get(3)?),
        grant: access.unwrap_or(*room.as_bytes()),
        seq: count(5)?.and_then(Seq::new).ok_or_else(|| damaged("seq"))?,
        prev: row.get::<_, Option<[u8; 32]>>(6)?.map(OpId::from_bytes),
        preds: unpacked(row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?),
        refs: unpacked(row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?),
        depth: count(9)?.and_then(Depth::new).ok_or_else(|| damaged("depth"))?,
        ts: Timestamp::from_ms(row.get(10)?),
        kind: Kind::parse(kind).ok_or_else(|| damaged("kind"))?,
        data_hash: DataHash::from_bytes([0; 32]),
        data_len: 0,
    };
    let data = Canonical::trusted(data);
    let op = RawOp { id, head, data, sig: Signature::from_bytes(row.get(12)?) };
    Ok(Unchecked { place, source: row.get(1)?, op })
}
