//! Ops admitted per second from wire frames, next to the rate of signature checks alone.
//!
//! `cargo bench -p crdt-core --bench ingest -- --n 1000000` prints the tables of
//! `docs/PERFORMANCE.md`. The two rates are taken in turns, frame by frame, on one thread: what
//! else the machine does slows both alike, so their ratio is steadier than either.
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

use std::error::Error;
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crdt_core::effect::{Input, Link, PeerId};
use crdt_core::head::Kind;
use crdt_core::id::{Depth, OpId, RoomId, RoomName, Seq, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::{EachTime, PublicKey, SecretKey, Signature};
use crdt_core::limits;
use crdt_core::log::{Log, Verdict};
use crdt_core::message::{Hello, Message, Received, encode_ops};
use crdt_core::op::{Draft, Op, RawOp};
use crdt_core::rejection::Rejection;
use crdt_core::replica::{Config, Replica, Rooms};
use crdt_core::time::Timestamp;
use ed25519_dalek::VerifyingKey;

/// Ops made ahead of those that are fed in: what the bench itself holds in memory.
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

/// What an id is signed behind. Source: `docs/PROTOCOL.md`, "Hashes and signatures".
const SIGNED: &[u8] = b"bft-crdt/v1/sig\0";

const PEER: PeerId = PeerId(1);
const PEER_STORE: StoreId = StoreId::from_bytes([2; 32]);
const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Eight authors who all write at the same time, one transaction an op.
const BUSY: Shape = Shape { entries: 1, authors: 8, at_once: 8 };

type Failure = Box<dyn Error>;

/// Who writes what.
#[derive(Clone, Copy)]
struct Shape {
    /// Transactions in an op.
    entries: u32,
    /// Authors of the room, who write in turn.
    authors: u16,
    /// How many of them write at the same time: each names the ops written before by the others.
    at_once: u16,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    // Absent when tests are run with all targets. Other arguments are meant for other targets.
    let as_bench = arguments.iter().any(|argument| argument == "--bench");
    let given = arguments.iter().skip_while(|argument| *argument != "--n").nth(1);
    let n_default = if as_bench { N_DEFAULT } else { N_AS_TEST };
    let n_max = given.map_or(Ok(n_default), |n| n.parse())?;
    let sizes: Vec<u32> = iter::successors(Some(1_000_u32), |n| n.checked_mul(10))
        .take_while(|n| *n < n_max)
        .chain([n_max])
        .collect();

    println!(
        "| entries per op | authors | at once | n | bytes per op | `verify_strict` alone, per s \
         | ops admitted per s | entries per s | share | share in the last tenth | order, µs per op |"
    );
    println!("|{}", "--:|".repeat(11));
    // The largest n comes first: memory that earlier rows gave back would be taken again unseen.
    let mut memory = None;
    for entries in [1, 100] {
        for n in sizes.iter().rev() {
            let measured = row(Shape { entries, ..BUSY }, *n)?;
            memory = memory.or(measured.memory);
        }
    }
    for (authors, at_once) in [(8, 1), (1_000, 8)] {
        row(Shape { authors, at_once, ..BUSY }, n_max.min(OTHER_SHAPE_OPS))?;
    }
    if let Some(bytes) = memory {
        println!("\nMemory: {bytes} bytes per op at n = {n_max}.");
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
fn row(shape: Shape, n: u32) -> Result<Measured, Failure> {
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
        "| {} | {} | {} | {n} | {} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} % | {order:.2} |",
        shape.entries,
        shape.authors,
        shape.at_once,
        measured.bytes / usize::try_from(all.ops)?,
        1e6 / verify,
        1e6 / admit,
        1e6 / admit * f64::from(shape.entries),
        100.0 * verify / admit,
        100.0 * last_verify / last_admit,
    );
    Ok(measured)
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
            let ((), ingest) = at_depth(depth, || timed(|| ingest(&mut replica, frame)));
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

fn ingest(replica: &mut Replica, frame: Vec<u8>) {
    drop(replica.handle(NOW, Input::Received(PEER, frame)));
    drop(replica.handle(NOW, Input::Flush));
}

/// Each stage of the way in by itself, one frame at a time.
fn stages(shape: Shape, ops: u32) -> Result<(), Failure> {
    let room = RoomName::parse("main")?.id();
    let mut authors = Authors::new(shape, room)?;
    let mut log = Log::new(room, 1);
    let [mut parse, mut hash, mut verify, mut check, mut receive] = [Duration::ZERO; 5];
    for (frame, page) in authors.pages(ops)?.into_iter().enumerate() {
        let depth = frame % DEPTHS;
        verify += at_depth(depth, || timed(|| authors.verify(&page))).1;
        check += at_depth(depth, || timed(|| authors.check(&page))).1;
        let (received, time) = timed(|| Received::decode(&page.frame));
        parse += time;
        let Received::Ops(batch) = received? else { return Err("not a frame of ops".into()) };
        let check_hash = |op: Result<RawOp, Rejection>| op.and_then(RawOp::check_hash);
        let (hashed, time) = timed(|| batch.ops.into_iter().map(check_hash).collect::<Vec<_>>());
        hash += time;
        let mut admitted = Vec::new();
        let receive_all = || {
            let receive = |op| log.receive(op, PEER_STORE, &mut admitted) == Verdict::Stored;
            hashed.into_iter().flatten().all(receive)
        };
        let (stored, time) = at_depth(depth, || timed(receive_all));
        receive += time;
        if !stored || admitted.len() != page.signed.len() {
            return Err("an op is not admitted".into());
        }
    }
    let [parse, hash, verify, check, receive] =
        [parse, hash, verify, check, receive].map(|time| micros(time, ops));
    let (entries, rest) = (shape.entries, receive - check);
    println!("| {entries} | {parse:.1} | {hash:.1} | {check:.1} | {rest:.1} | {verify:.1} |");
    Ok(())
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
    ingest(&mut replica, hello.as_bytes().to_vec());
    replica
}

/// One frame, and what it takes to check its signatures alone.
struct Page {
    frame: Vec<u8>,
    /// The index of each op's author, its id and signature.
    signed: Vec<(usize, OpId, Signature)>,
}

struct Author {
    key: SecretKey,
    public: PublicKey,
    /// The same key, as the library has it.
    verifying: VerifyingKey,
    tip: Option<(Seq, OpId)>,
}

/// Makes the ops of a room, dependencies first.
struct Authors {
    shape: Shape,
    room: RoomId,
    all: Vec<Author>,
    /// Index of the one who writes next.
    next: usize,
    /// The ops written last at the same time, sorted.
    heads: Vec<OpId>,
    depth: Depth,
    made: u32,
}

impl Authors {
    fn new(shape: Shape, room: RoomId) -> Result<Self, Failure> {
        let author = |number: u16| {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            let key = SecretKey::from_seed(&seed);
            let public = PublicKey::of(key.author())?;
            let verifying = VerifyingKey::from_bytes(key.author().as_bytes())?;
            Ok(Author { key, public, verifying, tip: None })
        };
        let all = (0..shape.authors).map(author).collect::<Result<_, Failure>>()?;
        let (heads, depth) = (Vec::new(), Depth::FIRST);
        Ok(Self { shape, room, all, next: 0, heads, depth, made: 0 })
    }

    /// Makes the next `count` ops and the frames that carry them.
    fn pages(&mut self, count: u32) -> Result<Vec<Page>, Failure> {
        let (mut pages, mut ops, mut bytes) = (Vec::new(), Vec::new(), 0);
        let end = self.made + count;
        while self.made < end {
            let mut round = Vec::new();
            for _ in 0..u32::from(self.shape.at_once).min(end - self.made) {
                let (author, op) = self.op()?;
                round.push(op.id());
                bytes += op.weight();
                ops.push((author, op));
                if bytes >= limits::BATCH_BYTES || ops.len() == limits::BATCH_OPS_MAX {
                    pages.push(self.page(&std::mem::take(&mut ops)));
                    bytes = 0;
                }
            }
            round.sort_unstable();
            self.heads = round;
            self.depth = self.depth.next();
        }
        if !ops.is_empty() {
            pages.push(self.page(&ops));
        }
        Ok(pages)
    }

    fn op(&mut self) -> Result<(usize, Op), Failure> {
        let index = self.next;
        let author = self.all.get_mut(index).ok_or("a room needs an author")?;
        let own = author.tip.map(|(_, id)| id);
        let draft = Draft {
            room: self.room,
            tip: author.tip,
            preds: self.heads.iter().copied().filter(|id| own != Some(*id)).collect(),
            refs: Vec::new(),
            depth: self.depth,
            ts: NOW,
            kind: Kind::entry(),
            data: transfers(self.shape.entries, index, self.made)?,
        };
        let op = draft.sign(&author.key)?;
        author.tip = Some((op.head().seq, op.id()));
        self.next = (index + 1) % self.all.len();
        self.made += 1;
        Ok((index, op))
    }

    fn page(&self, ops: &[(usize, Op)]) -> Page {
        let frame = encode_ops(self.room, ops.iter().map(|(_, op)| op), None, &[]);
        let signed = ops.iter().map(|(author, op)| (*author, op.id(), *op.sig())).collect();
        Page { frame: frame.as_bytes().to_vec(), signed }
    }

    /// Checks the signatures of a frame, as the library does it strictly, and does nothing else.
    fn verify(&self, page: &Page) -> bool {
        page.signed.iter().all(|(author, id, signature)| {
            let author = self.all.get(*author);
            let signed = [SIGNED, id.as_bytes()].concat();
            let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
            author.is_some_and(|author| author.verifying.verify_strict(&signed, &signature).is_ok())
        })
    }

    /// Checks the signatures of a frame as a replica does.
    fn check(&self, page: &Page) -> bool {
        page.signed.iter().all(|(author, id, signature)| {
            let author = self.all.get(*author);
            author.is_some_and(|author| author.public.verify(*id, signature).is_ok())
        })
    }
}

/// The data of an op: transfers of about 60 bytes each.
fn transfers(count: u32, author: usize, op: u32) -> Result<Canonical, fmt::Error> {
    let mut text = String::from("[");
    for index in 0..count {
        let comma = if index > 0 { "," } else { "" };
        let amount = op % 1_000 + 1;
        write!(text, "{comma}{{\"amount\":{amount},\"from\":\"account-{author}\",")?;
        write!(text, "\"note\":\"{op}.{index}\",\"to\":\"bob\"}}")?;
    }
    text.push(']');
    Ok(Canonical::trusted(text))
}
