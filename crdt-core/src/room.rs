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
use crate::message::{Frame, Message};
use crate::op::{Draft, Op};
use crate::rejection::Rejection;
use crate::time::Timestamp;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: Option<RoomName>,
    pub(crate) log: Log,
    pub(crate) fetch: Fetch,
    /// Who asked for this room's ops.
    pub(crate) subscribers: BTreeSet<PeerId>,
    /// How far other stores have acknowledged this one's ops.
    pub(crate) acked: BTreeMap<StoreId, Position>,
    /// How far other stores were pulled.
    pulled: BTreeMap<StoreId, Position>,
    writes: VecDeque<(Token, Canonical)>,
    fresh: Vec<Admitted>,
    announce_at: Option<Timestamp>,
    announced_at: Timestamp,
    recorded: bool,
}

impl Room {
    pub(crate) fn new(id: RoomId, name: Option<RoomName>, seed: u64) -> Self {
        Self {
            name,
            log: Log::new(id, seed),
            fetch: Fetch::default(),
            subscribers: BTreeSet::new(),
            acked: BTreeMap::new(),
            pulled: BTreeMap::new(),
            writes: VecDeque::new(),
            fresh: Vec::new(),
            announce_at: None,
            announced_at: Timestamp::default(),
            recorded: false,
        }
    }

    pub(crate) fn id(&self) -> RoomId {
        self.log.graph().room()
    }

    /// Puts back what the store kept.
    pub(crate) fn restore(&mut self, record: Record) -> Result<(), Rejection> {
        self.recorded = true;
        match record {
            Record::Room { .. } => {}
            Record::Pulled { store, position, .. } => {
                self.pulled.insert(store, position);
            }
            Record::Acked { store, position, .. } => {
                self.acked.insert(store, position);
            }
            Record::Op { op, source, .. } => {
                let mut admitted = Vec::new();
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

    /// Keeps what entered the log: on disk now, to the subscribers at the next flush.
    pub(crate) fn admit(&mut self, admitted: Vec<Admitted>, effects: &mut Vec<Effect>) {
        if admitted.is_empty() {
            return;
        }
        self.record(effects);
        for entered in admitted {
            self.fetch.came(entered.op.id());
            effects.push(Effect::Persist(Record::Op {
                position: entered.position,
                source: entered.source,
                op: Arc::clone(&entered.op),
            }));
            effects.push(Effect::Notify(Event::Admitted {
                room: self.id(),
                op: Arc::clone(&entered.op),
                position: entered.position,
                conflict: entered.conflict,
            }));
            self.fresh.push(entered);
        }
    }

    pub(crate) fn take_fresh(&mut self) -> Vec<Admitted> {
        core::mem::take(&mut self.fresh)
    }

    /// How far the room was pulled from a store.
    pub(crate) fn pulled(&self, store: StoreId) -> Position {
        self.pulled.get(&store).copied().unwrap_or_default()
    }

    /// Notes how far the room was pulled. Where too many stores are remembered, the one with the
    /// least to pull again is forgotten.
    pub(crate) fn set_pulled(
        &mut self,
        store: StoreId,
        position: Position,
        effects: &mut Vec<Effect>,
    ) {
        if position <= self.pulled(store) {
            return;
        }
        let room = self.id();
        self.record(effects);
        if !self.pulled.contains_key(&store) && self.pulled.len() >= limits::MARKS_MAX {
            let least = self.pulled.iter().min_by_key(|(_, position)| **position);
            if let Some(store) = least.map(|(store, _)| *store) {
                self.pulled.remove(&store);
                let position = Position::START;
                effects.push(Effect::Persist(Record::Pulled { room, store, position }));
            }
        }
        self.pulled.insert(store, position);
        effects.push(Effect::Persist(Record::Pulled { room, store, position }));
    }

    /// Queues a transaction; `false` if too many wait.
    pub(crate) fn write(&mut self, token: Token, entry: Canonical) -> bool {
        let fits = self.writes.len() < limits::WRITES_PENDING_MAX;
        if fits {
            self.writes.push_back((token, entry));
        }
        fits
    }

    /// Signs the transactions that wait, as many to an op as fit.
    pub(crate) fn sign_writes(
        &mut self,
        now: Timestamp,
        key: &SecretKey,
        effects: &mut Vec<Effect>,
    ) {
        while !self.writes.is_empty() {
            let (tokens, data) = self.next_batch();
            let author = key.author();
            let tip = self.log.graph().tip(author);
            let (preds, depth) = self.log.graph().preds_for(author);
            let draft = Draft {
                room: self.id(),
                tip: tip.map(|tip| (tip.seq, tip.id)),
                preds,
                refs: Vec::new(),
                depth,
                ts: tip.map_or(now, |tip| now.max(tip.ts)),
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
        let (room, id) = (self.id(), op.id());
        let mut admitted = Vec::new();
        let verdict = self.log.insert((Arc::new(op), None), &mut admitted);
        debug_assert_eq!(verdict, Verdict::Stored, "an own op builds on admitted ones");
        let position = admitted.first().map(|entered| entered.position).unwrap_or_default();
        self.admit(admitted, effects);
        for (index, token) in tokens.into_iter().enumerate() {
            let durable = Event::Durable { room, token, op: id, index, position };
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

    /// The announcement of what this replica holds.
    pub(crate) fn heads_frame(&self) -> Frame {
        let graph = self.log.graph();
        Message::Heads {
            room: self.id(),
            set: self.log.set_digest(),
            count: graph.end().number(),
            heads: graph.heads().iter().take(limits::HEADS_LISTED_MAX).copied().collect(),
            cursor: graph.end(),
        }
        .encode()
    }

    /// The log changed: announce it after a silence, but not later than the regular time.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        let regular = self.announced_at.after(limits::HEADS_EVERY).max(now);
        self.announce_at = Some(now.after(limits::HEADS_AFTER).min(regular));
    }

    /// Somebody listens: announce at the regular time if not before.
    pub(crate) fn keep_announcing(&mut self, now: Timestamp) {
        self.announce_at.get_or_insert(now.after(limits::HEADS_EVERY));
    }

    /// Whether an announcement is due; if so the next one is put off.
    pub(crate) fn announcement_due(&mut self, now: Timestamp) -> bool {
        let due = self.announce_at.is_some_and(|at| at <= now);
        if due {
            self.announced_at = now;
            self.announce_at = Some(now.after(limits::HEADS_EVERY));
        }
        due
    }

    /// When this room needs attention next, though nothing happens to it.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        let announce = self.announce_at.filter(|_| !self.subscribers.is_empty());
        [announce, self.fetch.due_at()].into_iter().flatten().min()
    }
}
