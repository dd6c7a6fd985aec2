//! A disk as the store of the programs uses it: one transaction a batch, durable when it is synced.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crdt_core::effect::{Load, Loaded, Record, Select};
use crdt_core::id::{AuthorId, OpId, Position, RoomId, RoomName, StoreId};
use crdt_core::op::Op;

/// Positions looked at for one page, as in the store of the programs.
const SCAN_MAX: u64 = 4_096;

/// An op in its place.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) source: Option<StoreId>,
    pub(super) op: Arc<Op>,
}

/// What is kept of one room.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    name: Option<RoomName>,
    pub(super) ops: Vec<Kept>,
    index: HashMap<OpId, usize>,
    marks: BTreeMap<StoreId, Marks>,
    by_author: HashMap<AuthorId, usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    pulled: Position,
    acked: Position,
}

/// One disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) archives: BTreeMap<RoomId, Archive>,
    /// Written in a transaction that is not synced yet: gone in a crash, all of it.
    unsynced: Vec<Record>,
    /// There is no space left.
    pub(super) full: bool,
}

impl Archive {
    pub(super) fn get(&self, id: OpId) -> Option<&Arc<Op>> {
        self.index.get(&id).and_then(|index| self.ops.get(*index)).map(|kept| &kept.op)
    }

    pub(super) fn holds(&self, id: OpId) -> bool {
        self.index.contains_key(&id)
    }

    /// Ops of an author.
    pub(super) fn count_of(&self, author: AuthorId) -> usize {
        self.by_author.get(&author).copied().unwrap_or_default()
    }

    pub(super) fn end(&self) -> u64 {
        u64::try_from(self.ops.len()).unwrap_or(u64::MAX)
    }

    /// The ops after one position up to another.
    pub(super) fn range(&self, after: Position, to: Position) -> &[Kept] {
        let index = |position: Position| usize::try_from(position.number()).unwrap_or(usize::MAX);
        let to = index(to).min(self.ops.len());
        self.ops.get(index(after)..to).unwrap_or_default()
    }
}

impl Disk {
    /// Writes records without syncing them.
    pub(super) fn write(&mut self, records: Vec<Record>) {
        self.unsynced.extend(records);
    }

    /// What is written and not synced, to be synced record by record.
    pub(super) fn take_unsynced(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unsynced)
    }

    /// The power goes: a transaction that was not synced is gone whole.
    pub(super) fn lose_unsynced(&mut self) {
        self.unsynced.clear();
    }

    /// Makes a record durable.
    pub(super) fn keep(&mut self, record: Record) {
        match record {
            Record::Room { id, name } => {
                let archive = self.archives.entry(id).or_default();
                archive.name = name.or(archive.name.take());
            }
            Record::Op { source, op, .. } => {
                let archive = self.archives.entry(op.head().room).or_default();
                archive.index.insert(op.id(), archive.ops.len());
                *archive.by_author.entry(op.head().author).or_default() += 1;
                archive.ops.push(Kept { source, op });
            }
            Record::Pulled { room, store, position } => {
                let archive = self.archives.entry(room).or_default();
                archive.marks.entry(store).or_default().pulled = position;
            }
            Record::Acked { room, store, position } => {
                let archive = self.archives.entry(room).or_default();
                archive.marks.entry(store).or_default().acked = position;
            }
        }
    }

    /// How far each room was pulled from a store.
    pub(super) fn pulled_from(&self, store: StoreId) -> BTreeMap<RoomId, Position> {
        let pulled = |archive: &Archive| archive.marks.get(&store).map(|marks| marks.pulled);
        self.archives.iter().filter_map(|(id, archive)| Some((*id, pulled(archive)?))).collect()
    }

    /// Bytes of the ops after these positions, as pages count them.
    pub(super) fn bytes_after(&self, positions: &BTreeMap<RoomId, Position>) -> u64 {
        let end = Position::new(u64::from(u32::MAX)).unwrap_or_default();
        let ops = self.archives.iter().flat_map(|(room, archive)| {
            let after = positions.get(room).copied().unwrap_or_default();
            archive.range(after, end)
        });
        ops.map(|kept| u64::try_from(kept.op.weight()).unwrap_or_default()).sum()
    }

    /// Everything, in the order in which a replica wants it back.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.archives.iter().flat_map(|(id, archive)| {
            let room = Record::Room { id: *id, name: archive.name.clone() };
            let marks = archive.marks.iter().flat_map(|(store, marks)| {
                let (room, store) = (*id, *store);
                let pulled = Record::Pulled { room, store, position: marks.pulled };
                let acked = Record::Acked { room, store, position: marks.acked };
                let moved = |position: Position| position > Position::START;
                let pulled = moved(marks.pulled).then_some(pulled);
                pulled.into_iter().chain(moved(marks.acked).then_some(acked))
            });
            let ops = (1..).zip(&archive.ops).map(|(number, kept)| Record::Op {
                position: Position::new(number).unwrap_or_default(),
                source: kept.source,
                op: Arc::clone(&kept.op),
            });
            std::iter::once(room).chain(marks).chain(ops)
        })
    }

    /// Reads what a replica asks for.
    pub(super) fn load(&self, load: Load) -> Loaded {
        let mut page = Page { ops: Vec::new(), bytes: 0 };
        let mut through = Position::START;
        let Some(archive) = self.archives.get(&load.room) else {
            return Loaded { load, ops: page.ops, through };
        };
        match &load.what {
            Select::At(positions) => {
                for position in positions {
                    let before = position.number().checked_sub(1).and_then(Position::new);
                    let kept = archive.range(before.unwrap_or_default(), *position).first();
                    if kept.is_some_and(|kept| page.add(&kept.op, &load)) {
                        break;
                    }
                }
            }
            Select::After(after, skip) => {
                let last = archive.end().min(after.number() + SCAN_MAX);
                through = Position::new(last).unwrap_or_default();
                for (number, kept) in (after.number() + 1..).zip(archive.range(*after, through)) {
                    let left_out = skip.is_some() && kept.source == *skip;
                    if !left_out && page.add(&kept.op, &load) {
                        through = Position::new(number).unwrap_or_default();
                        break;
                    }
                }
            }
        }
        Loaded { load, ops: page.ops, through }
    }
}

struct Page {
    ops: Vec<Op>,
    bytes: usize,
}

impl Page {
    /// Adds an op; `true` if the page is then full.
    fn add(&mut self, op: &Op, load: &Load) -> bool {
        self.bytes += op.weight();
        self.ops.push(op.clone());
        self.bytes >= load.bytes_max || self.ops.len() >= load.ops_max
    }
}
