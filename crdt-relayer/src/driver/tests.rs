//! A driver among those who send it much.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, mpsc};

use crdt_core::effect::Link;
use crdt_core::id::{OpId, RoomName, StoreId};
use crdt_core::key::{CheckSignature, Claim, EachTime, KeyError, PublicKey, Signature};
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::{Hello, Message, encode_ops};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::fixtures::{chain, refused_ops, replica, room};
use crate::local::LocalPeer;
use crate::metrics::Metrics;
use crate::share::FRAME_BYTES;

/// Addresses that flood.
const FLOODING: u8 = 8;

/// Frames that each of them sends at once: fewer than its share holds, and together several batches.
const FRAMES: usize = 190;

/// The series that counts transactions.
const COMMITS: &str = "crdt_relayer_commit_seconds_count ";

/// An author's first op, as a frame.
fn first_op(author: u8) -> String {
    encode_ops(room(), &chain(author, 1), None, &[]).to_string()
}

fn driver(folder: &TempDir, counts: Counts) -> (Driver, End) {
    driver_checking(folder, counts, Arc::new(EachTime))
}

fn driver_checking(
    folder: &TempDir,
    counts: Counts,
    signatures: Arc<dyn CheckSignature>,
) -> (Driver, End) {
    let id = StoreId::from_bytes([9; 32]);
    let store = Store::open(&folder.path().join("log.sqlite"), id).unwrap();
    Driver::spawn_kept(replica(id, signatures), store, None, counts, None)
}

/// A connection from an address of its own.
async fn peer(driver: &Driver, last: u8) -> LocalPeer {
    let address = IpAddr::from([192, 0, 2, last]);
    let peer = LocalPeer::connect(driver, Link::ACCEPTED, Some(address)).await.unwrap();
    let hello = Hello::new("test", StoreId::from_bytes([last; 32]), WINDOW_BYTES);
    peer.send(&Message::Hello(hello).encode()).await.unwrap();
    peer
}

/// Keeps the thread busy until it is told to go on, so that everything waits for it.
async fn keep_busy(driver: &Driver) -> (mpsc::Sender<()>, JoinHandle<Result<(), Stopped>>) {
    let (go_on, waiting) = mpsc::channel::<()>();
    let (busy, is_busy) = oneshot::channel();
    let asking = driver.clone();
    let blocking = tokio::spawn(async move {
        let wait = move |_: &Replica| {
            busy.send(()).unwrap();
            waiting.recv().unwrap();
        };
        asking.query(wait).await
    });
    is_busy.await.unwrap();
    (go_on, blocking)
}

/// Notes whether signatures were told of before they are checked.
#[derive(Debug, Default)]
struct Noting(Mutex<String>);

impl CheckSignature for Noting {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        self.0.lock().unwrap().push('c');
        key.verify(id, signature)
    }

    fn ahead(&self, claims: &mut dyn Iterator<Item = Claim>) {
        claims.for_each(|_| self.0.lock().unwrap().push('a'));
    }
}

/// What becomes of the signatures of so many frames, each with an op, that wait together.
async fn noted(link: Link, count: usize) -> String {
    let folder = TempDir::new().unwrap();
    let noting = Arc::new(Noting::default());
    let signatures = Arc::clone(&noting) as Arc<dyn CheckSignature>;
    let (driver, end) = driver_checking(&folder, Counts::default(), signatures);
    let peer = LocalPeer::connect(&driver, link, None).await.unwrap();
    let hello = Hello::new("test", StoreId::from_bytes([1; 32]), WINDOW_BYTES);
    peer.send(&Message::Hello(hello).encode()).await.unwrap();
    let all = chain(1, count + 1);
    let frame = |op| encode_ops(room(), [op], None, &[]);
    driver.command(Command::Join(RoomName::parse("main").unwrap())).await.unwrap();
    peer.send(&frame(&all[0])).await.unwrap();
    assert_eq!(driver.query(|replica| replica.tally().stored).await, Ok(1));
    noting.0.lock().unwrap().clear();

    let (go_on, blocking) = keep_busy(&driver).await;
    for op in &all[1..] {
        peer.send(&frame(op)).await.unwrap();
    }
    go_on.send(()).unwrap();
    blocking.await.unwrap().unwrap();
    while driver.query(|replica| replica.tally().stored).await != Ok(all.len() as u64) {}
    drop(peer);
    driver.stop().await;
    end.await.unwrap().unwrap();
    noting.0.lock().unwrap().clone()
}

