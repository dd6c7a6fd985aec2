//! How much room there is for the store, and whether that is enough to take anything new.
//! Source: `docs/OPERATIONS.md`, "Disk".

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Time between two looks at the file system.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pause after a write that found no room, though there seemed to be; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);

/// Longest such pause: what failed is written anew, and the replica read again if it fails again.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// A file that is written to find out whether there is room, and what is written.
const TRIAL_FILE: &str = "room.tried";
static TRIAL: [u8; 64 * 1024] = [0; 64 * 1024];

/// Where the store is, as far as room goes.
pub trait Space: Send + fmt::Debug {
    /// Bytes that this process may still write there; `None` if nobody knows.
    fn free(&self) -> Option<u64>;

    /// Whether something that is written there now finds no room: a quota does not show in what is
    /// free.
    fn is_used_up(&self) -> bool;
}

/// The file system that holds a folder.
#[derive(Debug)]
pub struct FileSystem(
    /// The folder.
    pub PathBuf,
);

impl Space for FileSystem {
    fn free(&self) -> Option<u64> {
        let found = nix::sys::statvfs::statvfs(&self.0).ok()?;
        // What is kept back for root is not counted.
        Some(found.blocks_available().saturating_mul(found.fragment_size()))
    }

    fn is_used_up(&self) -> bool {
        let path = self.0.join(TRIAL_FILE);
        let tried = try_to_write(&path);
        // There may be none; the next trial writes over one that stays.
        drop(fs::remove_file(&path));
        tried.is_err_and(|error| {
            matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        })
    }
}

fn try_to_write(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&TRIAL)?;
    file.sync_all()
}

/// Whether there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// There is.
    Ample,
    /// Less is free than the operator wants to be.
    Low {
        /// Bytes that are free.
        free: u64,
        /// Bytes that should be.
        floor: u64,
    },
    /// A write found none.
    Full,
}

impl Storage {
    /// What is wrong, for people.
    pub fn problem(self) -> Option<String> {
        match self {
            Self::Ample => None,
            Self::Low { free, floor } => Some(format!(
                "The disk has {free} bytes free, and {floor} are to stay free: nothing new is taken."
            )),
            Self::Full => Some("The disk is full: nothing new is taken.".to_owned()),
        }
    }
}

/// A write that found no room: when, and what seemed to be free.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: Instant,
    free: Option<u64>,
}

/// Watches over the room.
#[derive(Debug)]
pub(crate) struct Disk {
    space: Box<dyn Space>,
    storage: watch::Sender<Storage>,
    look_at: Option<Instant>,
    /// A write found no room.
    full: Option<Found>,
    pause: Duration,
}

impl Disk {
    pub(crate) fn new(space: Box<dyn Space>) -> Self {
        let (storage, _) = watch::channel(Storage::Ample);
        Self { space, storage, look_at: None, full: None, pause: PAUSE }
    }

    /// For whoever wants to know.
    pub(crate) fn watch(&self) -> watch::Receiver<Storage> {
        self.storage.subscribe()
    }

    /// Whether there is room, as it was found out last.
    pub(crate) fn storage(&self) -> Storage {
        *self.storage.borrow()
    }

    /// Looks, if it is time to.
    pub(crate) fn look(&mut self, now: Instant, floor: Option<u64>) -> Storage {
        if self.look_at.is_some_and(|at| now < at) {
            return self.storage();
        }
        self.look_at = Some(now + LOOK_EVERY);
        let free = self.space.free();
        let storage = match (floor, free) {
            _ if self.full.is_some_and(|found| self.is_full(found, now, free)) => Storage::Full,
            (Some(floor), Some(free)) if free < floor => Storage::Low { free, floor },
            (Some(_) | None, Some(_) | None) => Storage::Ample,
        };
        self.storage.send_if_modified(|before| std::mem::replace(before, storage) != storage);
        storage
    }

