//! A lying author: a peer without a replica that says what it likes to whom it likes, and knows all
//! that happens in the run.

use std::collections::BTreeMap;

use crdt_core::effect::PeerId;
use crdt_core::head::{Head, Kind};
use crdt_core::id::{AuthorId, Depth, OpId, Position, RoomId, SetDigest, StoreId};
use crdt_core::key::SecretKey;
use crdt_core::limits;
use crdt_core::message::{Frame, Hello, Message, Received};
use crdt_core::time::Timestamp;

use super::forge::{self, Forged, Tip};
use super::options::Crime;
use super::party::Seat;
use super::tape::Tape;
use super::truth::{Known, Truth};

/// Ops that wait for a parent nobody has: more than may be kept of one author.
const FLOOD_OPS: usize = limits::PARKED_PER_AUTHOR_MAX + 150;

#[derive(Debug)]
pub(super) struct Liar {
    pub(super) name: String,
    pub(super) key: SecretKey,
    pub(super) crimes: Vec<Crime>,
    pub(super) store: StoreId,
    pub(super) peers: BTreeMap<PeerId, Seat>,
    rooms: Vec<RoomId>,
    tips: BTreeMap<RoomId, Tip>,
    /// What it shows to whoever asks.
    shown: BTreeMap<OpId, (RoomId, String)>,
    /// What it keeps back for now.
    hidden: Vec<(RoomId, Forged)>,
    flooded: bool,
}

/// A frame and those it is for.
pub(super) type Attack = (Vec<PeerId>, Frame);

impl Liar {
    pub(super) fn new(name: String, seed: [u8; 32], rooms: Vec<RoomId>) -> Self {
        Self {
            name,
            key: SecretKey::from_seed(&seed),
            crimes: Vec::new(),
            store: StoreId::from_bytes(seed),
            peers: BTreeMap::new(),
            rooms,
            tips: BTreeMap::new(),
            shown: BTreeMap::new(),
            hidden: Vec::new(),
            flooded: false,
        }
    }

    pub(super) fn author(&self) -> AuthorId {
        self.key.author()
    }

    /// What it says first.
    pub(super) fn hello(&self) -> Frame {
        let window = limits::WINDOW_BYTES;
        Message::Hello(Hello::new(self.name.clone(), self.store, window)).encode()
    }

    /// What it answers.
    pub(super) fn hear(&self, frame: &str) -> Vec<Frame> {
        match Received::decode(frame.as_bytes()) {
            Ok(Received::Message(Message::Hello(_))) => {
                let sub = |room: &RoomId| {
                    let cursor = Position::START;
                    Message::Sub { room: *room, name: None, cursor: Some(cursor) }.encode()
                };
                self.rooms.iter().map(sub).collect()
            }
            Ok(Received::Ops(batch)) => {
                // It says that it has stored everything, and stores nothing.
                let stored = u64::try_from(batch.ops.len()).unwrap_or_default();
                let ack = Message::Ack { room: batch.room, stored, except: Vec::new() }.encode();
                let bytes = u64::try_from(frame.len()).unwrap_or_default();
                vec![ack, Message::Credit { bytes }.encode()]
            }
            Ok(Received::Message(Message::Get { room, ids })) => {
                let has = ids.iter().filter_map(|id| self.shown.get(id));
                let texts: Vec<&str> = has.map(|(_, text)| text.as_str()).collect();
                vec![forge::frame(room, &texts)]
            }
            Ok(Received::Message(_) | Received::Acked { .. }) | Err(_) => Vec::new(),
        }
    }

    /// Does one of the things it does.
    pub(super) fn act(&mut self, truth: &mut Truth, tape: &mut Tape) -> Vec<Attack> {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        let (Some(one), Some(room)) = (tape.pick(&peers), tape.pick(&self.rooms)) else {
            return Vec::new();
        };
        if tape.chance(300) || self.crimes.is_empty() {
            let op = self.next(room, truth, tape);
            self.keep(&op);
            let to = if tape.chance(500) { peers } else { vec![one] };
            return vec![(to, forge::frame(room, &[&op.text]))];
        }
        if tape.chance(300) && !self.hidden.is_empty() {
            let index = tape.below(self.hidden.len());
            let (room, op) = self.hidden.swap_remove(index);
            self.shown.insert(op.id, (room, op.text.clone()));
            return vec![(vec![one], forge::frame(room, &[&op.text]))];
        }
        match tape.pick(&self.crimes) {
            Some(crime) => self.commit(crime, (room, one, &peers), truth, tape),
            None => Vec::new(),
        }
    }