#[tokio::test]
async fn signatures_of_frames_that_wait_are_told_before_the_first_is_checked() {
    for link in [Link::ACCEPTED, Link::DIALLED] {
        assert_eq!(noted(link, 3).await, "aaaccc", "{link:?}");
    }
}

#[tokio::test]
async fn of_much_that_waits_all_is_told_of_a_peer_that_was_dialled_and_a_hand_of_another() {
    let dialled = noted(Link::DIALLED, 50).await;
    assert_eq!(dialled, "a".repeat(50) + &"c".repeat(50));
    let accepted = noted(Link::ACCEPTED, 50).await;
    let hand = accepted.find('c').unwrap();
    assert!((3..25).contains(&hand), "{accepted}");
}

#[tokio::test]
async fn what_is_decoded_before_its_turn_counts_for_the_memory_it_takes() {
    let folder = TempDir::new().unwrap();
    let (driver, end) = driver(&folder, Counts::default());
    let peer = LocalPeer::connect(&driver, Link::DIALLED, None).await.unwrap();
    let (go_on, blocking) = keep_busy(&driver).await;
    let frame = refused_ops();
    let weight = Decoded::of(frame.as_bytes()).weight();
    let window = usize::try_from(WINDOW_BYTES).unwrap();
    let sent = (0..window / frame.len()).take_while(|_| peer.send(&frame).now_or_never().is_some());
    assert_eq!(sent.count(), window / (weight + FRAME_BYTES));
    go_on.send(()).unwrap();
    blocking.await.unwrap().unwrap();
    drop(peer);
    driver.stop().await;
    end.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_sends_little_is_heard_before_all_of_what_others_flood_with() {
    let folder = TempDir::new().unwrap();
    let (driver, end) = driver(&folder, Counts::default());
    let flooding = join_all((1..=FLOODING).map(|last| peer(&driver, last))).await;
    let quiet = peer(&driver, 100).await;
    let known = first_op(1);
    flooding[0].send(&known).await.unwrap();
    assert_eq!(driver.query(|replica| replica.tally().stored).await, Ok(1));

    let (go_on, blocking) = keep_busy(&driver).await;
    for peer in &flooding {
        for _ in 0..FRAMES {
            peer.send(&known).await.unwrap();
        }
    }
    quiet.send(&first_op(2)).await.unwrap();
    let look = |replica: &Replica| (replica.tally().stored, replica.tally().known);
    // The query is polled first, so it waits behind the op before the thread goes on.
    let (looked, sent) = join(driver.query(look), async { go_on.send(()) }).await;
    sent.unwrap();
    blocking.await.unwrap().unwrap();

    let (stored, known) = looked.unwrap();
    let sent = u64::from(FLOODING) * FRAMES as u64;
    assert_eq!(stored, 2, "the op of whoever sends little is there");
    assert!(known < sent, "and {known} of the {sent} frames of the others are not before it");
    drop((flooding, quiet));
    driver.stop().await;
    end.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_ops_of_a_message_are_one_transaction() {
    let folder = TempDir::new().unwrap();
    let metrics = Metrics::default();
    let (driver, end) = driver(&folder, metrics.counts.clone());
    let peer = peer(&driver, 1).await;
    let commits = || {
        let text = metrics.text().unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix(COMMITS)).unwrap();
        count.parse::<u64>().unwrap()
    };
    let all = chain(1, 200);
    for (number, ops) in (1..).zip(all.chunks(100)) {
        peer.send(&encode_ops(room(), ops, None, &[])).await.unwrap();
        let stored = driver.query(|replica| replica.tally().stored).await.unwrap();
        assert_eq!((stored, commits()), (100 * number, number));
    }
    // What is known is not written again.
    peer.send(&encode_ops(room(), &all[..100], None, &[])).await.unwrap();
    assert_eq!(driver.query(|replica| replica.tally().known).await, Ok(100));
    assert_eq!(commits(), 2);
    drop(peer);
    driver.stop().await;
    end.await.unwrap().unwrap();
}
