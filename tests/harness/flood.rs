//! A client that sends more than anybody can use: ops in reverse, ops whose past never comes.

use crdt_core::head::Kind;
use crdt_core::id::{Depth, OpId, RoomId, Seq};
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_core::limits::BATCH_OPS_MAX;
use crdt_core::op::{Draft, Op};
use crdt_core::time::Timestamp;

use crate::client::{Client, ops, room_id};

/// `ops` messages under way at one time, whatever credit the peer gave.
const UNDER_WAY_MAX: usize = 8;

/// An author without a node, whose ops are made by hand.
#[derive(Debug)]
pub struct Author {
    key: SecretKey,
    room: RoomId,
}

impl Author {
    /// The author with this number, in a room.
    pub fn new(number: u32, room: &str) -> Self {
        let mut seed = [0x5a; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Self { key: SecretKey::from_seed(&seed), room: room_id(room) }
    }

    /// So many ops, each after the one before.
    pub fn chain(&self, len: usize) -> Vec<Op> {
        self.large_chain(len, 0)
    }

    /// The same, each with so many bytes of text besides.
    pub fn large_chain(&self, len: usize, bytes: usize) -> Vec<Op> {
        self.endless(bytes).take(len).collect()
    }

    /// Ops without end, each after the one before, with so many bytes of text besides.
    pub fn endless(&self, bytes: usize) -> impl Iterator<Item = Op> + '_ {
        let text = "x".repeat(bytes);
        let (mut tip, mut depth) = (None, Depth::FIRST);
        (0_u64..).map(move |number| {
            let op = self.op(tip, depth, &format!("flood {number}{text}"));
            (tip, depth) = (Some((op.head().seq, op.id())), depth.next());
            op
        })
    }

    /// An op after one that nobody has.
    pub fn orphan(&self, number: usize) -> Op {
        let mut parent = [0xab; 32];
        parent[..8].copy_from_slice(&(number as u64).to_be_bytes());
        parent[8..16].copy_from_slice(&self.key.author().as_bytes()[..8]);
        let tip = Some((Seq::FIRST, OpId::from_bytes(parent)));
        self.op(tip, Depth::FIRST.next(), &format!("flood {number}"))
    }

    fn op(&self, tip: Option<(Seq, OpId)>, depth: Depth, text: &str) -> Op {
        let note = serde_json::json!([{"text": text, "type": "note"}]);
        let draft = Draft {
            room: self.room,
            tip,
            preds: Vec::new(),
            refs: Vec::new(),
            depth,
            ts: Timestamp::from_ms(0),
            kind: Kind::entry(),
            data: Canonical::parse(note.to_string().as_bytes()).unwrap(),
        };
        draft.sign(&self.key).unwrap()
    }
}

/// Chains of so many authors, all from the last op to the first, the authors in turns.
pub fn reversed(authors: &[Author], len: usize) -> Vec<Op> {
    let mut chains: Vec<Vec<Op>> = authors.iter().map(|author| author.chain(len)).collect();
    (0..len).flat_map(|_| chains.iter_mut().filter_map(Vec::pop).collect::<Vec<_>>()).collect()
}

/// Ops without a past, the authors in turns.
pub fn orphans(authors: &[Author], len: usize) -> Vec<Op> {
    (0..len).flat_map(|number| authors.iter().map(move |author| author.orphan(number))).collect()
}

/// What a relayer answered to a flood, in ops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Taken into the log.
    pub stored: u64,
    /// Kept for a while.
    pub parked: u64,
    /// Refused.
    pub rejected: u64,
}

impl Client {
    /// Sends ops as fast as they are acknowledged, and asks and answers nothing else.
    pub async fn flood(&mut self, room: &str, flood: &[Op]) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let mut under_way = 0;
        let mut messages = flood.chunks(BATCH_OPS_MAX);
        loop {
            while under_way < UNDER_WAY_MAX
                && let Some(batch) = messages.next()
            {
                let batch: Vec<String> = batch.iter().map(ToString::to_string).collect();
                self.say(&ops(room, &batch.iter().map(String::as_str).collect::<Vec<_>>())).await;
                under_way += 1;
            }
            if under_way == 0 {
                return verdicts;
            }
            let ack = self.message("ack").await;
            under_way -= 1;
            verdicts.stored += ack["stored"].as_u64().unwrap();
            for exception in ack["except"].as_array().unwrap() {
                match exception["verdict"].as_str() {
                    Some("parked") => verdicts.parked += 1,
                    _ => verdicts.rejected += 1,
                }
            }
        }
    }
}
