//! Opening a store whose files were damaged as a tape says: reading gives errors or ops whose
//! hashes are right, and never panics.
//!
//! The damage is done to the files in `tests/fuzz/store`, made by the test `make_the_store` of
//! `tests/it/corpus.rs`: a small store with two rooms, part of it still in the write-ahead file.
//! Their pages are small, so that a tape reaches every one.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::{Load, Loaded, PeerId, Record, Select};
use crdt_core::id::{DataHash, Position, RoomId, StoreId};
use crdt_core::key::EachTime;
use crdt_core::op::Op;
use crdt_core::rejection::Rejection;
use crdt_core::replica::{Config, Rooms};
use crdt_relayer::error::StoreError;
use crdt_relayer::store::Store;
use tempfile::TempDir;

use super::tape::Tape;

/// The store itself, and what was not yet moved into it.
const FILES: [(&str, &[u8]); 2] = [
    ("log.sqlite", include_bytes!("../../fuzz/store/log.sqlite")),
    ("log.sqlite-wal", include_bytes!("../../fuzz/store/log.sqlite-wal")),
];

/// Bytes of a page.
const PAGE: usize = 512;

/// Takes a tape of damages.
pub fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut files = FILES.map(|(_, bytes)| bytes.to_vec());
    while !tape.is_empty() {
        let file = &mut files[usize::from(tape.byte() >= 192)];
        damage(&mut tape, file);
    }
    thread_local!(static FOLDER: OnceCell<TempDir> = const { OnceCell::new() });
    FOLDER.with(|folder| {
        let path = folder.get_or_init(scratch).path().join("log.sqlite");
        lay_out(&path, &files);
        read(Store::open_read(&path)).ok();
        lay_out(&path, &files);
        read(Store::open_existing(&path)).and_then(|store| go_on(store, &path)).ok();
    });
}

/// A folder in memory if there is one: thousands of stores a second would wear out a disk.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

fn lay_out(path: &Path, files: &[Vec<u8>; 2]) {
    for ((name, _), bytes) in FILES.iter().zip(files) {
        fs::write(path.with_file_name(name), bytes).unwrap();
    }
    fs::remove_file(path.with_file_name("log.sqlite-shm")).ok();
}

/// Damages a file in one way.
fn damage(tape: &mut Tape<'_>, file: &mut Vec<u8>) {
    let end = file.len().max(1);
    let at = tape.number() % end;
    match tape.below(7) {
        0 => file.truncate(at),
        1 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << tape.below(8)),
        2 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte = tape.byte()),
        3 => file.iter_mut().skip(at / PAGE * PAGE).take(PAGE).for_each(|byte| *byte = 0),
        4 => {
            let count = tape.below(9);
            file.iter_mut().skip(at).zip(tape.take(count)).for_each(|(to, from)| *to = *from);
        }
        5 => {
            let pages = end / PAGE;
            let (a, b) = (at / PAGE, tape.below(pages.max(1)));
            for offset in 0..PAGE {
                let (a, b) = (a * PAGE + offset, b * PAGE + offset);
                if a < file.len() && b < file.len() {
                    file.swap(a, b);
                }
            }
        }
        _ => {
            let length = tape.below(256);
            file.extend_from_slice(tape.take(length));
        }
    }
}

/// Reads everything in every way.
fn read(opened: Result<Store, StoreError>) -> Result<Store, StoreError> {
    let store = opened.map_err(said)?;
    for room in store.rooms().map_err(said)? {
        let good = |op: Op| {
            check(&op, room.id);
            Ok(())
        };
        store.for_each_arrived(room.id, good).map_err(said).ok();
        store.for_each_ordered(room.id, good).map_err(said).ok();
        let places = [1, 2, 3].map(|place| Position::new(place).unwrap()).to_vec();
        for what in [Select::After(Position::START, None), Select::At(places)] {
            let load =
                Load { peer: PeerId(0), room: room.id, what, bytes_max: 1 << 20, ops_max: 256 };
            if let Ok(Loaded { ops, .. }) = store.load(load).map_err(said) {
                for op in &ops {
                    check(op, room.id);
                }
            }
        }
    }
    Ok(store)
}

/// An op that was read is what its id says, whatever became of the file.
fn check(op: &Op, room: RoomId) {
    assert_eq!(op.head().room, room);
    assert_eq!(op.head().id(), op.id(), "a wrong id was read");
    assert_eq!(DataHash::of(op.data()), op.head().data_hash, "wrong data were read");
    assert_eq!(op.data().len() as u64, op.head().data_len);
}

fn said(error: StoreError) -> StoreError {
    assert!(!error.to_string().is_empty());
    error
}

/// Why a store is not gone on with.
#[derive(Debug)]
enum Unusable {
    Store,
    Rejected,
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        said(error);
        Self::Store
    }
}

impl From<Rejection> for Unusable {
    fn from(_: Rejection) -> Self {
        Self::Rejected
    }
}

/// Gives what was read to a replica. If it takes it all, one more record is written and read back.
fn go_on(mut store: Store, path: &Path) -> Result<(), StoreError> {
    let (mut replica, mut places) = (replica(store.id()), 0_u64);
    let replayed = store.replay(|record| -> Result<(), Unusable> {
        if let Record::Op { position, op, .. } = &record {
            check(op, op.head().room);
            places = if position.number() == 1 { 1 } else { places + 1 };
            assert_eq!(position.number(), places, "positions are dense");
        }
        Ok(replica.restore(record)?)
    });
    if let (Ok(()), Some(room)) = (replayed, replica.rooms().next()) {
        let store_id = StoreId::from_bytes([5; 32]);
        let position = Position::new(1).unwrap();
        store.append(&[Record::Acked { room, store: store_id, position }]).map_err(said)?;
        drop(store);
        read(Store::open_read(path)).ok();
    }
    Ok(())
}

fn replica(store: StoreId) -> Replica {
    let config = Config {
        store,
        agent: String::new(),
        rooms: Rooms::OnDemand,
        key: None,
        seed: [0; 32],
        allowed: None,
        signatures: Arc::new(EachTime),
    };
    Replica::new(config)
}

/// Where the undamaged files are kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/store")
}
