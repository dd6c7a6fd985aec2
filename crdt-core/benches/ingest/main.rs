//! Ops admitted per second from wire frames, next to the rate of signature checks alone.
//!
//! `cargo bench -p crdt-core --bench ingest -- --n 1000000` prints the tables of
//! `docs/PERFORMANCE.md`. The two rates are taken in turns, frame by frame, on one thread: what
//! else the machine does slows both alike, so their ratio is steadier than either.
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod authors;

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::iter;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crdt_core::effect::{Input, Link, PeerId};
use crdt_core::id::{RoomName, StoreId};
use crdt_core::json::Value;
use crdt_core::key::EachTime;
use crdt_core::limits;
use crdt_core::log::{Log, Verdict};
use crdt_core::message::{Hello, Message, Received};
use crdt_core::op::RawOp;
use crdt_core::replica::{Config, Replica, Rooms};
use crdt_core::time::Timestamp;

use authors::{Authors, Shape};

/// Ops made ahead of those that are fed in: what the bench itself holds in memory. Also the pieces
/// that come last first: a replica lets so many wait for their past.
const CHUNK_OPS: u32 = 2_000;
/// Fewer ops than this are fed in again and again, each time to an empty replica.
const OPS_MIN: u32 = 20_000;
/// Fewer ops than this take too little memory to be told from the rest of the process.
const MEMORY_OPS_MIN: u32 = 100_000;
/// Ops of the rows that differ in something else than n.
const OTHER_SHAPE_OPS: u32 = 100_000;
/// The largest n, unless another is given.
const N_DEFAULT: u32 = 100_000;
/// The only n where the bench runs as a test.
const N_AS_TEST: u32 = 50;
/// Call depths at which work is done in turns, together more than 4 KiB of stack: see [`at_depth`].
const DEPTHS: usize = 64;

const PEER: PeerId = PeerId(1);
const PEER_STORE: StoreId = StoreId::from_bytes([2; 32]);
const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Eight authors who all write at the same time, one transaction an op.
const BUSY: Shape = Shape { entries: 1, authors: 8, at_once: 8, reversed: false };

/// As many heads as authors, at every time.
const CROWD: Shape = Shape { authors: 1_000, at_once: 1_000, ..BUSY };

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    // Absent when tests are run with all targets. Other arguments are meant for other targets.
    let as_bench = arguments.iter().any(|argument| argument == "--bench");
    let after = |word: &str| arguments.iter().skip_while(|argument| *argument != word).nth(1);
    let n_default = if as_bench { N_DEFAULT } else { N_AS_TEST };
    let n_max = after("--n").map_or(Ok(n_default), |n| n.parse())?;
    let rows = rows(n_max);
    if let Some(row) = after("--row") {
        let (shape, n) = rows.get(row.parse::<usize>()?).ok_or("there is no such row")?;
        return measure(*shape, *n);
    }

    println!(
        "| entries per op | authors | at once | comes | n | bytes per op | `verify_strict` alone, per s \
         | ops admitted per s | entries per s | share | share in the last tenth | order, µs per op \
         | memory, bytes per op |"
    );
    println!("|--:|--:|--:|---|{}", "--:|".repeat(9));
    for (row, (shape, n)) in rows.into_iter().enumerate() {
        if as_bench {
            in_a_process_of_its_own(row, n_max)?;
        } else {
            measure(shape, n)?;
        }
    }

    println!(
        "\n| entries per op | µs to parse | to hash | to check the signature | graph, rest \
         | beside: `verify_strict` |"
    );
    println!("|{}", "--:|".repeat(6));
    for entries in [1, 100] {
        stages(Shape { entries, ..BUSY }, n_max.min(OPS_MIN))?;
    }
    Ok(())
}

