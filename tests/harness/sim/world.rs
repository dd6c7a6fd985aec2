//! One run: a heap of events in virtual time, handled one after another on one thread.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use crdt_core::effect::{Command, Effect, Input, PeerId, Record, Token};
use crdt_core::id::{RoomName, StoreId};
use crdt_core::intake::Intake;
use crdt_core::json::Canonical;
use crdt_core::key::CheckSignature;
use crdt_core::planted::{Bug, planted};

use super::check::{Invariant, Violation};
use super::liar::Liar;
use super::link::Link;
use super::options::{Fault, Options};
use super::party::Party;
use super::setup;
use super::tape::Tape;
use super::trace::Trace;
use super::truth::Truth;

/// When a run starts: true time in ms.
pub(super) const START_MS: u64 = 1_700_000_000_000;

/// Time after the healing within which everybody must hold the same. What is asked for in vain is
/// given up after 273 s, and lies go on, so that a gap may be found and lost a few times.
const SETTLE_MS: u64 = 1_800_000;

/// Time between two looks at whether everybody holds the same.
const LOOK_MS: u64 = 2_000;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The next frame comes to one end of a link.
    Deliver { link: usize, end: usize, peer: PeerId },
    /// One end notices that the connection is gone.
    Down { link: usize, end: usize, peer: PeerId },
    /// A link is dialled.
    Up(usize),
    /// A driver looks at what is at hand.
    Step(usize),
    /// A process starts again.
    Restart(usize),
    /// There is space on a disk again.
    Freed(usize),
    /// A relayer takes as much as ever again.
    Eased(usize),
    /// A node's user records something.
    Write(usize),
    /// A lying author does something.
    Lie(usize),
    /// A lying relayer forgets its store.
    Forget(usize),
    /// A fault of this kind.
    Chaos(Fault),
    /// Everything honest heals.
    Heal,
    /// Does everybody hold the same?
    Look,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Frames handed to a replica.
    pub deliveries: u64,
    /// Ops that came to be on an honest disk.
    pub ops: u64,
    /// Events of all kinds.
    pub events: u64,
    /// How often each fault, crime and lie happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Time from the healing until everybody held the same, in ms.
    pub settled_ms: u64,
    /// Per direction of each honest link: bytes of ops sent after the healing, and bytes of those
    /// that the receiver had not pulled from the sender's store then.
    pub links: Vec<(u64, u64)>,
}

/// At which point of its next batch a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    BeforeCommit,
    AfterCommit,
    AmidSends,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) options: Options,
    pub(super) tape: Tape,
    pub(super) signatures: Arc<dyn CheckSignature>,
    pub(super) now: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    pub(super) rooms: Vec<RoomName>,
    pub(super) parties: Vec<Party>,
    pub(super) liars: Vec<Liar>,
    pub(super) links: Vec<Link>,
    pub(super) truth: Truth,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    pub(super) dooms: BTreeMap<usize, Doom>,
    /// The party whose disk an operator keeps copies of and puts back.
    pub(super) restored: Option<usize>,
    /// The relayers that have put ops off.
    pub(super) short: BTreeSet<usize>,
    /// When everything healed.
    pub(super) healed_at: Option<u64>,
    pub(super) next_peer: u64,
    tokens: u64,
    since_check: u64,
}

impl World {
    pub(super) fn new(
        options: Options,
        tape: Tape,
        signatures: Arc<dyn CheckSignature>,
        in_words: bool,
    ) -> Self {
        let mut world = Self {
            options,
            tape,
            signatures,
            now: START_MS,
            heap: BinaryHeap::new(),
            scheduled: 0,
            rooms: Vec::new(),
            parties: Vec::new(),
            liars: Vec::new(),
            links: Vec::new(),
            truth: Truth::default(),
            trace: Trace::new(in_words),
            counts: Counts::default(),
            dooms: BTreeMap::new(),
            restored: None,
            short: BTreeSet::new(),
            healed_at: None,
            next_peer: 1,
            tokens: 0,
            since_check: 0,
        };
        setup::people(&mut world);
        setup::topology(&mut world);
        setup::first_events(&mut world);
        world
    }

