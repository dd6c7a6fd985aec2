//! One room as this replica holds it: its log, what waits to be signed, what waits to be passed on.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::effect::{Effect, Event, PeerId, Record, Token};
use crate::fetch::Fetch;
use crate::head::Kind;
use crate::id::{Position, RoomId, RoomName, StoreId};
use crate::json::Canonical;
use crate::key::SecretKey;
use crate::limits;
use crate::log::{Admitted, Log, Verdict};
use crate::op::{Draft, Op};
use crate::own::Own;
use crate::planted::{Bug, planted};
use crate::reconcile::Items;
use crate::rejection::Rejection;
use crate::time::Timestamp;

mod announce;

/// An op that entered the log and is not passed on yet.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) op: Arc<Op>,
    pub(crate) position: Position,
    /// The connection it came on: it does not go back there.
    pub(crate) via: Option<PeerId>,
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: Option<RoomName>,
    pub(crate) log: Log,
    pub(crate) fetch: Fetch,
    /// Who asked for this room's ops.
    pub(crate) subscribers: BTreeSet<PeerId>,
    /// How far other stores have acknowledged this one's ops.
    pub(crate) acked: BTreeMap<StoreId, Position>,
    /// How far other stores were pulled, and when each was noted last, in notes.
    pulled: BTreeMap<StoreId, (Position, u64)>,
    notes: u64,
    writes: VecDeque<(Token, Canonical)>,
    fresh: Vec<Fresh>,
    /// The chain of this replica's key, if it has one.
    pub(crate) own: Option<Own>,
    /// When ops were first found to be missing that are missing still.
    missing_since: Option<Timestamp>,
    /// Heads listed in announcements so far: where there are too many for one, all have their turn.
    listed: usize,
    announce_at: Option<Timestamp>,
    announced_at: Timestamp,
    /// The ops in the order in which they are compared, while they are.
    pub(crate) items: Option<Items>,
    /// Bytes of its ops.
    pub(crate) bytes: u64,
    /// When streams that wait for a peer that put ops off are looked at.
    pub(crate) resume_at: Option<Timestamp>,
    /// When streams that stand still for a comparison are looked at.
    pub(crate) give_up_at: Option<Timestamp>,
    /// When very many heads are compared next.
    compare_at: Timestamp,
    recorded: bool,
}

impl Room {
    pub(crate) fn new(log: Log, name: Option<RoomName>, own: Option<Own>) -> Self {
        Self {
            name,
            log,
            fetch: Fetch::default(),
            subscribers: BTreeSet::new(),
            acked: BTreeMap::new(),
            pulled: BTreeMap::new(),
            notes: 0,
            writes: VecDeque::new(),
            fresh: Vec::new(),
            own,
            missing_since: None,
            listed: 0,
            announce_at: None,
            announced_at: Timestamp::default(),
            items: None,
            bytes: 0,
            resume_at: None,
            give_up_at: None,
            compare_at: Timestamp::default(),
            recorded: false,
        }
    }

    pub(crate) fn id(&self) -> RoomId {
        self.log.graph().room()
    }

    /// The room's ops in the order in which they are compared.
    pub(crate) fn items(&mut self) -> &Items {
        let items = self.items.get_or_insert_default();
        if items.end() != self.log.graph().end() {
            items.update(self.log.graph());
        }
        items
    }

