//! The thread of a driver: batches, transactions, effects.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crdt_core::Replica;
use crdt_core::effect::{CloseReason, Effect, Event, Input, Load, PeerId, Record};
use crdt_core::intake::Shortage;
use crdt_core::tally::Tally;
use crdt_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::filling::Filling;
use super::gathering::{Gathering, has_others_ops};
use super::inbox::Inbox;
use super::waiting::Waiting;
use super::{Events, Query, Request, Sent};
use crate::changes::Changes;
use crate::clock::Clock;
use crate::error::StoreError;
use crate::keeper::Keeper;
use crate::metrics::Counts;
use crate::outbound::{Kept, Outbound};
use crate::share::Taken;
use crate::store::Store;

/// Pages read from the store between two looks at the inputs.
const BATCH_LOADS_MAX: usize = 8;

/// Time for the peers to be told that this replica stops.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// The code with which everybody is disconnected when the disk is full.
const TRY_LATER: u16 = 1013;

/// The thread's own.
pub(super) struct Task {
    replica: Replica,
    store: Store,
    events: Option<Events>,
    waiting: Waiting,
    peers: HashMap<PeerId, Outbound>,
    loads: VecDeque<Load>,
    /// Whoever looks at the replica after this batch.
    looks: Vec<Query>,
    /// What writing a batch took last.
    writing: Duration,
    gathering: Gathering,
    clock: Clock,
    changes: Changes,
    counts: Counts,
    keeper: Option<Keeper>,
}

impl Task {
    pub(super) fn new(replica: Replica, store: Store, inbox: Inbox<Sent>) -> Self {
        Self {
            replica,
            store,
            events: None,
            waiting: Waiting::of(inbox),
            peers: HashMap::new(),
            loads: VecDeque::new(),
            looks: Vec::new(),
            writing: Duration::ZERO,
            gathering: Gathering::default(),
            clock: Clock::start(),
            changes: Changes::default(),
            counts: Counts::default(),
            keeper: None,
        }
    }

    pub(super) fn telling(self, events: Option<Events>, changes: Changes) -> Self {
        Self { events, changes, ..self }
    }