    fn commit(
        &mut self,
        crime: Crime,
        (room, one, all): (RoomId, PeerId, &[PeerId]),
        truth: &mut Truth,
        tape: &mut Tape,
    ) -> Vec<Attack> {
        let to_one = |text: &str| vec![(vec![one], forge::frame(room, &[text]))];
        match crime {
            Crime::Equivocate => {
                let (a, b) = (self.next(room, truth, tape), self.next(room, truth, tape));
                self.shown.insert(a.id, (room, a.text.clone()));
                self.keep(&b);
                let (left, right) = all.split_at(all.len() / 2);
                let shown = |peers: &[PeerId], op: &Forged| {
                    (peers.to_vec(), forge::frame(room, &[&op.text]))
                };
                vec![shown(left, &a), shown(right, &b)]
            }
            Crime::Siblings => {
                let many = 2 + tape.below(12);
                let ops: Vec<Forged> = (0..many).map(|_| self.next(room, truth, tape)).collect();
                for op in &ops {
                    self.keep(op);
                }
                let texts: Vec<&str> = ops.iter().map(|op| op.text.as_str()).collect();
                vec![(vec![one], forge::frame(room, &texts))]
            }
            Crime::Withhold => {
                let parent = self.next(room, truth, tape);
                let child = self.child_of(&parent, truth, tape);
                self.shown.insert(child.id, (room, child.text.clone()));
                self.hidden.push((room, parent));
                vec![(all.to_vec(), forge::frame(room, &[&child.text]))]
            }
            Crime::Replay => {
                let known = forge::known_ops(truth, room, 3, tape);
                let good = known.iter().filter_map(|known| truth.good(known.id));
                let texts: Vec<String> = good.map(ToString::to_string).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                vec![(vec![one], forge::frame(room, &texts))]
            }
            Crime::Flood => self.flood((room, one), truth, tape),
            Crime::Nonsense => {
                let words = ["[]", "{\"type\":\"sing\"}", "{\"type\":\"ack\",\"room\":1}", "\u{1}"];
                vec![(vec![one], tape.pick(&words).unwrap_or("{").into())]
            }
            Crime::PhantomHeads => {
                let heads = (0..3).map(|_| OpId::from_bytes(tape.bytes())).collect();
                let set = SetDigest::from_bytes(tape.bytes());
                let cursor = Position::new(tape.between(0, 500)).unwrap_or_default();
                let frame = Message::Heads { room, set, count: 5, heads, cursor }.encode();
                vec![(vec![one], frame)]
            }
            // Told in its `hello`.
            Crime::ClaimStore => Vec::new(),
            Crime::BadSignature => {
                let data = forge::data(tape);
                let op = self.next_with(room, &data, truth, tape);
                self.tips.insert(room, op.tip());
                let text = op.badly_signed(&data);
                self.hidden.push((room, op));
                to_one(&text)
            }
            Crime::ForeignRoom => {
                let other = RoomId::from_bytes([9; 32]);
                let other = self.rooms.iter().copied().find(|id| *id != room).unwrap_or(other);
                let op = self.next(other, truth, tape);
                vec![(vec![one], forge::frame(room, &[&op.text]))]
            }
            Crime::WrongData => {
                let op = self.next(room, truth, tape);
                to_one(&op.text.replacen("\"liar\"", "\"lier\"", 1))
            }
            Crime::WrongId => {
                let op = self.next(room, truth, tape);
                let wrong = OpId::from_bytes(tape.bytes());
                to_one(&op.text.replacen(
                    &format!("\"id\":\"{}", op.id),
                    &format!("\"id\":\"{wrong}"),
                    1,
                ))
            }
            Crime::OnRefused => {
                let refused = self.altered(Crime::WrongDepth, room, truth, tape);
                let child = self.child_of(&refused, truth, tape);
                let (first, then) = (&refused.text, &child.text);
                let both = if tape.chance(500) { [first, then] } else { [then, first] };
                vec![(vec![one], forge::frame(room, &both.map(String::as_str)))]
            }
            Crime::WrongDepth
            | Crime::BrokenChain
            | Crime::ForeignGrant
            | Crime::UnknownKind
            | Crime::ManyPreds
            | Crime::TooManyPreds
            | Crime::EmptyEntry => {
                let op = self.altered(crime, room, truth, tape);
                if matches!(crime, Crime::UnknownKind | Crime::ManyPreds) {
                    self.keep(&op);
                }
                to_one(&op.text)
            }
        }
    }

