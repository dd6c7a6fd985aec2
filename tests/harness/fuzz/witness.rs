//! What a replica says to its peers and its user, held against its disk: nothing is said of what is
//! not durable, nothing unsigned is admitted, and no place in the own chain is used twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crdt_core::effect::{Event, PeerId};
use crdt_core::id::{OpId, RoomId, Seq};
use crdt_core::limits;
use crdt_core::message::{Batch, Message, Received};
use crdt_core::op::Op;

use super::disk::Disk;
use super::forge;
use super::pool::Pool;

/// What was said so far.
#[derive(Debug, Default)]
pub struct Witness {
    /// What the replica itself signed and told anybody of: one op for each place.
    own: BTreeMap<(RoomId, Seq), OpId>,
    /// The ops of each `ops` message a connection sent that is not acknowledged yet, in order.
    unacked: BTreeMap<PeerId, VecDeque<Vec<OpId>>>,
    /// What the replica asked for last.
    wanted: Vec<OpId>,
}

impl Witness {
    /// The replica's own ops that it told of.
    pub fn own(&self) -> impl Iterator<Item = OpId> + '_ {
        self.own.values().copied()
    }

    /// What the replica asked for since this was asked last.
    pub fn take_wanted(&mut self) -> Vec<OpId> {
        std::mem::take(&mut self.wanted)
    }

    /// A peer sent these ops in one message.
    pub fn sent(&mut self, peer: PeerId, ops: Vec<OpId>) {
        self.unacked.entry(peer).or_default().push_back(ops);
    }

    /// A connection is gone.
    pub fn gone(&mut self, peer: PeerId) {
        self.unacked.remove(&peer);
    }

    /// Every connection is gone.
    pub fn all_gone(&mut self) {
        self.unacked.clear();
        self.wanted.clear();
    }

    /// The replica sends a frame.
    pub fn frame(&mut self, disk: &Disk, peer: PeerId, frame: &str) {
        assert!(frame.len() <= limits::FRAME_BYTES_MAX, "no frame is too large");
        match Received::decode(frame.as_bytes()).expect("a replica speaks the protocol") {
            Received::Message(Message::Heads { heads, cursor, count, .. }) => {
                assert_eq!(cursor.number(), count);
                assert!(heads.iter().all(|id| disk.holds(*id)), "heads are durable");
            }
            Received::Message(Message::Get { ids, .. }) => self.wanted = ids,
            Received::Message(_) => {}
            Received::Acked { .. } => self.ack(disk, peer, frame),
            Received::Ops(Batch { ops, .. }) => {
                for op in ops {
                    let op = op.expect("what is passed on is well formed");
                    assert!(disk.holds(op.id()), "what is passed on is durable");
                }
            }
        }
    }

    /// Each `ops` message is acknowledged once, in order, and what is said to be stored is.
    fn ack(&mut self, disk: &Disk, peer: PeerId, frame: &str) {
        let ops = self.unacked.get_mut(&peer).and_then(VecDeque::pop_front);
        let ops = ops.expect("an `ack` answers an `ops` message");
        let ack: serde_json::Value = serde_json::from_str(frame).unwrap();
        let except: BTreeSet<usize> = ack["except"]
            .as_array()
            .unwrap()
            .iter()
            .map(|exception| usize::try_from(exception["index"].as_u64().unwrap()).unwrap())
            .collect();
        assert_eq!(ack["stored"], ops.len() - except.len(), "an `ack` counts every op");
        for (index, id) in ops.into_iter().enumerate() {
            let durable = except.contains(&index) || disk.holds(id);
            assert!(durable, "what is acknowledged is durable");
        }
    }

    /// The replica tells its user.
    pub fn event(&mut self, disk: &Disk, pool: &Pool, event: &Event) {
        if let Event::Admitted { op, .. } = event {
            assert!(disk.holds(op.id()), "what is shown is durable");
            if op.head().author == forge::own() {
                let place = (op.head().room, op.head().seq);
                let before = self.own.insert(place, op.id());
                assert!(before.is_none_or(|id| id == op.id()), "the own chain forked");
            } else if (0..forge::AUTHORS).any(|a| forge::key(a).author() == op.head().author) {
                assert!(pool.is_signed(op.id()), "admitted what nobody signed");
            }
            let checked = Op::clone(op).unproven().verify();
            assert!(checked.is_ok(), "admitted what does not verify");
        }
        if let Event::Durable { op, .. } = event {
            assert!(disk.holds(*op), "what is durable is on disk");
        }
    }
}
