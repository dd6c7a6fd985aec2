//! What cannot be avoided: checking a signature, writing to the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crdt_core::op::Op;
use ed25519_dalek::{Signature, VerifyingKey};

/// Bytes of one page of a disk.
const PAGE_BYTES: usize = 4_096;

/// What an id is signed behind. Source: `docs/PROTOCOL.md`, "Hashes and signatures".
const SIGNED: &[u8] = b"bft-crdt/v1/sig\0";

/// Time to check the signature of each op strictly, as the library does it, on one core.
pub fn checks(ops: &[Op]) -> Duration {
    let mut keys = BTreeMap::new();
    for op in ops {
        let author = op.head().author;
        keys.entry(author).or_insert_with(|| VerifyingKey::from_bytes(author.as_bytes()).unwrap());
    }
    let start = Instant::now();
    for op in ops {
        let signed = [SIGNED, op.id().as_bytes()].concat();
        let signature = Signature::from_bytes(op.sig().as_bytes());
        keys[&op.head().author].verify_strict(&signed, &signature).unwrap();
    }
    start.elapsed()
}

/// The same on all cores at once.
pub fn checks_on_all_cores(ops: &[Op]) -> Duration {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    thread::scope(|scope| {
        for part in ops.chunks(ops.len().div_ceil(cores).max(1)) {
            scope.spawn(move || checks(part));
        }
    });
    start.elapsed()
}

/// A file to which pages are written, each until it is on disk.
#[derive(Debug)]
pub struct Pages(File);

impl Pages {
    /// In a folder.
    ///
    /// # Errors
    /// The system's.
    pub fn new(folder: &Path) -> io::Result<Self> {
        File::create(folder.join("pages")).map(Self)
    }

    /// Time to write one more.
    ///
    /// # Errors
    /// The system's.
    pub fn one(&mut self) -> io::Result<Duration> {
        let start = Instant::now();
        self.0.write_all(&[0x5a; PAGE_BYTES])?;
        self.0.sync_data()?;
        Ok(start.elapsed())
    }
}