    /// Puts back what the store kept.
    pub(crate) fn restore(&mut self, record: Record) -> Result<(), Rejection> {
        self.recorded = true;
        match record {
            Record::Room { .. } => {}
            Record::Pulled { store, position, .. } => {
                if self.pulled.len() < limits::MARKS_MAX && position != Position::START {
                    self.pulled.insert(store, (position, 0));
                }
            }
            Record::Acked { store, position, .. } => {
                if self.acked.len() < limits::MARKS_MAX {
                    self.acked.insert(store, position);
                }
            }
            Record::Op { op, source, .. } => {
                let mut admitted = Vec::new();
                if let Some(own) = &mut self.own {
                    own.admitted(&op, source.is_none());
                }
                self.bytes = self.bytes.saturating_add(op.weight() as u64);
                match self.log.insert((op, source), &mut admitted) {
                    Verdict::Stored if admitted.len() == 1 => {}
                    Verdict::Rejected(rejection) => return Err(rejection),
                    Verdict::Stored | Verdict::Parked => return Err(Rejection::Ancestor),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn record(&mut self, effects: &mut Vec<Effect>) {
        if !self.recorded {
            self.recorded = true;
            let record = Record::Room { id: self.id(), name: self.name.clone() };
            effects.push(Effect::Persist(record));
        }
    }

    /// Gives the room a name if it has none, also on disk.
    pub(crate) fn set_name(&mut self, name: RoomName, effects: &mut Vec<Effect>) {
        if self.name.is_none() {
            self.name = Some(name);
            if core::mem::take(&mut self.recorded) {
                self.record(effects);
            }
        }
    }

    /// Keeps what entered the log: on disk now, to the subscribers at the next flush. `via` is the
    /// connection and store that the ops came from, if any.
    pub(crate) fn admit(
        &mut self,
        admitted: Vec<Admitted>,
        via: Option<(PeerId, StoreId)>,
        effects: &mut Vec<Effect>,
    ) {
        if admitted.is_empty() {
            return;
        }
        self.record(effects);
        for entered in admitted {
            self.fetch.came(entered.op.id());
            self.bytes = self.bytes.saturating_add(entered.op.weight() as u64);
            effects.push(Effect::Persist(Record::Op {
                position: entered.position,
                source: entered.source,
                op: Arc::clone(&entered.op),
            }));
            effects.push(Effect::Notify(Event::Admitted {
                room: self.id(),
                op: Arc::clone(&entered.op),
                position: entered.position,
                source: entered.source,
                equivocation: entered.equivocation,
            }));
            let written_here = entered.source.is_none();
            if self.own.as_mut().is_some_and(|own| own.admitted(&entered.op, written_here)) {
                let (room, op) = (self.id(), entered.op.id());
                effects.push(Effect::Notify(Event::SignedElsewhere { room, op }));
            }
            let via = via.filter(|(_, store)| entered.source == Some(*store)).map(|(peer, _)| peer);
            self.fresh.push(Fresh { op: entered.op, position: entered.position, via });
        }
    }

    pub(crate) fn take_fresh(&mut self) -> Vec<Fresh> {
        core::mem::take(&mut self.fresh)
    }

    /// How far the room was pulled from a store; the start if that is not known.
    pub(crate) fn pulled(&self, store: StoreId) -> Position {
        self.pulled.get(&store).map(|(position, _)| *position).unwrap_or_default()
    }

    /// From where on to ask a store for ops; `None` if it is not known which of them are here.
    pub(crate) fn cursor(&self, store: StoreId) -> Option<Position> {
        let known = Some(self.pulled(store)).filter(|position| *position != Position::START);
        known.or_else(|| (self.log.graph().end() == Position::START).then_some(Position::START))
    }

    /// Notes how far the room was pulled. Where too many stores are remembered, the one noted
    /// longest ago is forgotten: it is pulled from the start next time. A room without ops has
    /// nothing to remember.
    pub(crate) fn set_pulled(
        &mut self,
        store: StoreId,
        position: Position,
        effects: &mut Vec<Effect>,
    ) {
        let ahead = u64::from(planted(Bug::CursorAhead));
        let position = Position::new(position.number() + ahead).unwrap_or(position);
        if position == self.pulled(store) || !self.recorded {
            return;
        }
        let room = self.id();
        if !self.pulled.contains_key(&store) && self.pulled.len() >= limits::MARKS_MAX {
            let oldest = self.pulled.iter().min_by_key(|(_, (_, noted))| *noted);
            if let Some(store) = oldest.map(|(store, _)| *store) {
                self.pulled.remove(&store);
                let position = Position::START;
                effects.push(Effect::Persist(Record::Pulled { room, store, position }));
            }
        }
        self.notes += 1;
        self.pulled.insert(store, (position, self.notes));
        effects.push(Effect::Persist(Record::Pulled { room, store, position }));
    }

    /// Notes how far a store has acknowledged. Where too many stores are remembered, the one that
    /// holds the least is forgotten: what is unsent follows from the one that holds the most.
    pub(crate) fn set_acked(
        &mut self,
        store: StoreId,
        position: Position,
        effects: &mut Vec<Effect>,
    ) {
        let room = self.id();
        if !self.acked.contains_key(&store) && self.acked.len() >= limits::MARKS_MAX {
            let least = self.acked.iter().min_by_key(|(_, position)| **position);
            if let Some(store) = least.map(|(store, _)| *store) {
                self.acked.remove(&store);
                let position = Position::START;
                effects.push(Effect::Persist(Record::Acked { room, store, position }));
            }
        }
        self.acked.insert(store, position);
        effects.push(Effect::Persist(Record::Acked { room, store, position }));
    }

    /// Queues a transaction; `false` if too many wait.
    pub(crate) fn write(&mut self, token: Token, entry: Canonical) -> bool {
        let fits = self.writes.len() < limits::WRITES_PENDING_MAX;
        if fits {
            self.writes.push_back((token, entry));
        }
        fits
    }

    /// Transactions that wait to be signed.
    pub(crate) fn unsigned(&self) -> usize {
        self.writes.len()
    }

    /// Gives back what waits to be signed, if it waits for the own chain.
    pub(crate) fn withdraw(&mut self, effects: &mut Vec<Effect>) {
        let waits = self.own.as_ref().is_some_and(|own| own.learning().is_some());
        if waits && !self.writes.is_empty() {
            let entries = self.writes.drain(..).map(|(_, entry)| entry).collect();
            let room = self.name.clone();
            effects.push(Effect::Notify(Event::Withdrawn { room, entries }));
        }
    }

    /// Looks whether the own chain is known by now. `all_complete` if no connected peer has
    /// anything more to tell.
    pub(crate) fn learn(&mut self, now: Timestamp, all_complete: bool, effects: &mut Vec<Effect>) {
        let (room, signed) = (self.id(), self.own_ops());
        if self.own.as_mut().is_some_and(|own| own.is_learnt(now, signed, all_complete)) {
            effects.push(Effect::Notify(Event::Learnt { room, signed }));
        }
    }

    /// Ops of the own chain: one more than its highest place.
    pub(crate) fn own_ops(&self) -> u64 {
        let tip = self.own.as_ref().and_then(|own| self.log.graph().tip(own.author()));
        tip.map_or(0, |tip| tip.seq.number() + 1)
    }

    /// Notes since when ops are missing, if any are.
    pub(crate) fn note_missing(&mut self, now: Timestamp) {
        // Whatever is parked waits, in the end, for an op that is not here.
        if self.log.parked() == 0 && self.fetch.is_idle() {
            self.missing_since = None;
        } else {
            self.missing_since.get_or_insert(now);
        }
    }

    /// Since when ops are missing.
    pub(crate) fn missing_since(&self) -> Option<Timestamp> {
        self.missing_since
    }

    /// Signs the transactions that wait, as many to an op as fit.
    pub(crate) fn sign_writes(
        &mut self,
        now: Timestamp,
        key: &SecretKey,
        effects: &mut Vec<Effect>,
    ) {
        if self.own.as_ref().is_none_or(|own| own.learning().is_some()) {
            return;
        }
        while !self.writes.is_empty() {
            let (tokens, data) = self.next_batch();
            let forgotten = planted(Bug::TipForgotten) && self.notes == 0;
            let tip = self.own.as_ref().and_then(Own::tip).filter(|_| !forgotten);
            let (preds, depth) = self.log.graph().preds_for(tip);
            let draft = Draft {
                room: self.id(),
                tip: tip.map(|tip| (tip.seq, tip.id)),
                preds,
                refs: Vec::new(),
                depth,
                ts: tip.map_or(
                    now,
                    |tip| if planted(Bug::OwnTimeBack) { now } else { now.max(tip.ts) },
                ),
                kind: Kind::entry(),
                data,
            };
            let Ok(op) = draft.sign(key) else {
                debug_assert!(false, "what is queued fits into an op");
                return;
            };
            self.admit_own(op, tokens, effects);
        }
    }

    fn admit_own(&mut self, op: Op, tokens: Vec<Token>, effects: &mut Vec<Effect>) {
        let (room, id, seq) = (self.id(), op.id(), op.head().seq);
        let mut admitted = Vec::new();
        let verdict = self.log.insert((Arc::new(op), None), &mut admitted);
        debug_assert_eq!(verdict, Verdict::Stored, "an own op builds on admitted ones");
        let position = admitted.first().map(|entered| entered.position).unwrap_or_default();
        self.admit(admitted, None, effects);
        for (index, token) in tokens.into_iter().enumerate() {
            let durable = Event::Durable { room, token, op: id, seq, index, position };
            effects.push(Effect::Notify(durable));
        }
    }

    /// Takes from the queue as many transactions as fit into one op, at least one.
    fn next_batch(&mut self) -> (Vec<Token>, Canonical) {
        let mut tokens = Vec::new();
        let mut data = String::from("[");
        while let Some((token, entry)) = self.writes.front() {
            let full = data.len() + entry.as_str().len() + 2 > limits::DATA_BYTES_MAX;
            if !tokens.is_empty() && (full || tokens.len() == limits::ENTRIES_MAX) {
                break;
            }
            if !tokens.is_empty() {
                data.push(',');
            }
            data.push_str(entry.as_str());
            tokens.push(*token);
            self.writes.pop_front();
        }
        data.push(']');
        (tokens, Canonical::trusted(data))
    }

    /// When this room needs attention next, though nothing happens to it.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let announce = self.announce_at.filter(|_| !self.subscribers.is_empty());
        let learn = self.own.as_ref().and_then(|own| own.due_at(now));
        let streams = [self.give_up_at, self.resume_at].into_iter().flatten().min();
        [announce, self.fetch.due_at(), learn, streams].into_iter().flatten().min()
    }
}
