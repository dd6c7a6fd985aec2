//! Faults as they happen, and liars as they lie.

use crdt_core::effect::{Command, Input};
use crdt_core::intake::Intake;
use crdt_core::rates::{KeyRates, Rate};
use crdt_core::time::Span;

use super::check::{Invariant, Violation};
use super::disk::Disk;
use super::options::{Fault, Lie};
use super::world::{Doom, Event, World};

impl World {
    /// A fault of this kind happens, and the next one is on its way.
    pub(super) fn chaos(&mut self, fault: Fault) {
        if self.is_healed() {
            return;
        }
        let mean = self.options.faults.get(&fault).copied().unwrap_or(1);
        let wait = self.tape.between(1, 2 * mean);
        self.after(wait, Event::Chaos(fault));
        let who = self.tape.below(self.parties.len());
        let link = self.tape.below(self.links.len());
        self.count(fault.name());
        match fault {
            Fault::Crash => match self.tape.below(4) {
                0 => self.crash(who, "at rest"),
                point => {
                    let doom = [Doom::BeforeCommit, Doom::AfterCommit, Doom::AmidSends][point - 1];
                    self.dooms.insert(who, doom);
                }
            },
            Fault::DiskFull => {
                self.parties[who].disk.full = true;
                let wait = self.tape.between(100, 10_000);
                self.after(wait, Event::Freed(who));
            }
            Fault::Cut => self.sever(link, &[0, 1], 500),
            Fault::HalfCut => {
                let end = self.tape.below(2);
                self.sever(link, &[end], 30_000);
            }
            Fault::Partition => self.part(),
            Fault::ClockJump => {
                let minutes = i64::try_from(self.tape.below(600)).unwrap_or_default() - 200;
                self.parties[who].clock.ahead += minutes * 60_000;
                self.say(|| format!("the wall clock of {who} jumps by {minutes} minutes"));
                self.wake(who, self.now);
            }
            Fault::LoseStore => {
                let relayer = self.tape.below(self.options.relayers);
                self.crash(relayer, "and loses its store");
                self.parties[relayer].disk = Disk::default();
                self.parties[relayer].store = self.new_store();
            }
            Fault::Slow => {
                let (span, more) = (self.tape.between(500, 20_000), self.tape.between(100, 5_000));
                self.links[link].slow = (self.now + span, more);
            }
            Fault::Restore => self.put_back(who),
            Fault::Shortage => self.run_short(),
        }
    }

    /// A relayer takes less of others for a while.
    fn run_short(&mut self) {
        let relayer = self.tape.below(self.options.relayers);
        let intake = match self.tape.below(3) {
            0 => Intake { disk_full: true, ..Intake::default() },
            1 => {
                Intake { room_bytes_max: Some(self.tape.between(1, 100_000)), ..Intake::default() }
            }
            _ => {
                let (per_second, burst) = (self.tape.between(1, 20), Span::from_ms(1_000));
                let rates = KeyRates { ops: Some(Rate { per_second, burst }), bytes: None };
                Intake { rates, ..Intake::default() }
            }
        };
        self.short.insert(relayer);
        self.take(relayer, intake);
        let wait = self.tape.between(100, 60_000);
        self.after(wait, Event::Eased(relayer));
    }

    /// A relayer takes so much of others from now on.
    pub(super) fn take(&mut self, relayer: usize, intake: Intake) {
        self.say(|| format!("{relayer} takes of others: {intake:?}"));
        self.input(relayer, Input::Intake(intake));
    }

    /// Some are cut off from the others for a while.
    fn part(&mut self) {
        let side: Vec<bool> =
            (0..self.parties.len() + self.liars.len()).map(|_| self.tape.chance(400)).collect();
        let until = self.now + self.tape.between(500, 60_000);
        for link in 0..self.links.len() {
            let [a, b] = self.links[link].ends;
            if side[a] != side[b] {
                self.links[link].blocked_until = until;
                self.sever(link, &[0, 1], 2_000);
            }
        }
        self.say(|| format!("a partition: {side:?}"));
    }

