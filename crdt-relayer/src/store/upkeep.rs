//! What an operator does with a store: look at all of it at one moment, copy it, make it smaller.

use std::path::Path;

use super::{Store, connect_read};
use crate::error::StoreError;

impl Store {
    /// Opens an existing store as it is at this moment, for reading, also while another process
    /// writes to it. What that one writes meanwhile waits in its write-ahead file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_snapshot(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let db = connect_read(path)?;
        db.execute_batch("BEGIN")?;
        Self::load_index(db)
    }

    /// Looks at the structure of the whole file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first thing that is wrong.
    pub fn check_file(&self) -> Result<(), StoreError> {
        let checked: String =
            self.db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if checked == "ok" { Ok(()) } else { Err(StoreError::Damaged(checked)) }
    }

    /// Writes the store as it is at one moment into a file that is empty or not there yet, without
    /// its write-ahead file. It is not synchronised to disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        // The copy is what is written; nothing of this store is.
        self.db.pragma_update(None, "query_only", false)?;
        let copied = self.db.execute("VACUUM INTO ?1", [path.to_string_lossy()]);
        self.db.pragma_update(None, "query_only", true)?;
        Ok(copied.map(drop)?)
    }

    /// Gives back to the file system what the store does not need. No other process may use it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.db.execute_batch("VACUUM")?;
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}