    pub(super) fn counted(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    pub(super) fn kept_by(self, keeper: Option<Keeper>) -> Self {
        Self { keeper, ..self }
    }

    pub(super) fn run(mut self, runtime: &Handle) -> Result<(), StoreError> {
        loop {
            let first = self.next_request();
            let mut effects = self.adjust();
            let mut taken = Vec::new();
            let (wanted, stop) = self.batch(first, &mut taken)?;
            effects.extend(wanted);
            self.counts.came(self.replica.tally());
            self.counts.rooms(self.replica.room_count());
            self.carry_out(effects)?;
            // What they see is on disk.
            let now = self.clock.now();
            self.looks.drain(..).for_each(|look| look(&self.replica, now));
            // Only now may as many bytes be received again.
            drop(taken);
            if stop {
                self.say_goodbye(runtime);
                return Ok(());
            }
        }
    }

    fn say_goodbye(&mut self, runtime: &Handle) {
        let peers: Vec<Outbound> = self.peers.drain().map(|(_, outbound)| outbound).collect();
        let all_gone = async {
            for outbound in &peers {
                outbound.close(1001, "going-away");
            }
            for outbound in &peers {
                outbound.ended().await;
            }
        };
        // Who does not listen even now is left behind.
        let _in_time = runtime.block_on(async { timeout(GOODBYE_MAX, all_gone).await });
    }

    /// Waits for a request, unless pages are to be read or the replica wants to be woken.
    fn next_request(&mut self) -> Option<Request> {
        let at_hand = self.at_hand();
        if at_hand.is_some() || !self.loads.is_empty() {
            return at_hand;
        }
        let now = self.clock.now();
        let wait = self.replica.wake_at().map(|at| {
            let ms = at.as_ms().saturating_sub(now.as_ms());
            Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        });
        // Whether there is room again is looked at though nobody asks.
        let look = self.keeper.as_ref().and_then(Keeper::look_again);
        let wait = wait.into_iter().chain(look).min();
        if !self.waiting.wait(1, wait) {
            return Some(Request::Stop);
        }
        self.at_hand()
    }

    fn at_hand(&mut self) -> Option<Request> {
        self.waiting.at_hand(&self.replica, self.clock.now())
    }

    /// Feeds the replica what is at hand. Returns what it wants done, and whether to stop then.
    fn batch(
        &mut self,
        first: Option<Request>,
        held: &mut Vec<Taken>,
    ) -> Result<(Vec<Effect>, bool), StoreError> {
        let now = self.clock.now();
        let (mut effects, mut stop) = (Vec::new(), false);
        let mut filling = Filling::begin(Instant::now(), self.writing);
        self.gathering.begin();
        let mut next = first;
        // What it takes to get a request ready is part of what it takes.
        let mut began = Instant::now();
        while let Some(request) = next {
            self.gathering.took(request.is_own());
            match request {
                Request::Up(peer, link, outbound) => {
                    self.peers.insert(peer, outbound);
                    effects.extend(self.replica.handle(now, Input::PeerUp(peer, link)));
                    filling.took(0, began.elapsed(), 0);
                }
                Request::Input(Input::Command(command)) => {
                    effects.extend(self.replica.handle(now, Input::Command(command)));
                    filling.took_own(began.elapsed());
                }
                Request::Came(peer, came, space) => {
                    let (wanted, kept) = self.taken(now, came.input(peer));
                    effects.extend(wanted);
                    let time = began.elapsed();
                    filling.took(space.bytes(), time, kept);
                    self.waiting.took(time, kept);
                    self.gathering.kept(kept);
                    held.push(space);
                }
                Request::Input(input) => {
                    let (wanted, kept) = self.taken(now, input);
                    effects.extend(wanted);
                    filling.took(0, began.elapsed(), kept);
                }
                Request::Query(look) => {
                    self.looks.push(look);
                    filling.took_own(began.elapsed());
                }
                Request::Stop => stop = true,
            }
            // None is taken after the last.
            began = Instant::now();
            let more = !stop && !filling.is_full(began);
            next = if more { self.at_hand() } else { None };
            if more && next.is_none() && self.loads.is_empty() && has_others_ops(&effects) {
                next = self.gather();
                began = Instant::now();
            }
        }
        // One at least, and no more once the batch is full.
        for _ in 0..BATCH_LOADS_MAX {
            let Some(load) = self.next_load() else { break };
            let began = Instant::now();
            let loaded = self.store.load(load)?;
            self.counts.caught_up(loaded.ops.len());
            effects.extend(self.replica.handle(now, Input::Loaded(loaded)));
            filling.took(0, began.elapsed(), 0);
            if filling.is_full(Instant::now()) {
                break;
            }
        }
        effects.extend(self.replica.handle(now, Input::Flush));
        Ok((effects, stop))
    }

    /// The next page to read for a peer that is still here.
    fn next_load(&mut self) -> Option<Load> {
        loop {
            let load = self.loads.pop_front()?;
            if self.peers.contains_key(&load.peer) {
                return Some(load);
            }
        }
    }

    /// Waits for more to be written together with what others brought, if that seems worth it.
    fn gather(&mut self) -> Option<Request> {
        let (requests, time) = self.gathering.wait(Instant::now())?;
        self.waiting.wait(requests, Some(time));
        self.gathering.waited();
        self.at_hand()
    }

    /// Lets the replica take an input of a peer. Returns what it wants done, and how many ops are
    /// kept. Whoever brings new ops is charged for them, not for those that others brought and that
    /// waited for them.
    fn taken(&mut self, now: Timestamp, input: Input) -> (Vec<Effect>, u32) {
        let from = if let Input::Received(peer, _) = &input { Some(*peer) } else { None };
        if let Input::PeerDown(peer) = input {
            self.peers.remove(&peer);
        }
        let Tally { stored, brought, .. } = *self.replica.tally();
        let effects = self.replica.handle(now, input);
        let tally = self.replica.tally();
        if let Some(outbound) = from.and_then(|peer| self.peers.get(&peer)) {
            outbound.took_ops(tally.brought - brought);
        }
        (effects, u32::try_from(tally.stored - stored).unwrap_or(u32::MAX))
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        if !self.persist(&effects)? {
            return self.begin_anew();
        }
        let news = effects.iter().any(|effect| record(effect).is_some());
        let began = Instant::now();
        let mut events = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(_) => {}
                Effect::Load(load) => self.loads.push_back(load),
                Effect::Send(peer, frame) => {
                    if let Some(outbound) = self.peers.get(&peer) {
                        outbound.send(frame);
                    }
                }
                Effect::Close(peer, reason) => self.close(peer, reason),
                Effect::Notify(event) => {
                    self.counts.happened(&event);
                    if let Event::Admitted { room, .. } = &event {
                        self.changes.note(*room);
                    }
                    if let Some(keeper) = &self.keeper {
                        keeper.count(&event);
                    }
                    if self.events.as_ref().is_some_and(|user| (user.wanted)(&event)) {
                        events.push(event);
                    }
                }
            }
        }
        if let Some(user) = self.events.as_ref().filter(|_| !events.is_empty()) {
            user.tell(events);
        }
        if news {
            self.counts.passed_on(began);
        }
        Ok(())
    }
}

