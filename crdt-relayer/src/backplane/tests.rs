//! A whole relayer on a bus in memory.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use crdt_core::effect::{Event, Record};
use crdt_core::id::{OpId, RoomId, StoreId};
use crdt_core::limits;
use crdt_core::message::{Hello, Message, encode_ops};
use futures_util::future::{Ready, ready};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::ask::Ask;
use super::bus::{Heard, Posted, Stream};
use super::*;
use crate::driver::{Events, WhenFull};
use crate::error::StoreError;
use crate::fixtures::{chain, room};
use crate::relayer::{Relayer, RelayerConfig};
use crate::store::Store;

/// Longest wait for what must happen.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// A stream in memory, and everything that was done with it.
#[derive(Debug, Default)]
struct Line {
    messages: Vec<(RoomId, Bytes)>,
    asks: Vec<Bytes>,
    read_after: VecDeque<u64>,
    /// Whether nothing that is posted is told.
    quiet: bool,
}

#[derive(Clone, Debug)]
struct Memory {
    line: Arc<Mutex<Line>>,
    changed: watch::Sender<()>,
}

impl Memory {
    fn new() -> Self {
        Self { line: Arc::default(), changed: watch::channel(()).0 }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let changed = change(&mut self.line.lock().unwrap());
        self.changed.send_replace(());
        changed
    }

    fn post_text(&self, text: &str) {
        self.with(|line| line.messages.push((room(), Bytes::copy_from_slice(text.as_bytes()))));
    }

    fn posted(&self, id: OpId) -> usize {
        let id = id.to_string();
        let is = |text: &Bytes| String::from_utf8_lossy(text).contains(&format!("\"id\":\"{id}\""));
        self.with(|line| line.messages.iter().filter(|(_, text)| is(text)).count())
    }

    /// Waits until the line is as it should be.
    async fn until(&self, is: impl Fn(&Line) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !is(&self.line.lock().unwrap()) {
                changed.changed().await.unwrap();
            }
        };
        timeout(WAIT_MAX, waiting).await.expect("it comes to pass");
    }
}

struct MemoryBus {
    memory: Memory,
    changed: watch::Receiver<()>,
    place: usize,
    asks: usize,
    reads: bool,
}

impl Engine for Memory {
    type Bus = MemoryBus;

    fn address(&self) -> &'static str {
        "memory"
    }

    async fn connect(&self) -> Result<MemoryBus, String> {
        let (memory, changed) = (self.clone(), self.changed.subscribe());
        let asks = self.line.lock().unwrap().asks.len();
        Ok(MemoryBus { memory, changed, place: 0, asks, reads: false })
    }
}

impl Bus for MemoryBus {
    type Receipt = Ready<Result<u64, String>>;

    fn stream(&self) -> Stream {
        let last = self.memory.line.lock().unwrap().messages.len() as u64;
        Stream { identity: [7; 32], first: 1, last }
    }

    async fn at(&self, seq: u64) -> Result<Option<Bytes>, String> {
        let index = usize::try_from(seq).unwrap() - 1;
        Ok(self.memory.with(|line| line.messages.get(index).map(|(_, text)| text.clone())))
    }

    async fn post(&self, room: RoomId, _: OpId, text: Bytes) -> Result<Self::Receipt, String> {
        let seq = self.memory.with(|line| {
            line.messages.push((room, text));
            line.messages.len() as u64
        });
        Ok(ready(Ok(seq)))
    }

    async fn ask(&self, payload: Vec<u8>) -> Result<(), String> {
        self.memory.with(|line| line.asks.push(payload.into()));
        Ok(())
    }

