//! Copies of a store: written while a relayer runs, put back where none does.
//! Source: `docs/OPERATIONS.md`, "Verify, back up, restore".

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use crdt_core::id::StoreId;

use crate::backplane::notes::NOTES_FILE;
use crate::error::StoreError;
use crate::home::{self, HomeError, STORE_FILE};
use crate::relayer::random;
use crate::store::Store;
use crate::store::files::{beside, files_of};
use crate::verify;

/// A copy that cannot be written or put back. What was there before is kept.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is there already.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// The folder holds a store already.
    #[error("{0} holds a store already")]
    Occupied(PathBuf),
    /// What is to be put back is damaged.
    #[error("{path} is no good copy: {problem}")]
    Unverified {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong.
        problem: String,
    },
    /// A store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Random(getrandom::Error),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File { path: path.to_owned(), source }
}

/// Whether a store that is there already may be put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupied {
    /// It may not.
    Refuse,
    /// It is kept under another name.
    PutAside,
}

/// What was put back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Ops.
    pub ops: u64,
    /// Rooms.
    pub rooms: usize,
    /// Where the files are that were there before.
    pub aside: Vec<PathBuf>,
}

/// Writes a copy of the store in a folder, as it is at one moment, also while a relayer uses it.
/// When this returns the copy is on disk under its name; before that there is no such file. Returns
/// its size in bytes.
///
/// # Errors
/// [`BackupError`].
pub fn write(data: &Path, file: &Path) -> Result<u64, BackupError> {
    let store = data.join(STORE_FILE);
    if !store.exists() {
        return Err(StoreError::Missing { path: store }.into());
    }
    if file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let part = beside(file, &format!(".part-{}", std::process::id()));
    let written = (|| {
        copy(&store, &part)?;
        File::open(&part).and_then(|part| part.sync_all()).map_err(failed(&part))?;
        let bytes = part.metadata().map_err(failed(&part))?.len();
        // A link never replaces what somebody else has put there meanwhile.
        match fs::hard_link(&part, file) {
            Ok(()) => sync_folder_of(file).map(|()| bytes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Exists(file.to_owned()))
            }
            Err(error) => Err(failed(file)(error)),
        }
    })();
    drop(fs::remove_file(&part));
    written
}

/// Copies a store into a new file that only its owner may read.
fn copy(store: &Path, to: &Path) -> Result<(), BackupError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    drop(made.map_err(failed(to))?);
    Ok(Store::open_read(store)?.copy_to(to)?)
}

/// Puts a copy into a folder where no relayer runs, after all of it was verified. The store goes on
/// under a new id: what others remember of the old one, which may have held more, is void, and they
/// compare instead.
///
/// # Errors
/// [`BackupError`].
pub fn restore(file: &Path, data: &Path, occupied: Occupied) -> Result<Restored, BackupError> {
    let unverified = |problem| BackupError::Unverified { path: file.to_owned(), problem };
    let found = verify::store(file).map_err(|error| {
        if let StoreError::Damaged(problem) = error { unverified(problem) } else { error.into() }
    })?;
    if let Some(problem) = found.problems.first() {
        return Err(unverified(problem.clone()));
    }
    home::make(data)?;
    let _lock = home::lock(data)?;
    let store = data.join(STORE_FILE);
    if store.exists() && occupied == Occupied::Refuse {
        return Err(BackupError::Occupied(data.to_owned()));
    }
    let part = data.join("log.sqlite.part");
    for left in files_of(&part) {
        // Of a restore that was broken off.
        drop(fs::remove_file(left));
    }
    copy(file, &part)?;
    let id = StoreId::from_bytes(random().map_err(BackupError::Random)?);
    Store::open_existing(&part)?.rename(id)?;
    File::open(&part).and_then(|part| part.sync_all()).map_err(failed(&part))?;
    let aside = put_aside(data)?;
    fs::rename(&part, &store).map_err(failed(&store))?;
    own_as_folder(data, &[store.clone(), data.join("lock")])?;
    sync_folder_of(&store)?;
    Ok(Restored { ops: found.ops, rooms: found.rooms.len(), aside })
}

/// Renames the store that is there, and what is noted beside it about a bus: the notes are about
/// places in that store.
fn put_aside(data: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut aside = Vec::new();
    // Whoever closes a store last merges what was written ahead into it. A damaged one stays in
    // parts.
    drop(Store::open_existing(&data.join(STORE_FILE)));
    for name in [STORE_FILE, NOTES_FILE] {
        // The parts of one database keep their names' relation to each other.
        let aside_name = data.join(format!("{name}.before-{stamp}"));
        for (from, to) in files_of(&data.join(name)).into_iter().zip(files_of(&aside_name)) {
            if from.exists() {
                if to.exists() {
                    return Err(BackupError::Exists(to));
                }
                fs::rename(&from, &to).map_err(failed(&from))?;
                aside.push(to);
            }
        }
    }
    Ok(aside)
}

/// Files that root makes belong to whom the folder belongs to: the relayer must be able to use
/// them.
fn own_as_folder(data: &Path, files: &[PathBuf]) -> Result<(), BackupError> {
    let folder = data.metadata().map_err(failed(data))?;
    for file in files {
        let own = file.metadata().map_err(failed(file))?;
        if (own.uid(), own.gid()) != (folder.uid(), folder.gid()) {
            chown(file, Some(folder.uid()), Some(folder.gid())).map_err(failed(file))?;
        }
    }
    Ok(())
}

fn sync_folder_of(file: &Path) -> Result<(), BackupError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_is_no_good_copy_and_nothing_is_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, data) = (folder.path().join("copy.sqlite"), folder.path().join("data"));
        fs::write(&file, [b'x'; 4_096]).unwrap();
        let refused = restore(&file, &data, Occupied::Refuse).unwrap_err();
        assert!(refused.to_string().contains("copy.sqlite is no good copy: "), "{refused}");
        assert!(!data.exists());
    }
}
