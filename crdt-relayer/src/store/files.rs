//! The files of a database.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file beside another, whose name goes on after the other's.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

/// The files of a database in write-ahead mode: what is written ahead, its index, and the database.
pub(crate) fn files_of(database: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", ""].map(|suffix| beside(database, suffix))
}