    /// Whether nothing has changed since a write found no room: what seems to be free may not be.
    fn is_full(&self, found: Found, now: Instant, free: Option<u64>) -> bool {
        let grew = free > found.free && now >= found.at + self.pause;
        !grew && now < found.at + PAUSE_MAX
    }

    /// A write found no room.
    pub(crate) fn full(&mut self, now: Instant) {
        if self.full.is_some() {
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        self.full = Some(Found { at: now, free: self.space.free() });
        self.look_at = None;
    }

    /// Whether there is no room, tried out.
    pub(crate) fn is_used_up(&self) -> bool {
        self.space.is_used_up()
    }

    /// Something was written.
    pub(crate) fn written(&mut self) {
        (self.full, self.pause) = (None, PAUSE);
    }

    /// How long to wait until the next look, while there is no room.
    pub(crate) fn look_again(&self, now: Instant) -> Option<Duration> {
        let at = self.look_at.filter(|_| self.storage() != Storage::Ample)?;
        Some(at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Fake(Arc<AtomicU64>);

    impl Space for Fake {
        fn free(&self) -> Option<u64> {
            Some(self.0.load(Ordering::Relaxed)).filter(|free| *free != 0)
        }

        fn is_used_up(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_folder_that_can_be_written_to_is_not_used_up_and_stays_as_it_was() {
        let folder = tempfile::TempDir::new().unwrap();
        assert!(!FileSystem(folder.path().to_owned()).is_used_up());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(!FileSystem(folder.path().join("gone")).is_used_up(), "it fails in another way");
    }

    #[test]
    fn less_than_the_floor_is_found_within_a_second_and_so_is_room_again() {
        let (fake, start) = (Fake::default(), Instant::now());
        let mut disk = Disk::new(Box::new(fake.clone()));
        let told = disk.watch();
        let at = |ms| start + Duration::from_millis(ms);
        fake.0.store(100, Ordering::Relaxed);
        assert_eq!(disk.look(at(0), Some(100)), Storage::Ample);
        assert_eq!(disk.look_again(at(0)), None);
        fake.0.store(99, Ordering::Relaxed);
        assert_eq!(disk.look(at(999), Some(100)), Storage::Ample, "looked at once a second");
        let low = Storage::Low { free: 99, floor: 100 };
        assert_eq!(disk.look(at(1_000), Some(100)), low);
        assert_eq!(*told.borrow(), low);
        assert!(low.problem().unwrap().contains("99 bytes free"));
        assert_eq!(disk.look_again(at(1_400)), Some(Duration::from_millis(600)));
        assert_eq!(disk.look(at(2_000), None), Storage::Ample, "without a floor");
        assert_eq!(disk.look(at(3_000), Some(100)), low);
        fake.0.store(100, Ordering::Relaxed);
        assert_eq!(disk.look(at(4_000), Some(100)), Storage::Ample);
        fake.0.store(0, Ordering::Relaxed);
        assert_eq!(disk.look(at(5_000), Some(100)), Storage::Ample, "nobody knows");
    }

    #[test]
    fn after_a_write_that_found_no_room_the_next_one_waits_ever_longer() {
        let (fake, start) = (Fake::default(), Instant::now());
        let mut disk = Disk::new(Box::new(fake.clone()));
        let mut now = start;
        let mut pauses = Vec::new();
        for number in 1..=8 {
            disk.full(now);
            fake.0.store(number, Ordering::Relaxed);
            let since = now;
            while disk.look(now, None) == Storage::Full {
                now += disk.look_again(now).unwrap();
            }
            pauses.push((now - since).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        disk.written();
        disk.full(now);
        fake.0.store(9, Ordering::Relaxed);
        assert_eq!(disk.look(now + PAUSE, None), Storage::Ample, "a write that worked ends that");
        disk.full(now);
        assert_eq!(disk.look(now + PAUSE_MAX / 2, None), Storage::Full, "nothing was freed");
        assert_eq!(disk.look(now + PAUSE_MAX, None), Storage::Ample, "tried all the same");
    }
}
