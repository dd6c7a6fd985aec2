//! What lets a relayer go on where there is no room for more: how much it takes at the moment, and
//! how it begins anew from what its store holds.

use std::fmt;
use std::time::{Duration, Instant};

use crdt_core::Replica;
use crdt_core::effect::Event;
use crdt_core::intake::{Intake, Shortage};
use crdt_core::rates::KeyRates;
use tokio::sync::watch;

use crate::access::Access;
use crate::disk::{Disk, Storage};
use crate::error::StoreError;
use crate::limits::Limits;
use crate::metrics::{Metrics, Refused};

/// Looks after one replica.
pub(crate) struct Keeper {
    pub(crate) disk: Disk,
    pub(crate) limits: watch::Receiver<Limits>,
    pub(crate) access: watch::Receiver<Access>,
    pub(crate) metrics: Metrics,
    /// Makes the replica anew, without what its store holds.
    pub(crate) anew: Box<dyn Fn() -> Replica + Send>,
    /// What the replica was told to take.
    pub(crate) told: Option<Intake>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Keeper {
    /// How much is to be taken from now on, if that is news. Between two changes of the settings
    /// this looks at the disk and at nothing else: it is asked for each batch, and lists can be
    /// long.
    pub(crate) fn changed(&mut self) -> Option<Intake> {
        let (limits, access) = (self.limits.borrow_and_update(), self.access.borrow_and_update());
        let storage = self.disk.look(Instant::now(), limits.disk_floor_bytes);
        let disk_full = storage != Storage::Ample;
        let reread = limits.has_changed() || access.has_changed();
        let intake = match &self.told {
            Some(told) if !reread && told.disk_full == disk_full => return None,
            Some(told) if !reread => Intake { disk_full, ..told.clone() },
            Some(_) | None => intake(disk_full, &limits, &access),
        };
        drop((limits, access));
        if self.told.as_ref() == Some(&intake) {
            return None;
        }
        self.told = Some(intake.clone());
        Some(intake)
    }

    /// Whether the replica was told to take nothing.
    pub(crate) fn takes_nothing(&self) -> bool {
        self.told.as_ref().is_some_and(|intake| intake.disk_full)
    }

    /// When to look at the disk again though nothing happens.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        self.disk.look_again(Instant::now())
    }

    /// Whether a write failed because there is no room: a quota is told from a disk that is broken
    /// by writing something else.
    pub(crate) fn found_no_room(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Full) || error.is_failed_write() && self.disk.is_used_up()
    }

    /// A write found no room.
    pub(crate) fn full(&mut self) {
        self.disk.full(Instant::now());
    }

    /// A write was done.
    pub(crate) fn written(&mut self) {
        self.disk.written();
    }

    /// The replica anew, which was told nothing yet.
    pub(crate) fn replica(&mut self) -> Replica {
        self.told = None;
        (self.anew)()
    }

    /// Counts what was not taken.
    pub(crate) fn count(&self, event: &Event) {
        if let Event::PutOff { shortage, ops, .. } = event {
            let limit = match shortage {
                Shortage::Disk => Refused::Disk,
                Shortage::Quota => Refused::RoomBytes,
                Shortage::Rate => Refused::RateOfKey,
            };
            self.metrics.held_back(limit, *ops);
        }
    }
}

/// How much is taken.
fn intake(disk_full: bool, limits: &Limits, access: &Access) -> Intake {
    Intake {
        disk_full,
        room_bytes_max: limits.room_bytes,
        rooms_max: limits.rooms,
        subscriptions_max: limits.subscriptions,
        rooms: access.rooms.clone(),
        allowed: access.keys.clone(),
        rates: KeyRates {
            ops: limits.rate(limits.ops_per_key),
            bytes: limits.rate(limits.bytes_per_key),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crdt_core::id::RoomName;

    use super::*;
    use crate::disk::Space;

    /// A disk with one byte to spare.
    #[derive(Debug)]
    struct Steady;

    impl Space for Steady {
        fn free(&self) -> Option<u64> {
            Some(1)
        }

        fn is_used_up(&self) -> bool {
            false
        }
    }

    #[test]
    fn the_replica_is_told_of_what_changed_and_once() {
        let (limits, watched_limits) = watch::channel(Limits::default());
        let (access, watched_access) = watch::channel(Access::default());
        let mut keeper = Keeper {
            disk: Disk::new(Box::new(Steady)),
            limits: watched_limits,
            access: watched_access,
            metrics: Metrics::default(),
            anew: Box::new(|| panic!("no replica is made")),
            told: None,
        };
        let room = RoomName::parse("main").unwrap().id();
        let listed = || Access { rooms: Some(BTreeSet::from([room])), ..Access::default() };
        limits.send_replace(Limits { disk_floor_bytes: None, ..Limits::default() });
        let first = keeper.changed().unwrap();
        assert!(!first.disk_full && first.rooms.is_none());
        assert_eq!(keeper.changed(), None);
        access.send_replace(listed());
        assert_eq!(keeper.changed().unwrap(), Intake { rooms: listed().rooms, ..first.clone() });
        access.send_replace(listed());
        assert_eq!(keeper.changed(), None, "read again, and the same");
        keeper.full();
        assert!(keeper.changed().unwrap().disk_full && keeper.takes_nothing());
        assert_eq!(keeper.changed(), None);
        // The last settings are minded though nobody can change them any more.
        access.send_replace(Access::default());
        drop((limits, access));
        let last = keeper.changed().unwrap();
        assert_eq!(last, Intake { disk_full: true, ..first });
        keeper.told = None;
        assert_eq!(keeper.changed(), Some(last), "a replica that was told nothing yet");
    }
}