/// All rows up to a largest n.
fn rows(n_max: u32) -> Vec<(Shape, u32)> {
    let sizes: Vec<u32> = iter::successors(Some(1_000_u32), |n| n.checked_mul(10))
        .take_while(|n| *n < n_max)
        .chain([n_max])
        .collect();
    let of_all_sizes = [
        BUSY,
        Shape { authors: 1_000, ..BUSY },
        Shape { reversed: true, ..BUSY },
        CROWD,
        Shape { entries: 100, ..BUSY },
    ];
    let of_one_size = [Shape { at_once: 1, ..BUSY }, Shape { entries: 256, ..BUSY }];
    let all = of_all_sizes.iter().flat_map(|shape| sizes.iter().map(|n| (*shape, *n)));
    let other = of_one_size.iter().map(|shape| (*shape, n_max.min(OTHER_SHAPE_OPS)));
    all.chain(other).collect()
}

/// Memory that an earlier row gave back would be taken again unseen.
fn in_a_process_of_its_own(row: usize, n_max: u32) -> io::Result<()> {
    let (row, n) = (row.to_string(), n_max.to_string());
    let arguments = ["--bench", "--row", &row, "--n", &n];
    let ended = Command::new(std::env::current_exe()?).args(arguments).status()?;
    if ended.success() { Ok(()) } else { Err(io::Error::other("a row could not be measured")) }
}

/// What feeding ops in took.
#[derive(Default)]
struct Measured {
    frames: usize,
    bytes: usize,
    all: Times,
    /// Those of the last tenth of the ops: of all, where the cost grows, the most expensive.
    last: Times,
    order: Duration,
    /// Bytes of memory per op.
    memory: Option<u64>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    ops: u32,
    verify: Duration,
    ingest: Duration,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.ops += other.ops;
        self.verify += other.verify;
        self.ingest += other.ingest;
    }
}

/// Measures one shape at one n and prints the figures.
fn measure(shape: Shape, n: u32) -> Result<(), Failure> {
    let mut measured = Measured::default();
    for _ in 0..(OPS_MIN / n).clamp(1, 20) {
        feed(shape, n, &mut measured)?;
    }
    let Measured { all, last, .. } = measured;
    let order = micros(measured.order, all.ops);
    let verify = micros(all.verify, all.ops);
    let admit = micros(all.ingest, all.ops) + order;
    let last_verify = micros(last.verify, last.ops);
    let last_admit = micros(last.ingest, last.ops) + order;
    println!(
        "| {} | {} | {} | {} | {n} | {} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} % | {order:.2} | {} |",
        shape.entries,
        shape.authors,
        shape.at_once,
        if shape.reversed { "reversed" } else { "in order" },
        measured.bytes / usize::try_from(all.ops)?,
        1e6 / verify,
        1e6 / admit,
        1e6 / admit * f64::from(shape.entries),
        100.0 * verify / admit,
        100.0 * last_verify / last_admit,
        measured.memory.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
    );
    Ok(())
}

/// Feeds n ops to an empty replica, frame by frame, and adds what that took.
fn feed(shape: Shape, n: u32, measured: &mut Measured) -> Result<(), Failure> {
    let room = RoomName::parse("main")?.id();
    let mut authors = Authors::new(shape, room)?;
    let mut replica = relayer();
    let (mut done, mut memory_at_start) = (0, None);
    while done < n {
        let pages = authors.pages(CHUNK_OPS.min(n - done))?;
        // The first and the last time with as many frames in memory.
        if done == 0 {
            memory_at_start = memory_in_use();
        } else if n >= MEMORY_OPS_MIN && n - done <= CHUNK_OPS {
            let grown = memory_in_use().zip(memory_at_start);
            let grown = grown.map(|(now, at_start)| now.saturating_sub(at_start));
            measured.memory = grown.map(|bytes| bytes / u64::from(done));
        }
        for page in &pages {
            let depth = measured.frames % DEPTHS;
            measured.frames += 1;
            measured.bytes += page.frame.len();
            let ops = u32::try_from(page.signed.len())?;
            let (good, verify) = at_depth(depth, || timed(|| authors.verify(page)));
            if !good {
                return Err("a good signature is refused".into());
            }
            // As if just read from a connection; frees one frame, not what the bench holds.
            let frame = page.frame.clone();
            let ((), ingest) = at_depth(depth, || timed(|| ingest(&mut replica, &frame)));
            let times = Times { ops, verify, ingest };
            done += ops;
            measured.all.add(times);
            if done > n - n / 10 {
                measured.last.add(times);
            }
        }
    }
    measured.order += timed(|| replica.log_digest(room)).1;
    let status = replica.status(room).ok_or("the replica has no such room")?;
    if status.ops == u64::from(n) { Ok(()) } else { Err("an op is not admitted".into()) }
}

