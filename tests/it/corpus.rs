//! Everything the fuzzer has kept, through the same functions, without the fuzzer.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crdt_core::effect::Record;
use crdt_core::id::{Position, StoreId};
use crdt_core::json::Canonical;
use crdt_core::op::Draft;
use crdt_core::time::Timestamp;
use crdt_relayer::error::StoreError;
use crdt_relayer::store::Store;
use crdt_tests::fuzz::{self, TARGETS, forge};
use tempfile::TempDir;

/// Runs every input in the corpus of a target; a failing one is named.
fn replay(name: &str) {
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    run(&[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        let data = fs::read(&input).unwrap();
        assert!(catch_unwind(|| run(&data)).is_ok(), "input {}", input.display());
    }
}

#[test]
fn frames_of_the_corpus_break_nothing() {
    replay("frame");
}

#[test]
fn texts_of_the_corpus_break_nothing() {
    replay("json");
}

#[test]
fn ops_of_the_corpus_break_nothing() {
    replay("op");
}

#[test]
fn histories_of_the_corpus_break_nothing() {
    replay("replica");
}

#[test]
fn damaged_stores_of_the_corpus_break_nothing() {
    replay("store");
}

/// The fuzzer damages a store that this version reads.
#[test]
fn the_store_that_is_damaged_is_sound_before() {
    let folder = TempDir::new().unwrap();
    for file in ["log.sqlite", "log.sqlite-wal"] {
        fs::copy(fuzz::store::folder().join(file), folder.path().join(file)).unwrap();
    }
    let store = Store::open_existing(&folder.path().join("log.sqlite")).unwrap();
    let count = |room| {
        let mut ops = 0;
        let counted = store.for_each_arrived(room, |_| -> Result<(), StoreError> {
            ops += 1;
            Ok(())
        });
        counted.map(|()| ops)
    };
    assert_eq!(count(forge::room(0).id()).unwrap(), 8, "five in the file, three in the other");
    assert_eq!(count(forge::room(1).id()).unwrap(), 2);
}

/// The first five ops of one room and one of the other are in the file, the rest is in the
/// write-ahead file.
#[test]
#[ignore = "writes the files that the fuzzer damages"]
fn make_the_store() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.sqlite");
    let pages = "PRAGMA page_size = 512; PRAGMA journal_mode = wal; VACUUM;";
    assert!(Command::new("sqlite3").arg(&path).arg(pages).status().unwrap().success());
    let mut records = [0, 1].map(room_records);
    let rest = [records[0].split_off(6), records[1].split_off(2)];
    let mut store = Store::open(&path, StoreId::from_bytes([1; 32])).unwrap();
    store.append(records.iter().flatten()).unwrap();
    drop(store);
    let mut store = Store::open_existing(&path).unwrap();
    store.append(rest.iter().flatten()).unwrap();
    fs::create_dir_all(fuzz::store::folder()).unwrap();
    for file in ["log.sqlite", "log.sqlite-wal"] {
        fs::copy(folder.path().join(file), fuzz::store::folder().join(file)).unwrap();
    }
}

/// A room, its marks and a chain of ops; one is larger than a page.
fn room_records(number: usize) -> Vec<Record> {
    let (room, other) = (forge::room(number), StoreId::from_bytes([2; 32]));
    let mut records = vec![Record::Room { id: room.id(), name: Some(room.clone()) }];
    let key = forge::key(0);
    let mut tip = None;
    for place in 1..=[8, 2][number] {
        let text = format!("[{place},\"{}\"]", "x".repeat(if place == 4 { 900 } else { 1 }));
        let data = Canonical::parse(text.as_bytes()).unwrap();
        let mut head = forge::first(key.author(), room.id(), &data);
        head.depth = crdt_core::id::Depth::new(place).unwrap();
        let draft = Draft {
            room: room.id(),
            tip,
            preds: Vec::new(),
            refs: Vec::new(),
            depth: head.depth,
            ts: Timestamp::from_ms(1_000),
            kind: head.kind,
            data,
        };
        let op = Arc::new(draft.sign(&key).unwrap());
        tip = Some((op.head().seq, op.id()));
        let source = (place % 3 == 0).then_some(other);
        records.push(Record::Op { position: Position::new(place).unwrap(), source, op });
    }
    let position = Position::new(1).unwrap();
    records.push(Record::Pulled { room: room.id(), store: other, position });
    records.push(Record::Acked { room: room.id(), store: other, position });
    records
}
