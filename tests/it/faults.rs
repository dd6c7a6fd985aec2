//! A disk that fails in the middle of something: the node is killed at each sync in turn, writes
//! and syncs return errors, and what was written last is torn. `strace` makes the faults.
//!
//! What must hold each time, whatever failed: the log reopens as a closed prefix of what was
//! written (`verify` finds every dependency and signature), nothing that was reported durable is
//! missing, and the node goes on in its own chain without forking it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::{Process, WAIT_MAX};
use tempfile::TempDir;

/// Syncs of the store in turn at which a node is killed.
const KILLS: u32 = 50;

/// Lines written to a node: more than there are syncs to be killed at.
const LINES: u64 = 60;

/// Pages in the write-ahead file of the prepared home. At a thousand `SQLite` moves them into the
/// store, which the lines of a run bring about.
const PAGES: usize = 985;

const KILL: i32 = 9;

/// The home of a node that was killed after a few lines, with a write-ahead file that is nearly
/// full, and what its machine knows of its key.
struct Prepared {
    home: TempDir,
    machine: TempDir,
}

impl Prepared {
    fn new() -> Self {
        let cluster = Cluster::new();
        cluster.init("alice");
        let relayer = cluster.relayer();
        let mut alice = cluster.node("alice", &["--headless"]);
        for line in 0..3 {
            alice.line(&format!("before {line}"));
            alice.event("durable");
        }
        alice.kill();
        relayer.kill();
        let home = cluster.home("alice");
        let store = home.join("log.sqlite");
        let wal = |store: &Path| fs::metadata(wal_of(store)).unwrap().len();
        let pages = usize::try_from(wal(&store)).unwrap() / 4096;
        // Writes one page each time, and changes nothing.
        let fill = "PRAGMA user_version = 1;".repeat(PAGES - pages);
        let settings = ".dbconfig no_ckpt_on_close on";
        let filled = Command::new("sqlite3").arg(&store).arg(settings).arg(fill).output().unwrap();
        assert!(filled.status.success() && wal(&store) > 4096 * PAGES as u64, "{filled:?}");
        let [kept, machine] = [(); 2].map(|()| TempDir::new().unwrap());
        copy(&home, kept.path());
        copy(&cluster.machine(), machine.path());
        Self { home: kept, machine }
    }

