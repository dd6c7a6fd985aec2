//! The folder a relayer or node keeps its state in, and the lock that makes it one process's own.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// The store's file in a home.
pub const STORE_FILE: &str = "log.sqlite";

/// A home that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another process uses it.
    #[error("another process uses {0}")]
    Busy(PathBuf),
    /// It cannot be made or opened.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A lock on a home, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Makes a folder that only its owner may read.
///
/// # Errors
/// [`HomeError::Io`].
pub fn make(home: &Path) -> Result<(), HomeError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(home).map_err(|source| HomeError::Io { path: home.to_owned(), source })
}

/// Whether a process holds the lock of a home. Makes nothing and keeps nothing: a free lock is
/// taken for the moment of looking, shared with whoever else looks.
///
/// # Errors
/// [`HomeError::Io`].
pub fn is_locked(home: &Path) -> Result<bool, HomeError> {
    let path = home.join("lock");
    let io = |source| HomeError::Io { path: path.clone(), source };
    match File::open(&path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(io(source)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io(source)),
    }
}

/// Takes the lock of a home.
///
/// # Errors
/// [`HomeError`].
pub fn lock(home: &Path) -> Result<Lock, HomeError> {
    let path = home.join("lock");
    let io = |source| HomeError::Io { path: path.clone(), source };
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(HomeError::Busy(home.to_owned())),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}