    async fn read_after(&mut self, seq: u64) -> Result<(), String> {
        (self.place, self.reads) = (usize::try_from(seq).unwrap(), true);
        self.memory.with(|line| line.read_after.push_back(seq));
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, String> {
        loop {
            {
                let line = self.memory.line.lock().unwrap();
                if let Some(ask) = line.asks.get(self.asks) {
                    self.asks += 1;
                    return Ok(Heard::Asked(ask.clone()));
                }
                let new: Vec<Posted> = (1_u64..)
                    .zip(&line.messages)
                    .skip(self.place)
                    .filter(|_| self.reads && !line.quiet)
                    .map(|(seq, (room, text))| Posted {
                        seq,
                        room: Some(*room),
                        payload: text.clone(),
                    })
                    .collect();
                if !new.is_empty() {
                    self.place += new.len();
                    return Ok(Heard::Posted(new));
                }
            }
            self.changed.changed().await.map_err(|_| "gone")?;
        }
    }
}

/// A relayer on the bus, in a folder.
struct Running {
    relayer: Relayer,
    bus: JoinHandle<()>,
    events: mpsc::Receiver<Vec<Event>>,
    _told: mpsc::Receiver<LinkEvent>,
}

impl Running {
    async fn start(folder: &Path, memory: &Memory) -> Self {
        let (sender, events) = mpsc::channel(10_000);
        let config = RelayerConfig {
            events: Some(Events { sender, wanted: |_| true, when_full: WhenFull::Drop }),
            ..RelayerConfig::at(folder.to_owned(), "127.0.0.1:0".parse().unwrap())
        };
        let relayer = Relayer::start(config).await.unwrap();
        let (links, told) = mpsc::channel(64);
        let notes = Notes::open(folder).unwrap();
        let bus = tokio::spawn(keep(relayer.driver().clone(), memory.clone(), notes, links));
        Self { relayer, bus, events, _told: told }
    }

    /// Waits until so many more ops are in the log.
    async fn admits(&mut self, mut ops: usize) {
        while ops > 0 {
            let events = timeout(WAIT_MAX, self.events.recv()).await.expect("an op comes");
            let is_op = |event: &&Event| matches!(event, Event::Admitted { .. });
            ops -= events.iter().flatten().filter(is_op).count();
        }
    }