    /// A relayer of its own, because two copies of one home would contradict each other, and the
    /// home.
    fn cluster(&self) -> (Cluster, Process) {
        let cluster = Cluster::new();
        let relayer = cluster.relayer();
        copy(self.home.path(), &cluster.home("alice"));
        copy(self.machine.path(), &cluster.machine());
        (cluster, relayer)
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

fn wal_of(store: &Path) -> PathBuf {
    store.with_file_name("log.sqlite-wal")
}

/// What a run came to.
struct Ran {
    /// Texts of the lines reported durable.
    durable: Vec<String>,
    status: ExitStatus,
    errors: String,
}

/// What `strace` is told: a fault to inject, counted on one file only if one is given.
fn options(fault: &str, file: Option<&Path>) -> Vec<OsString> {
    let (calls, _) = fault.split_once(':').unwrap();
    let inject = ["-e".into(), format!("trace={calls}"), "-e".into(), format!("inject={fault}")];
    let of_file = file.into_iter().flat_map(|file| ["-P".into(), file.into()]);
    inject.into_iter().map(OsString::from).chain(of_file).collect()
}

fn borrowed(options: &[OsString]) -> Vec<&OsStr> {
    options.iter().map(OsString::as_os_str).collect()
}

/// Writes line after line, each once the one before is durable, until all are or the node has
/// ended.
fn run_with_fault(cluster: &Cluster, fault: &str, file: Option<&Path>) -> Ran {
    let options = options(fault, file);
    let mut node = cluster.node_with_faults("alice", &borrowed(&options));
    let (mut durable, deadline) = (Vec::new(), Instant::now() + WAIT_MAX);
    'lines: for line in 1..=LINES {
        node.try_write(&format!("line {line}\n"));
        loop {
            let Some(event) = node.next_before(deadline) else { break 'lines };
            if event["event"] == "durable" {
                assert_eq!(event["line"], line);
                durable.push(format!("line {line}"));
                break;
            }
        }
    }
    let (status, errors) = node.end();
    Ran { durable, status, errors }
}

/// Opens the log again, goes on, and checks every promise.
fn assert_sound_and_goes_on(cluster: &Cluster, durable: &[String], fault: &str) {
    let verified = cluster.command("verify", "alice", &[]);
    assert!(verified.status.success(), "{fault}: {}", String::from_utf8_lossy(&verified.stdout));
    let mut alice = cluster.node("alice", &[]);
    alice.line("after");
    // At the end of its input it ends well once it is relayed and in sync.
    alice.end_well();
    cluster.output("verify", "alice", &[]);
    assert_eq!(cluster.room("alice")["evidence"], 0, "{fault}: the node forked its chain");
    let notes = cluster.notes("alice", None);
    for text in
        durable.iter().map(String::as_str).chain(["before 0", "before 1", "before 2", "after"])
    {
        let times = notes.iter().filter(|note| *note == text).count();
        assert_eq!(times, 1, "{fault}: {text:?} is in the log {times} times");
    }
    let written = notes.iter().filter(|note| note.starts_with("line ")).count();
    let lines = (1..=written).map(|line| format!("line {line}"));
    assert!(lines.eq(notes[3..3 + written].iter().cloned()), "{fault}: no prefix: {notes:?}");
}

#[test]
fn a_kill_at_any_sync_loses_nothing_durable_and_forks_no_chain() {
    let prepared = Prepared::new();
    let next = AtomicU32::new(1);
    let kill_each = || {
        let (mut moved, mut durable) = (0, 0);
        loop {
            let sync = next.fetch_add(1, Ordering::Relaxed);
            if sync > KILLS {
                return [moved, durable];
            }
            let (cluster, relayer) = prepared.cluster();
            let store = cluster.home("alice").join("log.sqlite");
            let before = fs::read(&store).unwrap();
            let fault = format!("fsync,fdatasync:signal=KILL:when={sync}");
            let ran = run_with_fault(&cluster, &fault, None);
            assert_eq!(ran.status.signal(), Some(KILL), "{fault}: {} {}", ran.status, ran.errors);
            moved += usize::from(fs::read(&store).unwrap() != before);
            durable += ran.durable.len();
            assert_sound_and_goes_on(&cluster, &ran.durable, &fault);
            relayer.stop();
        }
    };
    let [moved, durable] = thread::scope(|scope| {
        let killers = [(); 4].map(|()| scope.spawn(kill_each));
        let each = killers.map(|killer| killer.join().unwrap());
        [0, 1].map(|index| each.iter().map(|of_one| of_one[index]).sum::<usize>())
    });
    let kills = usize::try_from(KILLS).unwrap();
    assert!((1..kills).contains(&moved), "some died before the store itself was written to");
    assert!(durable > kills, "{durable} lines were durable before a kill");
}

/// Where a system call fails, with which error, and what the node says when it stops.
const FAILURES: [(&str, &str, &str, Option<&str>); 12] = [
    ("pwrite64", "ENOSPC", "1", WAL_FULL),
    ("pwrite64", "ENOSPC", "2", WAL_FULL),
    ("pwrite64", "ENOSPC", "7+", WAL_FULL),
    ("pwrite64", "EIO", "1", WAL_FAILED),
    ("pwrite64", "EIO", "8+", WAL_FAILED),
    ("fsync,fdatasync", "EIO", "1", WAL_FAILED),
    ("fsync,fdatasync", "EIO", "2", WAL_FAILED),
    ("fsync,fdatasync", "EIO", "9+", WAL_FAILED),
    ("fsync,fdatasync", "ENOSPC", "3", WAL_FAILED),
    ("pwrite64", "ENOSPC", "1", None),
    ("pwrite64", "EIO", "2+", None),
    ("fsync,fdatasync", "EIO", "1+", None),
];

/// A write to the write-ahead file finds no space.
const WAL_FULL: Option<&str> = Some("the disk is full; everything acknowledged so far is safe");

/// A write to the write-ahead file, or its sync, fails.
const WAL_FAILED: Option<&str> = Some("everything acknowledged so far is safe");

/// A write to the write-ahead file that fails, or its sync, stops the node: it must not go on as if
/// the sync after that could still make up for it. Those of the store itself (`None`) only move
/// what the write-ahead file holds and keeps until it was moved, so the node may go on.
#[test]
fn a_failed_write_or_sync_stops_the_node_with_a_sentence() {
    let prepared = Prepared::new();
    for (call, error, when, says) in FAILURES {
        let (cluster, relayer) = prepared.cluster();
        let store = cluster.home("alice").join("log.sqlite");
        let file = if says.is_some() { wal_of(&store) } else { store };
        let fault = format!("{call}:error={error}:when={when}");
        let ran = run_with_fault(&cluster, &fault, Some(&file));
        let lines = ran.durable.len() as u64;
        if let Some(says) = says {
            assert_eq!(ran.status.code(), Some(3), "{fault}: {} {}", ran.status, ran.errors);
            assert!(ran.errors.contains(says), "{fault}: {}", ran.errors);
            assert!(lines < LINES, "{fault}: nothing failed");
        } else {
            assert!(ran.status.success() && lines == LINES, "{fault}: {lines} {}", ran.errors);
        }
        assert_sound_and_goes_on(&cluster, &ran.durable, &fault);
        relayer.stop();
    }
}

/// What a disk does that loses or changes bytes it had said were safe. `SQLite` reads its
/// write-ahead file up to the first frame whose checksum, which covers all frames before, is wrong,
/// and back to the last end of a transaction. It reports nothing: a torn end looks the same after
/// any crash. So every line whose bytes are intact is there, the rest is gone together, and never
/// is the log anything else than a closed prefix. What the node loses so it gets back from its
/// peers.
#[test]
fn a_damaged_write_ahead_file_gives_a_closed_prefix() {
    const WRITTEN: usize = 8;
    let origin = Cluster::new();
    origin.init("alice");
    let relayer = origin.relayer();
    origin.output("send", "alice", &["before", "--relay", &origin.url()]);
    relayer.stop();
    // Nobody listens there: nothing but this disk has what is written.
    let nowhere = "ws://127.0.0.1:9/websocket";
    let home = origin.home("alice");
    let mut alice = origin.node_at("alice", &[nowhere], &[]);
    let ends: Vec<usize> = (1..=WRITTEN)
        .map(|line| {
            alice.line(&format!("line {line}"));
            alice.event("durable");
            fs::read(home.join("log.sqlite-wal")).unwrap().len()
        })
        .collect();
    alice.kill();
    let wal = fs::read(home.join("log.sqlite-wal")).unwrap();
    assert_eq!(ends.last(), Some(&wal.len()));

    let last = wal.len() - 1;
    let inner = [ends[2], ends[2] + 5, ends[2] + 24, ends[3] - 1, ends[5], last];
    for at in [0, 1, 16, 31, 32, ends[0] - 1].into_iter().chain(inner) {
        let intact = ends.iter().filter(|end| **end <= at).count();
        let lines = (1..=intact).map(|line| format!("line {line}"));
        let expected: Vec<String> = ["before".to_owned()].into_iter().chain(lines).collect();
        let mut flipped = wal.clone();
        flipped[at] ^= 0x10;
        let mut zeroed = wal.clone();
        zeroed[at..].fill(0);
        for (what, bytes) in [("cut", &wal[..at]), ("flipped", &flipped), ("zeroed", &zeroed)] {
            let cluster = Cluster::new();
            copy(&home, &cluster.home("alice"));
            fs::write(cluster.home("alice").join("log.sqlite-wal"), bytes).unwrap();
            cluster.output("verify", "alice", &[]);
            let notes = cluster.notes("alice", None);
            if what == "zeroed" {
                // Bytes that were zero before have not changed.
                assert!(notes.starts_with(&expected), "{what} at {at}: {notes:?}");
            } else {
                assert_eq!(notes, expected, "{what} at {at}");
            }
        }
    }
}

/// How a relayer ends that dies at a sync, or whose write or sync fails, and when. One that finds
/// no room goes on until it is told to stop.
const RELAYER_FAULTS: [(&str, Result<i32, i32>); 10] = [
    ("fsync,fdatasync:signal=KILL:when=1", Err(KILL)),
    ("fsync,fdatasync:signal=KILL:when=2", Err(KILL)),
    ("fsync,fdatasync:signal=KILL:when=3", Err(KILL)),
    ("fsync,fdatasync:signal=KILL:when=5", Err(KILL)),
    ("fsync,fdatasync:signal=KILL:when=9", Err(KILL)),
    ("fsync,fdatasync:error=EIO:when=3", Ok(3)),
    ("fsync,fdatasync:error=EIO:when=8+", Ok(3)),
    ("pwrite64:error=ENOSPC:when=2", Ok(0)),
    ("pwrite64:error=EDQUOT:when=2", Ok(0)),
    ("pwrite64:error=EIO:when=9", Ok(3)),
];

#[test]
fn what_a_relayer_acknowledged_is_on_its_disk_whatever_fails() {
    thread::scope(|scope| {
        for faults in [&RELAYER_FAULTS[..5], &RELAYER_FAULTS[5..]] {
            scope.spawn(move || {
                for (fault, end) in faults {
                    assert_relayed_is_kept(fault, *end);
                }
            });
        }
    });
}

/// Writes lines through a relayer until it ends as it must. What was relayed, somebody gets who
/// asks the relayer when it runs again.
fn assert_relayed_is_kept(fault: &str, end: Result<i32, i32>) {
    let cluster = Cluster::new();
    for name in ["alice", "bob"] {
        cluster.init(name);
    }
    // The store is there before anything fails, and so is its write-ahead file after the first op.
    cluster.relayer().stop();
    let wal = cluster.path().join("relayer/log.sqlite-wal");
    let mut options = options(fault, Some(&wal));
    if fault.contains("EDQUOT") {
        // A quota is used up for all files.
        let more = ["-e", "trace=pwrite64,write", "-e", "inject=write:error=EDQUOT", "-P"];
        options.extend(more.map(OsString::from));
        options.push(wal.with_file_name("room.tried").into());
    }
    let relayer = cluster.relayer_with_faults(&borrowed(&options));
    let mut alice = cluster.node("alice", &["--headless"]);
    let (mut safe, deadline) = (Vec::new(), Instant::now() + WAIT_MAX);
    'lines: for line in 1..=LINES {
        alice.line(&format!("line {line}"));
        loop {
            let event = alice.next_before(deadline).unwrap();
            if event["event"] == "relayed" {
                safe.push(event["op"].clone());
                break;
            }
            if event["event"] == "link" && event["state"] == "down" {
                break 'lines;
            }
        }
    }
    assert!((safe.len() as u64) < LINES, "{fault}: nothing failed");
    // Its own copy must not make good what the relayer lost.
    alice.kill();
    if end == Ok(0) {
        // The signal is for the relayer, not for what makes it fail.
        let strace = relayer.id().to_string();
        let told = Command::new("pkill").args(["-TERM", "-P", &strace]).status().unwrap();
        assert!(told.success(), "{fault}: it has ended by itself");
    }
    let (status, errors) = relayer.end();
    assert_eq!(status.code().ok_or(status.signal().unwrap_or(0)), end, "{fault}: {errors}");
    let relayer = cluster.relayer();
    let mut bob = cluster.node("bob", &[]);
    bob.end_input();
    bob.end_well();
    cluster.output("verify", "bob", &[]);
    let log = cluster.output("log", "bob", &["--json"]);
    for op in &safe {
        assert!(log.contains(op.as_str().unwrap()), "{fault}: {op} was relayed and is gone");
    }
    relayer.stop();
}
