//! What can go wrong with a store.

use std::path::PathBuf;

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
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Io(error),
        }
    }
}