impl Task {
    /// Takes as much as there is room for at the moment.
    fn adjust(&mut self) -> Vec<Effect> {
        if let Some(intake) = self.keeper.as_mut().and_then(Keeper::changed) {
            return self.replica.handle(self.clock.now(), Input::Intake(intake));
        }
        Vec::new()
    }

    /// Writes what the replica wants kept. `false` if there is no room for it, and somebody goes on
    /// without it.
    fn persist(&mut self, effects: &[Effect]) -> Result<bool, StoreError> {
        let mut records = effects.iter().filter_map(record).peekable();
        if records.peek().is_none() {
            return Ok(true);
        }
        let began = Instant::now();
        let Some(keeper) = &mut self.keeper else {
            self.store.append(records)?;
            self.committed(began);
            return Ok(true);
        };
        if keeper.takes_nothing() {
            // No op is among them, and what else there is to keep saves work after a restart only.
            debug_assert!(!records.any(|record| matches!(record, Record::Op { .. })));
            return Ok(true);
        }
        match self.store.append(records) {
            Ok(()) => {
                keeper.written();
                self.committed(began);
            }
            Err(error) if keeper.found_no_room(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn committed(&mut self, began: Instant) {
        self.counts.committed(began);
        self.gathering.committed(Instant::now());
        self.writing = began.elapsed();
    }

    /// The disk is full: memory holds what the store does not. Nobody was told of it. Goes on with
    /// what the store holds, and lets everybody connect anew.
    fn begin_anew(&mut self) -> Result<(), StoreError> {
        let Some(keeper) = &mut self.keeper else { return Err(StoreError::Full) };
        keeper.full();
        self.store.recover()?;
        self.replica = keeper.replica().counting_from(self.replica.tally().clone());
        let replica = &mut self.replica;
        self.store.replay(|record| {
            replica.restore(record).map_err(|rule| StoreError::Damaged(rule.to_string()))
        })?;
        self.loads.clear();
        let peers = self.peers.drain();
        peers.for_each(|(_, outbound)| outbound.close(TRY_LATER, Shortage::Disk.code()));
        let effects = self.adjust();
        debug_assert!(effects.is_empty(), "nobody is connected");
        Ok(())
    }

    fn close(&mut self, peer: PeerId, reason: CloseReason) {
        let Some(outbound) = self.peers.remove(&peer) else { return };
        let twin = match reason {
            CloseReason::Twin(twin) => twin,
            CloseReason::Version
            | CloseReason::Hello
            | CloseReason::Size
            | CloseReason::Strikes
            | CloseReason::OwnStore
            | CloseReason::Auth => return outbound.close(reason.code(), reason.as_str()),
        };
        match self.peers.get(&twin) {
            Some(kept) => outbound.close_for(Kept { peer: twin, outbound: kept.clone() }),
            None => outbound.close(reason.code(), reason.as_str()),
        }
    }
}

fn record(effect: &Effect) -> Option<&Record> {
    if let Effect::Persist(record) = effect { Some(record) } else { None }
}
