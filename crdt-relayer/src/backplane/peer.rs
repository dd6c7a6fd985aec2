//! The bus as a peer of the replica: it answers like a store that holds every op of the stream and
//! knows nothing of what depends on what. Source: `docs/PROTOCOL.md`, "Synchronisation".

use std::collections::{HashSet, VecDeque};
use std::future::ready;

use bytes::Bytes;
use crdt_core::id::{OpId, Position, RoomId, StoreId};
use crdt_core::intake::Shortage;
use crdt_core::limits;
use crdt_core::message::{Hello, Message, encode_ops};
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt, try_join_all};
use futures_util::stream::{FuturesOrdered, StreamExt};

use super::ask::Ask;
use super::batch::Batch;
use super::bus::{Bus, Heard, Posted};
use super::ended::Ended;
use super::notes::{Notes, hash};
use super::reading::Reading;
use super::said::{Ack, Ops, Said};
use crate::local::LocalPeer;

/// Frames under way to the replica at one time.
const FRAMES_MAX: usize = 64;

/// The same once an op was rejected: fewer than the strikes that end a connection, with those
/// before.
const FRAMES_CAREFUL: usize = 8;

/// Rejections after which the connection to the replica is made anew, before it is ended.
const STRIKES_MAX: usize = limits::STRIKES_MAX as usize - FRAMES_CAREFUL;

/// Ops that others ask for at one time, and ids remembered that the replica asked for.
const WANTED_MAX: usize = 1_024;

/// Own ops that have not come back on the stream.
const OWN_MAX: usize = 65_536;

/// What outlives a connection.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) notes: Notes,
    /// The stream as a store.
    pub(crate) store: StoreId,
    pub(crate) reading: Reading,
    /// Messages read from the bus and not given to the replica.
    pub(crate) queue: VecDeque<Posted>,
    /// An op was rejected since the bus was connected.
    pub(crate) careful: bool,
}

/// What an `ack` of the replica will be for, in the order of the frames.
#[derive(Debug)]
enum Expected {
    /// The first frame: all the replica has to say at the start was said before.
    Start,
    /// Ops of the stream; how far it stands then, if the replica takes that as its cursor.
    Ops { room: RoomId, ops: Vec<(u64, OpId)>, cursor: Option<u64> },
    /// A frame without ops: it says how far the stream was taken, or what is not on it.
    Nothing,
}

/// An `ops` frame of the replica, posted.
#[derive(Debug)]
struct Delivered {
    room: RoomId,
    cursor: Option<u64>,
    count: usize,
    bytes: u64,
    /// The last message of it, if any was posted: its place and hash.
    last: Option<(u64, [u8; 32])>,
}

pub(crate) struct Peer<'a, B: Bus> {
    local: LocalPeer,
    bus: &'a mut B,
    state: &'a mut State,
    /// The replica's own store.
    me: Option<StoreId>,
    /// Rooms that it takes part in, and the highest cursor it named.
    rooms: HashSet<RoomId>,
    cursor: u64,
    started: bool,
    posting: FuturesOrdered<BoxFuture<'static, Result<Delivered, String>>>,
    owed_bytes: u64,
    expected: VecDeque<Expected>,
    /// Frames of a batch that are not answered, and where the batch ends.
    under_way: usize,
    through: u64,
    strikes: usize,
    /// The room in which a claim is noted: its ops are in the store.
    claims_in: Option<RoomId>,
    own: HashSet<OpId>,
    wanted: HashSet<OpId>,
    asked: HashSet<OpId>,
    rewound: bool,
    rewind_due: bool,
}

impl<'a, B: Bus> Peer<'a, B> {
    pub(crate) fn new(local: LocalPeer, bus: &'a mut B, state: &'a mut State) -> Self {
        Self {
            local,
            bus,
            state,
            me: None,
            rooms: HashSet::new(),
            cursor: 0,
            started: false,
            posting: FuturesOrdered::new(),
            owed_bytes: 0,
            expected: VecDeque::new(),
            under_way: 0,
            through: 0,
            strikes: 0,
            claims_in: None,
            own: HashSet::new(),
            wanted: HashSet::new(),
            asked: HashSet::new(),
            rewound: false,
            rewind_due: false,
        }
    }