    async fn stop(self) {
        self.bus.abort();
        self.relayer.stop().await.unwrap();
    }
}

/// How far the store in a folder says that it has taken a stream.
fn claimed(folder: &Path) -> u64 {
    let store = Store::open_read(&folder.join(crate::home::STORE_FILE)).unwrap();
    let mut highest = 0;
    store
        .replay(|record| {
            if let Record::Pulled { position, .. } = record {
                highest = highest.max(position.number());
            }
            Ok::<(), StoreError>(())
        })
        .unwrap();
    highest
}

/// Waits until the store claims this place.
async fn until_claimed(folder: &Path, place: u64) {
    until_equal(|| claimed(folder), place).await;
}

/// How far the notes in a folder say that ops were posted.
fn noted(folder: &Path) -> u64 {
    let path = folder.join(notes::NOTES_FILE);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let position: Option<i64> =
        db.query_row("SELECT max(position) FROM sent", [], |row| row.get(0)).unwrap();
    position.unwrap_or(0).try_into().unwrap()
}

async fn until_equal(look: impl Fn() -> u64, place: u64) {
    let deadline = Instant::now() + WAIT_MAX;
    while look() != place {
        assert!(Instant::now() < deadline, "it is {}, not {place}", look());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_in_reverse_order_are_all_taken_and_not_read_again() {
    let (folder, memory) = (TempDir::new().unwrap(), Memory::new());
    for op in chain(1, 30).iter().rev() {
        memory.post_text(&op.to_string());
    }
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(30).await;
    until_claimed(folder.path(), 30).await;
    relayer.stop().await;
    memory.with(|line| line.read_after.clear());
    let relayer = Running::start(folder.path(), &memory).await;
    memory.until(|line| line.read_after == [30]).await;
    relayer.stop().await;
    assert_eq!(memory.with(|line| line.messages.len()), 30, "nothing was posted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_dependency_is_read_again_after_a_restart() {
    let (folder, memory) = (TempDir::new().unwrap(), Memory::new());
    let (waiting, other) = (chain(1, 2), chain(2, 1));
    memory.post_text(&other[0].to_string());
    memory.post_text(&waiting[1].to_string());
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(1).await;
    until_claimed(folder.path(), 1).await;
    relayer.stop().await;
    memory.with(|line| line.read_after.clear());
    let mut relayer = Running::start(folder.path(), &memory).await;
    memory.until(|line| line.read_after.front() == Some(&1)).await;
    memory.post_text(&waiting[0].to_string());
    relayer.admits(2).await;
    until_claimed(folder.path(), 3).await;
    relayer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_lacks_is_asked_of_the_others_who_post_it() {
    let (one, two, memory) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Memory::new());
    let ops = chain(1, 2);
    let mut has = Running::start(one.path(), &memory).await;
    for op in &ops {
        memory.post_text(&op.to_string());
    }
    has.admits(2).await;
    until_claimed(one.path(), 2).await;
    // The stream loses the first op; another relayer begins with what is left.
    let garbage = Bytes::from_static(b"garbage");
    memory.with(|line| line.messages[0].1 = garbage);
    let mut lacks = Running::start(two.path(), &memory).await;
    lacks.admits(2).await;
    assert_eq!(memory.posted(ops[0].id()), 1);
    assert_eq!(memory.posted(ops[1].id()), 1);
    has.stop().await;
    lacks.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_forged_ops_do_not_stop_a_good_one() {
    let (folder, memory) = (TempDir::new().unwrap(), Memory::new());
    for op in chain(1, 1_000) {
        // The envelope ends with the signature.
        let text = op.to_string();
        let (rest, end) = text.split_at(text.len() - 3);
        let digit = if end.starts_with('0') { '1' } else { '0' };
        memory.post_text(&format!("{rest}{digit}\"}}"));
    }
    memory.post_text(&"[".repeat(100_000));
    memory.post_text(&chain(2, 1)[0].to_string());
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(1).await;
    until_claimed(folder.path(), 1_002).await;
    relayer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_end_is_another_is_another_store() {
    let (folder, memory) = (TempDir::new().unwrap(), Memory::new());
    let (kept, lost, written) = (chain(1, 2), chain(2, 2), chain(3, 3));
    for op in kept.iter().chain(&lost) {
        memory.post_text(&op.to_string());
    }
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(4).await;
    until_claimed(folder.path(), 4).await;
    relayer.stop().await;
    memory.with(|line| line.messages.truncate(2));
    memory.with(|line| line.read_after.clear());
    for op in &written {
        memory.post_text(&op.to_string());
    }
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(3).await;
    memory.until(|line| line.messages.len() >= 9).await;
    for op in &lost {
        assert_eq!(memory.posted(op.id()), 1);
    }
    assert_eq!(memory.with(|line| line.read_after.front().copied()), Some(0));
    relayer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_posted_and_never_read_again_is_missed_when_it_is_lost() {
    let (folder, memory) = (TempDir::new().unwrap(), Memory::new());
    memory.with(|line| line.quiet = true);
    let mut relayer = Running::start(folder.path(), &memory).await;
    let lost = chain(1, 2);
    let driver = relayer.relayer.driver();
    let publisher = LocalPeer::connect(driver, Link::ACCEPTED, None).await.unwrap();
    let hello = Hello::new("test", StoreId::from_bytes([2; 32]), limits::WINDOW_BYTES);
    publisher.send(&Message::Hello(hello).encode()).await.unwrap();
    publisher.send(&encode_ops(room(), &lost, None, &[])).await.unwrap();
    relayer.admits(2).await;
    until_equal(|| noted(folder.path()), 2).await;
    publisher.close().await;
    relayer.stop().await;
    memory.with(|line| (line.messages.clear(), line.quiet = false));
    for op in &chain(2, 3) {
        memory.post_text(&op.to_string());
    }
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(3).await;
    memory.until(|line| line.messages.len() >= 5).await;
    for op in &lost {
        assert_eq!(memory.posted(op.id()), 1);
    }
    relayer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_for_what_is_not_here_is_no_reason_to_post() {
    let (folder, memory) = (TempDir::new().unwrap(), Memory::new());
    let ops = chain(1, 2);
    memory.post_text(&ops[0].to_string());
    let mut relayer = Running::start(folder.path(), &memory).await;
    relayer.admits(1).await;
    until_claimed(folder.path(), 1).await;
    let from = StoreId::from_bytes([1; 32]);
    let ids = vec![ops[1].id(), ops[0].id()];
    let ask = |room, ids: Vec<OpId>| Ask { from, room, ids }.encode();
    for text in [
        ask(RoomId::from_bytes([0; 32]), ids.clone()),
        encode_ops(room(), [], None, &[]).as_bytes().to_vec(),
        ask(room(), ids),
    ] {
        memory.with(|line| line.asks.push(text.into()));
    }
    // Of the two the one that is here is posted.
    memory.until(|line| line.messages.len() == 2).await;
    assert_eq!((memory.posted(ops[0].id()), memory.posted(ops[1].id())), (2, 0));
    relayer.stop().await;
}
