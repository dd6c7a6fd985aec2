//! A replica's disk in memory: what was persisted, in the order in which it is given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_core::Replica;
use crdt_core::effect::{Load, Loaded, Record, Select};
use crdt_core::id::{OpId, Position, RoomId, RoomName, StoreId};
use crdt_core::op::Op;

/// Everything persisted.
#[derive(Debug, Default)]
pub struct Disk {
    rooms: BTreeMap<RoomId, Kept>,
}

/// What is kept of a room.
#[derive(Debug, Default)]
struct Kept {
    name: Option<RoomName>,
    ops: Vec<(Option<StoreId>, Arc<Op>)>,
    ids: BTreeSet<OpId>,
    /// Pulled and acknowledged, as they were written last.
    marks: BTreeMap<StoreId, [Option<Position>; 2]>,
}

impl Disk {
    /// Writes a record, which must fit what is there.
    pub fn persist(&mut self, record: &Record) {
        if let Record::Room { id, name } = record {
            let kept = self.rooms.entry(*id).or_default();
            kept.name = name.clone().or(kept.name.take());
        }
        if let Record::Op { position, source, op } = record {
            let kept = self.rooms.get_mut(&op.head().room).expect("the room comes before its ops");
            assert_eq!(position.number(), kept.ops.len() as u64 + 1, "positions are dense");
            let known = op.head().dependencies().all(|id| kept.ids.contains(&id));
            assert!(known, "an op is persisted after what it depends on");
            assert!(kept.ids.insert(op.id()), "an op is persisted once");
            kept.ops.push((*source, Arc::clone(op)));
        }
        if let Record::Pulled { room, store, position } = record {
            self.mark(*room, *store)[0] = Some(*position);
        }
        if let Record::Acked { room, store, position } = record {
            self.mark(*room, *store)[1] = Some(*position);
        }
    }

    fn mark(&mut self, room: RoomId, store: StoreId) -> &mut [Option<Position>; 2] {
        let kept = self.rooms.get_mut(&room).expect("the room comes before its marks");
        kept.marks.entry(store).or_default()
    }

    /// Gives everything back to a replica that holds nothing.
    pub fn restore(&self, replica: &mut Replica) {
        for (room, kept) in &self.rooms {
            let mut give =
                |record| assert_eq!(replica.restore(record), Ok(()), "the store is sound");
            give(Record::Room { id: *room, name: kept.name.clone() });
            for (store, [pulled, acked]) in &kept.marks {
                let (room, store) = (*room, *store);
                if let Some(position) = *pulled {
                    give(Record::Pulled { room, store, position });
                }
                if let Some(position) = *acked {
                    give(Record::Acked { room, store, position });
                }
            }
            for (number, (source, op)) in (1..).zip(&kept.ops) {
                let position = Position::new(number).unwrap();
                give(Record::Op { position, source: *source, op: Arc::clone(op) });
            }
        }
    }

    /// Reads a page as the store does.
    pub fn load(&self, load: Load) -> Loaded {
        let none = Kept::default();
        let kept = self.rooms.get(&load.room).unwrap_or(&none);
        let mut through = Position::new(kept.ops.len() as u64).unwrap();
        let mut ops = Vec::new();
        match &load.what {
            Select::At(positions) => {
                for position in positions.iter().take(load.ops_max) {
                    let index = usize::try_from(position.number()).unwrap().checked_sub(1).unwrap();
                    ops.push(Op::clone(&kept.ops[index].1));
                }
            }
            Select::After(after, skip) => {
                for (number, (source, op)) in (1..).zip(&kept.ops) {
                    if number > after.number() && (skip.is_none() || source != skip) {
                        ops.push(Op::clone(op));
                    }
                    if ops.len() == load.ops_max {
                        through = Position::new(number).unwrap();
                        break;
                    }
                }
            }
        }
        Loaded { load, ops, through }
    }

    /// The rooms with anything in them.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.rooms.keys().copied()
    }

    /// A room's ops in order of arrival.
    pub fn ops(&self, room: RoomId) -> impl DoubleEndedIterator<Item = &Arc<Op>> {
        self.rooms.get(&room).into_iter().flat_map(|kept| kept.ops.iter().map(|(_, op)| op))
    }

    /// Whether an op is here, in any room.
    pub fn holds(&self, id: OpId) -> bool {
        self.rooms.values().any(|kept| kept.ids.contains(&id))
    }
}
