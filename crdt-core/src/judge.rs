//! What becomes of the ops of one message: each is checked, and taken into the room's log or not.
//! Source: `docs/PROTOCOL.md`, "Validity".

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::conduct::Came;
use crate::id::{OpId, StoreId};
use crate::intake::Gate;
use crate::log::{Admitted, Verdict};
use crate::message::{Exception, NotStored};
use crate::op::HashedOp;
use crate::planted::{Bug, planted};
use crate::rejection::Rejection;
use crate::room::Room;
use crate::tally::Tally;

/// What became of the ops of one message.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) admitted: Vec<Admitted>,
    /// Those that were not stored, and how many were.
    pub(crate) except: Vec<Exception>,
    pub(crate) stored: u64,
    pub(crate) came: Vec<Came>,
    /// Dependencies of those that are parked only now.
    pub(crate) missing: BTreeSet<OpId>,
}

impl Judged {
    /// Adds it to what became of all.
    pub(crate) fn count(&self, tally: &mut Tally) {
        let of = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let fresh = |came: &&Came| came.verdict == Verdict::Parked && !came.known && !came.put_off;
        tally.stored += of(self.admitted.len());
        tally.known += of(self.came.iter().filter(|came| came.known).count());
        tally.parked += of(self.came.iter().filter(fresh).count());
        tally.brought += of(self.came.iter().filter(|came| came.is_new()).count());
        for rejection in self.except.iter().filter_map(|exception| exception.why.rejection()) {
            tally.rejected(rejection, 1);
        }
    }
}

/// Checks each op and takes it into the room's log, unless something is lacking to take new ones.
pub(crate) fn judge(
    room: &mut Room,
    ops: Vec<Result<HashedOp, Rejection>>,
    store: StoreId,
    gate: &mut Gate<'_>,
) -> Judged {
    let mut judged = Judged::default();
    for (index, op) in (0_u64..).zip(ops) {
        let verdict = match op {
            Ok(op) => {
                let (id, known) = (op.id(), room.log.has(op.id()));
                let awaited = room.log.awaits(id);
                let refused = gate.refuses(op.head().author, awaited).filter(|_| !known);
                if let Some(shortage) = refused {
                    let why = NotStored::Later(shortage);
                    judged.except.push(Exception { index, why });
                    let verdict = Verdict::Parked;
                    judged.came.push(Came { op: id, verdict, known, put_off: true });
                    continue;
                }
                let dependencies: Vec<OpId> = op.head().dependencies().collect();
                let before = judged.admitted.len();
                let verdict = room.log.receive(op, store, &mut judged.admitted);
                gate.took(judged.admitted.get(before..).unwrap_or_default());
                judged.came.push(Came { op: id, verdict, known, put_off: false });
                if verdict == Verdict::Parked && !known {
                    room.fetch.came(id);
                    judged.missing.extend(dependencies);
                }
                verdict
            }
            Err(rejection) => Verdict::Rejected(rejection),
        };
        match verdict {
            Verdict::Stored => judged.stored += 1,
            Verdict::Parked if planted(Bug::ParkedAcknowledged) => judged.stored += 1,
            Verdict::Parked => {
                judged.except.push(Exception { index, why: NotStored::Parked });
            }
            Verdict::Rejected(rejection) => {
                judged.except.push(Exception { index, why: NotStored::Rejected(rejection) });
            }
        }
    }
    // They are sent again.
    for came in judged.came.iter().filter(|came| came.put_off) {
        judged.missing.remove(&came.op);
    }
    judged
}