    /// Serves until the bus or the replica ends it.
    pub(crate) async fn run(mut self) -> Ended {
        let ended = match self.serve().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        self.local.close().await;
        ended
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Ended> {
        let hello = Hello::new("backplane", self.state.store, limits::WINDOW_BYTES);
        let hello = Message::Hello(hello);
        self.local.send(&hello.encode()).await?;
        // Answered after everything that the replica says to the `hello`.
        let nothing = encode_ops(RoomId::from_bytes([0; 32]), [], None, &[]);
        self.send_ops(&nothing, Expected::Start).await?;
        loop {
            let idle = self.started && self.under_way == 0;
            if idle && self.next_batch().await? {
                continue;
            }
            tokio::select! {
                said = self.local.recv() => match said {
                    Ok(frame) => self.said(&frame).await?,
                    Err("strikes") => {
                        self.state.careful = true;
                        return Err(Ended::Renew);
                    }
                    Err(reason) => return Err(reason.into()),
                },
                Some(delivered) = self.posting.next() => self.delivered(delivered?).await?,
                heard = self.bus.next(), if idle => self.heard(heard?).await?,
            }
        }
    }

    async fn send_ops(&mut self, frame: &str, expected: Expected) -> Result<(), Ended> {
        self.local.send(frame).await?;
        self.expected.push_back(expected);
        Ok(())
    }

    async fn said(&mut self, frame: &str) -> Result<(), Ended> {
        let said = Said::decode(frame).ok_or("the replica is not understood")?;
        match said {
            Said::Hello { store } => self.me = Some(store),
            Said::Sub { room, cursor } => {
                self.cursor = self.cursor.max(cursor);
                if self.rooms.insert(room) {
                    // A replica forgets a room that holds nothing yet, and what is parked there.
                    self.rewind_due |= self.state.reading.waits_in(room);
                    let cursor = Position::new(self.state.notes.sent(room)).unwrap_or_default();
                    let sub = Message::Sub { room, name: None, cursor: Some(cursor) };
                    self.local.send(&sub.encode()).await?;
                    // The stream cannot compare: all of it is read, so nothing is in doubt.
                    let (cursor, pulled) = (Position::START, Position::START);
                    self.local.send(&Message::Settled { room, cursor, pulled }.encode()).await?;
                    // A room that is new in the store is subscribed to after its first ops.
                    self.claim().await?;
                }
            }
            Said::Unsub { room } => drop(self.rooms.remove(&room)),
            Said::Ops(ops) => self.post(ops, frame.len()).await?,
            Said::Ack(ack) => self.acked(&ack).await?,
            Said::Heads { room, set } => {
                let ids = self.state.reading.doubtful(room, set);
                if !ids.is_empty() {
                    self.local.send(&Message::Get { room, ids }.encode()).await?;
                }
            }
            Said::Get { room, ids } => self.lacking(room, ids).await?,
            Said::Busy => self.wanted.clear(),
            Said::Other => {}
        }
        Ok(())
    }

    /// Posts the replica's ops, except those that the stream is known to hold.
    async fn post(&mut self, said: Ops, bytes: usize) -> Result<(), Ended> {
        let Ops { room, cursor, envelopes, missing } = said;
        let (count, mut receipts) = (envelopes.len(), Vec::new());
        for (id, envelope) in envelopes {
            let on_stream = self.state.reading.settle(id);
            let asked_for = self.wanted.remove(&id);
            if asked_for || (cursor.is_some() && !on_stream) {
                if self.own.len() >= OWN_MAX {
                    // What is forgotten is given to the replica once more.
                    self.own.clear();
                }
                self.own.insert(id);
                let hash = hash(&envelope);
                let receipt = self.bus.post(room, id, envelope).await?;
                receipts.push(receipt.map_ok(move |seq| (seq, hash)));
            }
        }
        for id in missing {
            self.wanted.remove(&id);
        }
        let bytes = bytes as u64;
        let delivered = Delivered { room, cursor, count, bytes, last: None };
        self.posting.push_back(if receipts.is_empty() {
            ready(Ok(delivered)).boxed()
        } else {
            let kept = try_join_all(receipts);
            kept.map_ok(move |kept| Delivered { last: kept.into_iter().max(), ..delivered }).boxed()
        });
        self.claim().await
    }

    /// The bus keeps what the replica sent: only now does it count as sent.
    async fn delivered(&mut self, delivered: Delivered) -> Result<(), Ended> {
        let Delivered { room, cursor, count, bytes, last } = delivered;
        // By a message before it, the stream would be known again after it has lost this one.
        if let Some((seq, hash)) = last {
            self.state.notes.note_held(seq, hash)?;
        }
        if let Some(cursor) = cursor {
            self.state.notes.note_sent(room, cursor)?;
        }
        let ack = Message::Ack { room, stored: count as u64, except: Vec::new() };
        self.local.send(&ack.encode()).await?;
        self.owed_bytes += bytes;
        if self.owed_bytes >= limits::GRANT_BYTES {
            let credit = Message::Credit { bytes: std::mem::take(&mut self.owed_bytes) };
            self.local.send(&credit.encode()).await?;
        }
        Ok(())
    }

    async fn heard(&mut self, heard: Heard) -> Result<(), Ended> {
        match heard {
            Heard::Posted(messages) => self.state.queue.extend(messages),
            Heard::Asked(text) => self.asked(&text).await?,
        }
        Ok(())
    }

    /// Gives the replica what was read. Returns whether there was something.
    async fn next_batch(&mut self) -> Result<bool, Ended> {
        if self.strikes >= STRIKES_MAX {
            return Err(Ended::Renew);
        }
        if std::mem::take(&mut self.rewind_due) && self.state.reading.rewind() {
            self.state.queue.clear();
            self.bus.read_after(self.state.reading.read()).await?;
        }
        let frames = if self.state.careful { FRAMES_CAREFUL } else { FRAMES_MAX };
        let own = &mut self.own;
        let last = self.state.queue.back().map(|posted| (posted.seq, hash(&posted.payload)));
        let Some(batch) = Batch::take(&mut self.state.queue, frames, |id| own.remove(&id)) else {
            return Ok(false);
        };
        if let Some((seq, hash)) = last.filter(|_| self.state.queue.is_empty()) {
            self.state.notes.note_held(seq, hash)?;
        }
        self.through = batch.through;
        self.under_way = batch.groups.len();
        // A frame alone says itself how far it brings the store.
        let alone = self.under_way == 1 && self.state.reading.nothing_before();
        for group in batch.groups {
            let cursor = Some(batch.through).filter(|_| alone && self.rooms.contains(&group.room));
            let frame = group.frame(cursor);
            let (room, ops) = (group.room, group.ops);
            self.send_ops(&frame, Expected::Ops { room, ops, cursor }).await?;
        }
        if self.under_way == 0 {
            self.batch_done().await?;
        }
        Ok(true)
    }

    /// The replica has stored, parked or rejected what it was given.
    async fn acked(&mut self, ack: &Ack) -> Result<(), Ended> {
        match self.expected.pop_front().ok_or("an answer to nothing")? {
            Expected::Nothing => {}
            Expected::Start => self.start().await?,
            Expected::Ops { .. } if ack.later > 0 => {
                // Read again from what is in the store, after a pause.
                return Err(Shortage::Disk.sentence().into());
            }
            Expected::Ops { room, ops, cursor } => {
                for index in &ack.parked {
                    if let Some((seq, id)) = ops.get(*index) {
                        self.state.reading.park(*seq, room, *id);
                    }
                }
                if ack.stored > 0 {
                    self.claims_in = Some(room);
                }
                if ack.rejected > 0 {
                    self.strikes += 1;
                    self.state.careful = true;
                }
                if let Some(cursor) = cursor.filter(|_| ack.parked.is_empty() && ack.stored > 0) {
                    self.state.reading.claim(cursor);
                }
                self.under_way -= 1;
                if self.under_way == 0 {
                    self.batch_done().await?;
                }
            }
        }
        Ok(())
    }

    /// The replica has named its cursors: reads on from the highest. Each says that everything
    /// before it, of all rooms, was taken.
    async fn start(&mut self) -> Result<(), Ended> {
        let stream = self.bus.stream();
        if self.cursor > stream.last.max(self.state.reading.read()) {
            self.state.store = self.state.notes.begin_anew(stream)?;
            self.state.reading = Reading::default();
            return Err(Ended::Renew);
        }
        self.state.reading.resume(self.cursor);
        self.started = true;
        self.state.queue.clear();
        self.bus.read_after(self.state.reading.read()).await?;
        Ok(())
    }

    async fn batch_done(&mut self) -> Result<(), Ended> {
        self.state.reading.advance(self.through);
        self.claim().await
    }

    /// Lets the store note how far the stream was taken, where no frame with ops has said so.
    async fn claim(&mut self) -> Result<(), Ended> {
        let quiet = self.started && self.under_way == 0;
        let place = self.state.reading.to_claim().filter(|_| quiet);
        let Some(place) = place else { return Ok(()) };
        if let Some(room) = self.claims_in.filter(|room| self.rooms.contains(room)) {
            self.state.reading.claim(place);
            let claim = encode_ops(room, [], Position::new(place), &[]);
            self.send_ops(&claim, Expected::Nothing).await?;
        }
        Ok(())
    }

    /// The replica lacks ops. The stream knows no op by its id: the other relayers are asked to
    /// post what they have, and what was read and is parked is read once more.
    async fn lacking(&mut self, room: RoomId, ids: Vec<OpId>) -> Result<(), Ended> {
        self.send_ops(&encode_ops(room, [], None, &ids), Expected::Nothing).await?;
        let again = ids.iter().any(|id| self.asked.contains(id));
        if again && !self.rewound {
            (self.rewound, self.rewind_due) = (true, true);
        }
        if self.asked.len() < WANTED_MAX {
            self.asked.extend(&ids);
        }
        if let Some(from) = self.me {
            self.bus.ask(Ask { from, room, ids }.encode()).await?;
        }
        Ok(())
    }

    /// Another relayer lacks ops.
    async fn asked(&mut self, text: &Bytes) -> Result<(), Ended> {
        let Some(ask) = Ask::decode(text) else { return Ok(()) };
        let full = self.wanted.len() + ask.ids.len() > WANTED_MAX;
        if full || Some(ask.from) == self.me || !self.rooms.contains(&ask.room) {
            return Ok(());
        }
        let room = ask.room;
        let ids: Vec<OpId> = ask.ids.into_iter().filter(|id| self.wanted.insert(*id)).collect();
        if !ids.is_empty() {
            self.local.send(&Message::Get { room, ids }.encode()).await?;
        }
        Ok(())
    }
}