    /// An operator keeps a copy of a disk, or puts back the one kept before. It is always the same
    /// honest party's, so that what it loses is not lost twice, and a node's only once others hold
    /// all that it wrote: what nobody holds cannot be learnt.
    fn put_back(&mut self, who: usize) {
        let who = *self.restored.get_or_insert(who);
        if !self.parties[who].is_honest() {
            return;
        }
        if self.parties[who].backup.is_none() {
            let mut disk = self.parties[who].disk.clone();
            disk.lose_unsynced();
            self.parties[who].backup = Some((disk, self.parties[who].store));
        } else if self.parties[who].replica.is_some() && self.is_held_by_others(who) {
            let backup = self.parties[who].backup.take();
            self.crash(who, "and an old copy of its disk is put back");
            if let Some((disk, store)) = backup {
                self.count("disks put back");
                (self.parties[who].disk, self.parties[who].store) = (disk, store);
            }
        }
    }

    /// Whether another honest node has on its disk every op that this one wrote.
    fn is_held_by_others(&self, who: usize) -> bool {
        let Some(author) = self.parties[who].author() else { return true };
        let others = || {
            let nodes = self.parties.iter().enumerate();
            nodes.filter(|(other, party)| *other != who && party.author().is_some())
        };
        self.parties[who].disk.archives.iter().all(|(room, archive)| {
            let held = |id| {
                others().any(|(_, party)| {
                    party.disk.archives.get(room).is_some_and(|archive| archive.holds(id))
                })
            };
            let own = archive.ops.iter().filter(|kept| kept.op.head().author == author);
            own.map(|kept| kept.op.id()).all(held)
        })
    }

    /// A process is killed. What it had not synced is gone.
    pub(super) fn crash(&mut self, who: usize, how: &str) {
        if self.parties[who].replica.is_none() {
            return;
        }
        self.say(|| format!("{who} is killed {how}"));
        self.dooms.remove(&who);
        self.parties[who].stop();
        for link in 0..self.links.len() {
            for end in [0, 1] {
                if self.links[link].ends[end] == who {
                    self.close_half(link, end);
                }
            }
        }
        let pause = self.tape.between(20, 15_000);
        self.after(pause, Event::Restart(who));
    }

    /// A process starts and is given back what its disk holds.
    pub(super) fn restart(&mut self, who: usize) -> Result<(), Violation> {
        if self.parties[who].replica.is_some() {
            return Ok(());
        }
        let time = self.now;
        let fresh = self.new_store();
        let reopened = self.parties[who].started(fresh);
        let replica = reopened.map_err(|rule| {
            self.broken(Invariant::Reopens, format!("the disk of {who} is refused: {rule}"))
        })?;
        let party = &mut self.parties[who];
        party.replica = Some(replica);
        party.clock.start(time);
        self.say(|| format!("{who} starts"));
        if self.parties[who].author().is_some() {
            for name in self.rooms.clone() {
                self.input(who, Input::Command(Command::Join(name)));
            }
        }
        Ok(())
    }

    /// A lying relayer starts anew and says that it is the old one.
    pub(super) fn forget(&mut self, who: usize) {
        if self.is_healed() {
            return;
        }
        self.crash(who, "and forgets its store");
        self.parties[who].disk = Disk::default();
        self.count(Lie::Forget.name());
        let wait = self.tape.between(5_000, 120_000);
        self.after(wait, Event::Forget(who));
    }

    /// A lying author does one of the things it does. After the healing it only answers.
    pub(super) fn lie(&mut self, liar: usize) {
        if self.is_healed() {
            return;
        }
        for (peers, frame) in self.liars[liar].act(&mut self.truth, &mut self.tape) {
            self.count("attacks");
            for peer in peers {
                self.attack(liar, peer, &frame);
            }
        }
        let wait = self.tape.between(1, 2 * self.options.lie_ms);
        self.after(wait, Event::Lie(liar));
    }
}
