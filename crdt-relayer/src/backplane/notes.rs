//! What a relayer remembers of the stream beside its store: how far each room's ops are on it, and
//! one message by which it knows the stream again. Losing the file costs that all is posted again.

use std::collections::HashMap;
use std::path::Path;

use crdt_core::id::{RoomId, StoreId};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::bus::Stream;
use crate::error::StoreError;
use crate::store::files::files_of;

/// The file in the relayer's folder.
pub(crate) const NOTES_FILE: &str = "backplane.sqlite";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stream (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    identity BLOB NOT NULL, -- the stream's
    store    BLOB NOT NULL, -- the id it goes by as a store
    seq      INTEGER,       -- the last message that it held,
    hash     BLOB           -- and what it was
) STRICT;
CREATE TABLE IF NOT EXISTS sent (room BLOB PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// The notes about one stream.
#[derive(Debug)]
pub struct Notes {
    db: Connection,
    known: Option<Known>,
    sent: HashMap<RoomId, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    identity: [u8; 32],
    store: StoreId,
    /// The last message that it held: its place and hash.
    held: Option<(u64, [u8; 32])>,
}

/// The hash by which a message is known again.
pub(crate) fn hash(payload: &[u8]) -> [u8; 32] {
    Sha256::digest(payload).into()
}

fn hash_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"crdt-relayer/backplane\0");
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

impl Notes {
    /// Opens the notes in a relayer's folder. A file that cannot be read is made anew.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(NOTES_FILE);
        Self::read(&path).or_else(|_| {
            for file in files_of(&path) {
                // What is not there need not be removed; what cannot be is found next.
                drop(std::fs::remove_file(file));
            }
            Self::read(&path)
        })
    }

    fn read(path: &Path) -> Result<Self, StoreError> {
        let db = Connection::open(path)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        // Not synced to disk with every note: an old note costs a message that is posted twice.
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "normal")?;
        db.execute_batch(SCHEMA)?;
        let known = db
            .query_row("SELECT identity, store, seq, hash FROM stream", [], |row| {
                let seq: Option<i64> = row.get(2)?;
                let held = seq.and_then(|seq| u64::try_from(seq).ok()).zip(row.get(3)?);
                let store = StoreId::from_bytes(row.get(1)?);
                Ok(Known { identity: row.get(0)?, store, held })
            })
            .optional()?;
        let mut sent = HashMap::new();
        {
            let mut statement = db.prepare("SELECT room, position FROM sent")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let position: i64 = row.get(1)?;
                let room = RoomId::from_bytes(row.get(0)?);
                sent.insert(room, u64::try_from(position).unwrap_or(0));
            }
        }
        Ok(Self { db, known, sent })
    }

    /// The place and hash of a message by which to know this stream again, if there is one.
    pub(crate) fn token(&self, stream: Stream) -> Option<(u64, [u8; 32])> {
        self.known.filter(|known| known.identity == stream.identity)?.held
    }

    /// Takes up a stream: the one that is known, or another, of which nothing is known. Returns the
    /// id it goes by as a store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn take_up(&mut self, stream: Stream) -> Result<StoreId, StoreError> {
        match self.known.filter(|known| known.identity == stream.identity) {
            Some(known) => Ok(known.store),
            None => self.begin(stream.identity, hash_of(&[&stream.identity])),
        }
    }

    /// Takes up a stream that has lost messages it had: from now on it is another store, so that
    /// everything is posted and read again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn begin_anew(&mut self, stream: Stream) -> Result<StoreId, StoreError> {
        let before = self.known.map_or([0; 32], |known| *known.store.as_bytes());
        let last = stream.last.to_be_bytes();
        self.begin(stream.identity, hash_of(&[&stream.identity, &before, &last]))
    }

    fn begin(&mut self, identity: [u8; 32], store: [u8; 32]) -> Result<StoreId, StoreError> {
        let transaction = self.db.transaction()?;
        transaction.execute("DELETE FROM sent", [])?;
        let replace = "INSERT OR REPLACE INTO stream (one, identity, store) VALUES (1, ?1, ?2)";
        transaction.execute(replace, params![identity, store])?;
        transaction.commit()?;
        self.sent.clear();
        let store = StoreId::from_bytes(store);
        self.known = Some(Known { identity, store, held: None });
        Ok(store)
    }

    /// How far a room's ops are on the stream: a position in the relayer's own store.
    pub(crate) fn sent(&self, room: RoomId) -> u64 {
        self.sent.get(&room).copied().unwrap_or(0)
    }

    /// A room's ops up to a position are on the stream.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn note_sent(&mut self, room: RoomId, position: u64) -> Result<(), StoreError> {
        self.sent.insert(room, position);
        let insert = "INSERT OR REPLACE INTO sent (room, position) VALUES (?1, ?2)";
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        self.db.prepare_cached(insert)?.execute(params![room.as_bytes(), position])?;
        Ok(())
    }

    /// The stream holds this message at this place. The last one is what it is known by.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn note_held(&mut self, seq: u64, hash: [u8; 32]) -> Result<(), StoreError> {
        if let Some(known) = &mut self.known {
            if known.held.is_some_and(|(last, _)| last > seq) {
                return Ok(());
            }
            known.held = Some((seq, hash));
        }
        let update = "UPDATE stream SET seq = ?1, hash = ?2";
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        self.db.prepare_cached(update)?.execute(params![seq, hash])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_last_message_that_was_held_is_what_a_stream_is_known_by() {
        let folder = TempDir::new().unwrap();
        let stream = Stream { identity: [7; 32], first: 1, last: 9 };
        let mut notes = Notes::open(folder.path()).unwrap();
        notes.take_up(stream).unwrap();
        for seq in [3, 8, 5] {
            notes.note_held(seq, [u8::try_from(seq).unwrap(); 32]).unwrap();
        }
        drop(notes);
        let mut notes = Notes::open(folder.path()).unwrap();
        assert_eq!(notes.token(stream), Some((8, [8; 32])));
        notes.begin_anew(stream).unwrap();
        assert_eq!(notes.token(stream), None);
        notes.note_held(2, [2; 32]).unwrap();
        assert_eq!(notes.token(stream), Some((2, [2; 32])));
    }
}