    /// Runs to the end.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        loop {
            let Some(Reverse((time, _, event))) = self.heap.pop() else {
                return Err(self.broken(Invariant::Settles, "nothing is left to happen".into()));
            };
            self.now = time;
            self.counts.events += 1;
            if self.options.stop_after > 0 && self.counts.events > self.options.stop_after {
                return Ok(());
            }
            let busy = self.counts.deliveries >= self.options.deliveries;
            if busy && self.healed_at.is_none() {
                self.heal();
            }
            self.trace.add(time);
            if event == Event::Look && self.look()? {
                return Ok(());
            }
            self.happen(event)?;
        }
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.heap.push(Reverse((time, self.scheduled, event)));
    }

    pub(super) fn after(&mut self, span: u64, event: Event) {
        self.at(self.now + span, event);
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.counts.faults.entry(name).or_default() += 1;
    }

    pub(super) fn is_healed(&self) -> bool {
        self.healed_at.is_some()
    }

    /// Says something in the timeline.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        let (event, ms) = (self.counts.events, self.now - START_MS);
        self.trace.say(|| format!("{event:>7} {ms:>7} ms  {}", line()));
    }

    pub(super) fn broken(&self, invariant: Invariant, what: String) -> Violation {
        Violation { invariant, what, event: self.counts.events, ms: self.now - START_MS }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Deliver { link, end, peer } => self.deliver(link, end, peer),
            Event::Down { link, end, peer } => self.notice(link, end, peer),
            Event::Up(link) => self.dial(link),
            Event::Step(who) => return self.step(who),
            Event::Restart(who) => return self.restart(who),
            Event::Freed(who) => {
                self.parties[who].disk.full = false;
                self.say(|| format!("party {who} has space again"));
            }
            Event::Eased(who) => self.take(who, Intake::default()),
            Event::Write(who) => self.write(who),
            Event::Lie(liar) => self.lie(liar),
            Event::Forget(who) => self.forget(who),
            Event::Chaos(fault) => self.chaos(fault),
            Event::Heal => self.heal(),
            Event::Look => {}
        }
        Ok(())
    }

    fn heal(&mut self) {
        if self.is_healed() {
            return;
        }
        self.healed_at = Some(self.now);
        self.say(|| "everything heals".to_owned());
        self.dooms.clear();
        for party in &mut self.parties {
            party.disk.full = false;
        }
        for link in &mut self.links {
            (link.blocked_until, link.slow) = (0, (0, 0));
            for end in [0, 1] {
                let [to, from] =
                    [link.ends[end], link.ends[1 - end]].map(|who| self.parties.get(who));
                let pulled = to.zip(from).map(|(to, from)| to.disk.pulled_from(from.store));
                link.halves[end].ops_bytes = 0;
                link.halves[end].pulled = pulled.unwrap_or_default();
            }
        }
        for who in 0..self.options.relayers {
            self.take(who, Intake::default());
        }
        self.after(LOOK_MS, Event::Look);
    }

    /// Whether the run is over: everybody holds the same and has been told so.
    fn look(&mut self) -> Result<bool, Violation> {
        let healed_at = self.healed_at.unwrap_or(self.now);
        match self.unsettled() {
            None => {
                self.counts.settled_ms = self.now - healed_at;
                self.check_end()?;
                return Ok(true);
            }
            Some(why) if self.now - healed_at > SETTLE_MS => {
                return Err(self.broken(Invariant::Settles, why));
            }
            Some(_) => self.after(LOOK_MS, Event::Look),
        }
        Ok(false)
    }

    /// One look of a driver at what is at hand: batch, commit, and only then everything else.
    fn step(&mut self, who: usize) -> Result<(), Violation> {
        if self.parties[who].step_at != Some(self.now) {
            return Ok(());
        }
        let party = &mut self.parties[who];
        party.step_at = None;
        let now = party.clock.now(self.now);
        let (effects, frames) = party.batch(now, self.options.batch);
        self.counts.deliveries += frames;
        let (mut records, mut others) = (Vec::<Record>::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Persist(record) => records.push(record),
                Effect::Load(_) | Effect::Send(..) | Effect::Close(..) | Effect::Notify(_) => {
                    others.push(effect);
                }
            }
        }
        let wrote = !records.is_empty();
        if planted(Bug::PersistLate) {
            std::mem::swap(&mut records, &mut party.late);
        }
        party.disk.write(records);
        let doom = self.dooms.remove(&who);
        let full = wrote && self.parties[who].disk.full;
        if full || doom == Some(Doom::BeforeCommit) {
            self.crash(who, if full { "its disk is full" } else { "before its commit" });
            return Ok(());
        }
        self.commit(who)?;
        if doom == Some(Doom::AfterCommit) {
            self.note_durable(who, &others)?;
            self.crash(who, "after its commit, before any send");
            return Ok(());
        }
        let last = if doom.is_some() { self.tape.below(others.len()) } else { others.len() };
        for effect in others.drain(..last) {
            self.carry_out(who, effect)?;
        }
        if doom.is_some() {
            self.note_durable(who, &others)?;
            self.crash(who, "between two sends");
            return Ok(());
        }
        self.check_party(who)?;
        self.schedule_next(who, now.as_ms());
        self.since_check += 1;
        if self.since_check >= self.options.check_every {
            self.since_check = 0;
            self.check_fully(who)?;
        }
        Ok(())
    }

    fn schedule_next(&mut self, who: usize, clock: i64) {
        let party = &self.parties[who];
        if !party.inbox.is_empty() || !party.loads.is_empty() {
            return self.wake(who, self.now);
        }
        let wake = party.replica.as_ref().and_then(crdt_core::Replica::wake_at);
        if let Some(at) = wake {
            let wait = u64::try_from(at.as_ms() - clock).unwrap_or_default();
            self.wake(who, self.now + wait.max(1));
        }
    }

    /// Lets a driver look at its inputs at a time, if it does not sooner.
    pub(super) fn wake(&mut self, who: usize, time: u64) {
        let party = &mut self.parties[who];
        if party.replica.is_some() && party.step_at.is_none_or(|at| at > time) {
            party.step_at = Some(time);
            self.at(time, Event::Step(who));
        }
    }

    /// Hands a driver an input.
    pub(super) fn input(&mut self, who: usize, input: Input) {
        if self.parties[who].replica.is_none() {
            return;
        }
        self.parties[who].inbox.push_back(input);
        let lag = self.tape.between(0, self.options.lag_ms);
        self.wake(who, self.now + lag);
    }

    fn write(&mut self, who: usize) {
        if self.is_healed() {
            return;
        }
        let room = self.rooms[self.tape.below(self.rooms.len())].id();
        self.tokens += 1;
        let number = self.tokens;
        let filler = if self.tape.chance(self.options.large) { self.tape.below(60_000) } else { 0 };
        let entry = format!("{{\"n\":{number},\"x\":\"{}\"}}", "y".repeat(filler));
        if let Ok(entry) = Canonical::parse(entry.as_bytes()) {
            let append = Command::Append { room, token: Token(number), entry };
            self.input(who, Input::Command(append));
        }
        let wait = self.tape.between(1, 2 * self.options.write_ms);
        self.after(wait, Event::Write(who));
    }

    /// A number for a connection's end; none is used twice.
    pub(super) fn new_peer(&mut self) -> PeerId {
        self.next_peer += 1;
        PeerId(self.next_peer)
    }

    /// An id for a new store.
    pub(super) fn new_store(&mut self) -> StoreId {
        let mut bytes = self.tape.bytes();
        // A tape that has ended draws zeros: two stores must differ even then.
        self.tokens += 1;
        bytes[24..].copy_from_slice(&self.tokens.to_be_bytes());
        StoreId::from_bytes(bytes)
    }
}
