//! What can go wrong with a store.

use std::path::PathBuf;

use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};

/// A store that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or made.
    #[error("cannot open the store {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// There is no such file.
    #[error("the store {path} is missing")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full. What was acknowledged is safe.
    #[error("the disk is full; everything acknowledged so far is safe")]
    Full,
    /// Reading or writing failed.
    #[error("the store failed: {0}; everything acknowledged so far is safe")]
    Io(rusqlite::Error),
    /// The file is no store, or was changed from outside.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The file was written by another version.
    #[error("the store has layout {found}, this version reads layout 1")]
    Layout {
        /// The layout found.
        found: i64,
    },
    /// There is no such room.
    #[error("the store has no room {0}")]
    NoRoom(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
        if let FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) = error
        {
            return Self::Damaged(error.to_string());
        }
        match error.sqlite_error_code() {
            Some(DiskFull) => Self::Full,
            // The index of the write-ahead file could not grow.
            Some(_) if extended(&error) == Some(SQLITE_IOERR_SHMSIZE) => Self::Full,
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Io(error),
        }
    }
}

impl StoreError {
    /// Whether a write failed, and not for a disk that is full: `SQLite` says the same of a quota
    /// that is used up and of a disk that is broken.
    pub(crate) fn is_failed_write(&self) -> bool {
        matches!(self, Self::Io(error) if extended(error) == Some(SQLITE_IOERR_WRITE))
    }
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn of(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn no_room_for_the_file_or_its_index_is_a_full_disk_and_nothing_else_is() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(of(code), StoreError::Full), "{code}");
        }
        // No memory to map it, a disk that fails, a sync that must not be tried again.
        for code in [ffi::SQLITE_IOERR_SHMMAP, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC] {
            let error = of(code);
            assert!(matches!(error, StoreError::Io(_)), "{code}");
            assert_eq!(error.is_failed_write(), code == ffi::SQLITE_IOERR_WRITE, "{code}");
        }
        assert!(matches!(of(ffi::SQLITE_CORRUPT), StoreError::Damaged(_)));
    }
}