    /// An op whose head differs from a good one as the crime says.
    fn altered(&self, crime: Crime, room: RoomId, truth: &mut Truth, tape: &mut Tape) -> Forged {
        let mut data = forge::data(tape);
        let mut preds = forge::known_ops(truth, room, 2, tape);
        if matches!(crime, Crime::ManyPreds | Crime::TooManyPreds) {
            preds = forge::known_ops(truth, room, 200, tape);
            preds.truncate(if crime == Crime::ManyPreds { limits::PREDS_MAX } else { 20 });
        }
        if crime == Crime::EmptyEntry {
            "[]".clone_into(&mut data);
        }
        let tip = self.tips.get(&room).copied();
        let mut head = forge::good_head((self.author(), room), tip, &preds, &data);
        if crime == Crime::WrongDepth {
            let lower = head.depth.number().checked_sub(1).and_then(Depth::new);
            let wrong = if tape.chance(500) { lower } else { None };
            head.depth = wrong.unwrap_or(head.depth.next());
        }
        if crime == Crime::BrokenChain {
            self.break_chain(&mut head, &preds, tape);
        }
        if crime == Crime::ForeignGrant {
            head.grant = [3; 32];
        }
        if crime == Crime::UnknownKind {
            head.kind = Kind::parse("weather").unwrap_or(head.kind);
        }
        self.sealed(head, &data, truth)
    }

    /// Another author's op before it, a place skipped, or a time that goes back.
    fn break_chain(&self, head: &mut Head, preds: &[Known], tape: &mut Tape) {
        let foreign = preds.iter().find(|known| known.author != self.author());
        match (tape.below(3), foreign) {
            (0, Some(foreign)) => {
                head.prev = Some(foreign.id);
                head.preds.retain(|id| *id != foreign.id);
                head.seq = head.seq.next().unwrap_or(head.seq);
                let deepest = preds.iter().map(|known| known.depth).max();
                head.depth = deepest.map_or(head.depth, Depth::next);
            }
            (1, _) if head.prev.is_some() => head.seq = head.seq.next().unwrap_or(head.seq),
            _ => head.ts = Timestamp::from_ms(0),
        }
    }

    /// Many ops that wait for something that never was.
    fn flood(
        &mut self,
        (room, one): (RoomId, PeerId),
        truth: &mut Truth,
        tape: &mut Tape,
    ) -> Vec<Attack> {
        if std::mem::replace(&mut self.flooded, true) {
            return Vec::new();
        }
        let phantom = OpId::from_bytes(tape.bytes());
        let ops: Vec<String> = (0..FLOOD_OPS)
            .map(|number| {
                let data = format!("[{number}]");
                let mut head = forge::good_head((self.author(), room), None, &[], &data);
                head.refs = vec![phantom];
                self.sealed(head, &data, truth).text
            })
            .collect();
        let whole = |texts: &[String]| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            (vec![one], forge::frame(room, &texts))
        };
        ops.chunks(limits::BATCH_OPS_MAX).map(whole).collect()
    }

    fn next(&self, room: RoomId, truth: &mut Truth, tape: &mut Tape) -> Forged {
        let data = forge::data(tape);
        self.next_with(room, &data, truth, tape)
    }

    /// A good op on top of its chain and of what others wrote.
    fn next_with(&self, room: RoomId, data: &str, truth: &mut Truth, tape: &mut Tape) -> Forged {
        let count = tape.below(4);
        let preds = forge::known_ops(truth, room, count, tape);
        let tip = self.tips.get(&room).copied();
        self.sealed(forge::good_head((self.author(), room), tip, &preds, data), data, truth)
    }

    fn child_of(&self, parent: &Forged, truth: &mut Truth, tape: &mut Tape) -> Forged {
        let data = forge::data(tape);
        let author = (self.author(), parent.head.room);
        self.sealed(forge::good_head(author, Some(parent.tip()), &[], &data), &data, truth)
    }

    fn sealed(&self, head: Head, data: &str, truth: &mut Truth) -> Forged {
        let forged = Forged::seal(head, data, &self.key);
        truth.note_signed(forged.head.room, self.author(), forged.id);
        forged
    }

    fn keep(&mut self, op: &Forged) {
        self.tips.insert(op.head.room, op.tip());
        self.shown.insert(op.id, (op.head.room, op.text.clone()));
    }
}
