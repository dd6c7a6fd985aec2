//! Messages of the stream as `ops` frames: what is no op, or not for its room, is left out.

use std::collections::VecDeque;

use crdt_core::id::{OpId, RoomId};
use crdt_core::limits;
use crdt_core::op::RawOp;

use super::bus::Posted;

/// Bytes of an envelope on the stream: one in canonical JSON has fewer.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 128 * 1024;

/// Bytes of envelopes in one batch: with what it may hold back of the credit it granted, a replica
/// always takes as much.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// One `ops` frame to be.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) room: RoomId,
    /// The ops in it, and where in the stream each is.
    pub(crate) ops: Vec<(u64, OpId)>,
    text: String,
}

/// Messages that follow one another in the stream.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) groups: Vec<Group>,
    /// Place of the last message.
    pub(crate) through: u64,
}

/// The op that a message is, as far as can be said without its room.
fn op_of(posted: &Posted) -> Option<(RoomId, OpId)> {
    if posted.payload.len() > ENVELOPE_BYTES_MAX {
        return None;
    }
    let op = RawOp::parse(&posted.payload).ok()?.check_hash().ok()?;
    Some((op.head().room, op.id())).filter(|(room, _)| posted.room == Some(*room))
}

impl Batch {
    /// Takes messages off the queue: as many as fit into `frames_max` frames. Ops that `skip` says
    /// yes to are left out.
    pub(crate) fn take(
        queue: &mut VecDeque<Posted>,
        frames_max: usize,
        mut skip: impl FnMut(OpId) -> bool,
    ) -> Option<Self> {
        let mut batch = Self { groups: Vec::new(), through: 0 };
        let mut bytes = 0;
        while let Some(posted) = queue.front() {
            if let Some((room, id)) = op_of(posted).filter(|(_, id)| !skip(*id)) {
                let fits = bytes + posted.payload.len() <= BATCH_BYTES_MAX;
                let Some(group) = batch.group(room, frames_max).filter(|_| fits) else {
                    return Some(batch);
                };
                group.push(posted, id);
                bytes += posted.payload.len();
            }
            batch.through = posted.seq;
            queue.pop_front();
        }
        Some(batch).filter(|batch| batch.through > 0)
    }

    /// The frame that takes the next op of a room; `None` if it needs one too many.
    fn group(&mut self, room: RoomId, frames_max: usize) -> Option<&mut Group> {
        let open = |group: &Group| {
            group.room == room
                && group.ops.len() < limits::BATCH_OPS_MAX
                && group.text.len() < limits::BATCH_BYTES
        };
        if let Some(index) = self.groups.iter().position(open) {
            return self.groups.get_mut(index);
        }
        if self.groups.len() == frames_max {
            return None;
        }
        self.groups.push(Group { room, ops: Vec::new(), text: String::new() });
        self.groups.last_mut()
    }
}

impl Group {
    fn push(&mut self, posted: &Posted, id: OpId) {
        // It was read as JSON, so it is UTF-8.
        let text = String::from_utf8_lossy(&posted.payload);
        if !self.ops.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(&text);
        self.ops.push((posted.seq, id));
    }

    /// The frame, with the place in the stream that it stands for, if any. The ops are put in as
    /// they were posted.
    pub(crate) fn frame(&self, cursor: Option<u64>) -> String {
        let cursor = cursor.map_or_else(String::new, |cursor| format!(r#","cursor":{cursor}"#));
        format!(r#"{{"type":"ops","room":"{}"{cursor},"ops":[{}]}}"#, self.room, self.text)
    }
}