fn ingest(replica: &mut Replica, frame: &[u8]) {
    drop(replica.handle(NOW, Input::received(PEER, frame)));
    drop(replica.handle(NOW, Input::Flush));
}

/// Each stage of the way in by itself, one frame at a time.
fn stages(shape: Shape, ops: u32) -> Result<(), Failure> {
    let room = RoomName::parse("main")?.id();
    let mut authors = Authors::new(shape, room)?;
    let mut log = Log::new(room, 1);
    let [mut decode, mut hash, mut verify, mut check, mut receive] = [Duration::ZERO; 5];
    for (frame, page) in authors.pages(ops)?.into_iter().enumerate() {
        let depth = frame % DEPTHS;
        verify += at_depth(depth, || timed(|| authors.verify(&page))).1;
        check += at_depth(depth, || timed(|| authors.check(&page))).1;
        let raw = raw_ops(&page.frame)?;
        let hash_all = || raw.into_iter().map(RawOp::check_hash).collect::<Vec<_>>();
        hash += timed(hash_all).1;
        let (received, time) = timed(|| Received::decode(&page.frame));
        decode += time;
        let Received::Ops(batch) = received? else { return Err("not a frame of ops".into()) };
        let mut admitted = Vec::new();
        let receive_all = || {
            let receive = |op| log.receive(op, PEER_STORE, &mut admitted) == Verdict::Stored;
            batch.ops.into_iter().flatten().all(receive)
        };
        let (stored, time) = at_depth(depth, || timed(receive_all));
        receive += time;
        if !stored || admitted.len() != page.signed.len() {
            return Err("an op is not admitted".into());
        }
    }
    let [decode, hash, verify, check, receive] =
        [decode, hash, verify, check, receive].map(|time| micros(time, ops));
    let (entries, parse, rest) = (shape.entries, decode - hash, receive - check);
    println!("| {entries} | {parse:.1} | {hash:.1} | {check:.1} | {rest:.1} | {verify:.1} |");
    Ok(())
}

/// The ops of a frame, of which nothing is proven.
fn raw_ops(frame: &[u8]) -> Result<Vec<RawOp>, Failure> {
    let value = Value::parse(frame, limits::FRAME_DEPTH_MAX)?;
    let ops = value.member("ops").and_then(Value::as_array).unwrap_or_default();
    Ok(ops.iter().map(RawOp::decode).collect::<Result<_, _>>()?)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = black_box(work());
    (result, start.elapsed())
}

fn micros(time: Duration, ops: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(ops)
}

/// Calls `work` further down the stack. On some processors a signature check takes up to a quarter
/// longer where its place on the stack and its tables agree in the lowest 12 bits of the address.
/// That place is drawn anew whenever a process starts, and two callers differ in it; going through
/// all places takes the luck out of the figures.
#[inline(never)]
fn at_depth<T>(depth: usize, work: impl FnOnce() -> T) -> T {
    let space = black_box([0_u8; 128]);
    let result = if depth == 0 { work() } else { at_depth(depth - 1, work) };
    black_box(&space);
    result
}

/// Bytes of memory this process has in use, where the system tells.
fn memory_in_use() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// A relayer to which one peer has said hello.
fn relayer() -> Replica {
    let mut replica = Replica::new(Config {
        store: StoreId::from_bytes([1; 32]),
        agent: "bench".into(),
        rooms: Rooms::OnDemand,
        key: None,
        seed: [1; 32],
        allowed: None,
        signatures: Arc::new(EachTime),
    });
    let window = limits::WINDOW_BYTES;
    let hello = Message::Hello(Hello::new("bench", PEER_STORE, window)).encode();
    drop(replica.handle(NOW, Input::PeerUp(PEER, Link::ACCEPTED)));
    ingest(&mut replica, hello.as_bytes());
    replica
}
