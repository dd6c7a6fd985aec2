//! Long histories: how they are fetched, opened and kept.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crdt_core::effect::Record;
use crdt_core::id::{Position, RoomName, StoreId};
use crdt_core::op::Op;
use crdt_relayer::home::STORE_FILE;
use crdt_relayer::store::Store;

use super::OPEN;
use super::floor::{checks, checks_on_all_cores};
use crate::cluster::Cluster;
use crate::flood::Author;

const ROOM: &str = "main";

/// Authors who write in turns.
const AUTHORS: u32 = 8;

/// Ops written to a store at one time.
const AT_ONCE: usize = 10_000;

/// Ops that whoever returns has missed.
pub const MISSED: u64 = 1_000;

const RELAYER: StoreId = StoreId::from_bytes([7; 32]);

/// A store of one room that is being filled.
struct Filling {
    store: Store,
    ops: u64,
    source: Option<StoreId>,
}

impl Filling {
    fn new(store: Store, source: Option<StoreId>) -> Self {
        let mut filling = Self { store, ops: 0, source };
        let name = RoomName::parse(ROOM).unwrap();
        filling.append(&[Record::Room { id: name.id(), name: Some(name) }]);
        filling
    }

    fn append(&mut self, records: &[Record]) {
        self.store.append(records).unwrap();
    }

    fn add(&mut self, ops: &[Arc<Op>]) {
        let records: Vec<Record> = ops
            .iter()
            .map(|op| {
                self.ops += 1;
                let position = Position::new(self.ops).unwrap();
                Record::Op { position, source: self.source, op: Arc::clone(op) }
            })
            .collect();
        self.append(&records);
    }
}

/// Ops of all authors in turns.
fn ops(authors: &[Author]) -> impl Iterator<Item = Op> + '_ {
    let mut chains: Vec<_> = authors.iter().map(|author| author.endless(0)).collect();
    let mut turn = 0;
    std::iter::from_fn(move || {
        turn = (turn + 1) % chains.len();
        chains[turn].next()
    })
}

fn authors() -> Vec<Author> {
    (0..AUTHORS).map(|number| Author::new(number, ROOM)).collect()
}

fn relayer_store(cluster: &Cluster) -> Store {
    let folder = cluster.path().join("relayer");
    std::fs::create_dir(&folder).unwrap();
    Store::open(&folder.join(STORE_FILE), RELAYER).unwrap()
}

fn bytes_of(folder: &Path) -> io::Result<u64> {
    let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len()));
    files.sum()
}

/// A history that newcomers fetch.
#[derive(Debug)]
pub struct History {
    cluster: Cluster,
    all: Vec<Op>,
    newcomers: u32,
}

/// What a newcomer takes.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    /// Until it has all, on disk, longer than where there is nothing to fetch.
    pub took: Duration,
    /// Bytes of its store for each op, besides its data.
    pub disk_bytes: f64,
}

impl History {
    /// So many ops of one entry, in the store of a relayer.
    pub fn new(count: usize) -> Self {
        let cluster = Cluster::new();
        let all: Vec<Arc<Op>> = ops(&authors()).take(count).map(Arc::new).collect();
        let mut filling = Filling::new(relayer_store(&cluster), None);
        all.chunks(AT_ONCE).for_each(|part| filling.add(part));
        drop(filling);
        let all = all.into_iter().map(|op| Arc::try_unwrap(op).unwrap()).collect();
        Self { cluster, all, newcomers: 0 }
    }

    /// Time to check the signatures alone, on one core and on all.
    pub fn checks(&self) -> (Duration, Duration) {
        (checks(&self.all), checks_on_all_cores(&self.all))
    }

    /// One more newcomer fetches it.
    ///
    /// # Errors
    /// The system's.
    pub fn fetched(&mut self) -> io::Result<Fetched> {
        self.newcomers += 1;
        let [guest, newcomer] =
            ["guest", "newcomer"].map(|name| format!("{name}-{}", self.newcomers));
        let (relayer, url) = self.cluster.relayer_with("relayer", &OPEN);
        // Starting, and the quiet at the end.
        let besides = run(&self.cluster, &guest, "empty", &url)?;
        let took = run(&self.cluster, &newcomer, ROOM, &url)?.saturating_sub(besides);
        relayer.stop();
        let count = self.all.len();
        assert_eq!(self.cluster.room(&newcomer)["entries"].as_u64(), Some(count as u64));
        let data: u64 = self.all.iter().map(|op| op.data().len() as u64).sum();
        let store = bytes_of(&self.cluster.home(&newcomer))?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let disk_bytes = (store - data) as f64 / count as f64;
        Ok(Fetched { took, disk_bytes })
    }
}

/// Time of a node's first run, until it has all of a room.
fn run(cluster: &Cluster, name: &str, room: &str, url: &str) -> io::Result<Duration> {
    cluster.init(name);
    let start = Instant::now();
    let ended = cluster
        .program(name)
        .args(["run", name, "--room", room, "--relay", url, "--home"])
        .arg(cluster.home(name))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    assert!(ended.success(), "{name} has all");
    Ok(start.elapsed())
}

/// What opening a long history takes, and what it takes to fetch the end of it.
#[derive(Debug)]
pub struct Opened {
    /// From starting a node to its prompt, and the most memory it took, in KiB.
    pub node: (Duration, u64),
    /// The same of a relayer.
    pub relayer: (Duration, u64),
    /// From the prompt to having the last [`MISSED`] ops.
    pub returned: Duration,
}

/// Opens a node that lacks the end of so many ops, and a relayer that has all.
///
/// # Errors
/// The system's.
pub fn opened(count: u64) -> io::Result<Opened> {
    let cluster = Cluster::new();
    cluster.init("old");
    let has = count - MISSED;
    let mut relayer = Filling::new(relayer_store(&cluster), None);
    let store = Store::open_existing(&cluster.home("old").join(STORE_FILE)).unwrap();
    let mut node = Filling::new(store, Some(RELAYER));
    let authors = authors();
    let mut ops = ops(&authors).map(Arc::new);
    while relayer.ops < count {
        let most = usize::try_from(count - relayer.ops).unwrap_or(AT_ONCE).min(AT_ONCE);
        let part: Vec<Arc<Op>> = ops.by_ref().take(most).collect();
        relayer.add(&part);
        let lacks = usize::try_from(has - node.ops).unwrap_or(AT_ONCE).min(most);
        node.add(&part[..lacks]);
    }
    let room = RoomName::parse(ROOM).unwrap().id();
    let position = Position::new(has).unwrap();
    node.append(&[Record::Pulled { room, store: RELAYER, position }]);
    drop((relayer, node));

    let start = Instant::now();
    let (relayer, url) = cluster.relayer_with("relayer", &OPEN);
    let of_relayer = (start.elapsed(), relayer.peak_kib());
    let start = Instant::now();
    let mut node = cluster.node_at("old", &[&url], &[]);
    node.event("ready");
    let of_node = (start.elapsed(), node.peak_kib());
    let start = Instant::now();
    node.synced(usize::try_from(count).unwrap_or(usize::MAX));
    let returned = start.elapsed();
    node.kill();
    relayer.kill();
    Ok(Opened { node: of_node, relayer: of_relayer, returned })
}
