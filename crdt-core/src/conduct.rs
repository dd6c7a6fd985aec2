//! What a peer does in a room, and what of that tells that it keeps something back.
//! Source: `docs/PROTOCOL.md`, "Withholding".

use alloc::collections::BTreeMap;

use crate::id::OpId;
use crate::limits;
use crate::log::{Log, Verdict};
use crate::time::Timestamp;

/// What a peer did in a room that tells how it stands.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    pub(crate) subscribed_at: Timestamp,
    /// When ops or heads came last.
    pub(crate) heard_at: Timestamp,
    /// When ops came last that were not all put off, and when one came last that was not refused.
    pub(crate) ops_at: Timestamp,
    sent_at: Timestamp,
    /// When both first held the same, without trouble since.
    pub(crate) agreed_at: Option<Timestamp>,
    /// Ops it named and was asked for.
    owed: BTreeMap<OpId, Owed>,
    withheld: Option<Withheld>,
    /// What was pushed after the last comparison: how many ops, and the first.
    pushed: Option<(usize, OpId)>,
}

/// An op that was asked for.
#[derive(Clone, Copy, Debug)]
struct Owed {
    asked: Timestamp,
    /// When another one came last that was asked for no later.
    excused: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Withheld {
    op: OpId,
    since: Timestamp,
    /// It named the op and said that it does not hold it: holding the same later excuses nothing.
    denied: bool,
}

/// An op that a peer sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) op: OpId,
    pub(crate) verdict: Verdict,
    /// It was here before, in the log or parked.
    pub(crate) known: bool,
    /// It was not taken for now.
    pub(crate) put_off: bool,
}

impl Came {
    /// Whether it is kept, in the log or parked, and was not before.
    pub(crate) fn is_new(&self) -> bool {
        !self.known && !self.put_off && !matches!(self.verdict, Verdict::Rejected(_))
    }
}

impl Conduct {
    /// It is asked for ops that it named.
    pub(crate) fn asked(&mut self, now: Timestamp, ids: &[OpId]) {
        for id in ids {
            if self.owed.len() >= limits::OWED_MAX {
                return;
            }
            self.owed.entry(*id).or_insert(Owed { asked: now, excused: now });
        }
    }

    /// It sent an op, which it was asked for then, or not at all.
    pub(crate) fn sent(&mut self, now: Timestamp, came: &Came, asked: Option<Timestamp>) {
        if matches!(came.verdict, Verdict::Rejected(_)) {
            return;
        }
        self.sent_at = now;
        let asked = self.owed.remove(&came.op).map(|owed| owed.asked).or(asked);
        self.withheld = self.withheld.filter(|withheld| withheld.op != came.op);
        if let (Some(asked), false) = (asked, came.known) {
            let later = self.owed.values_mut().filter(|owed| owed.asked >= asked);
            later.for_each(|owed| owed.excused = now);
        }
    }

    /// It says that it does not hold an op. `true` if it named it before, and that is the first
    /// time.
    pub(crate) fn denied(&mut self, now: Timestamp, op: OpId) -> bool {
        let named = self.owed.remove(&op);
        let news = named.is_some() && self.withheld.is_none();
        if news {
            self.withheld = Some(Withheld { op, since: now, denied: true });
        }
        news
    }

    /// It is sent ops that it lacks. `true` if it said before that it stored the same.
    pub(crate) fn pushed(&mut self, now: Timestamp, count: usize, first: OpId) -> bool {
        let again = self.pushed.replace((count, first)) == Some((count, first));
        if again && self.withheld.is_none() {
            self.withheld = Some(Withheld { op: first, since: now, denied: false });
        }
        again
    }

    /// Ops of it are put off: it owes nothing of what it was asked for, and need not bring it.
    pub(crate) fn excused(&mut self) {
        self.owed.clear();
    }

    /// It took no more for now: what it is sent again is no proof that it lied.
    pub(crate) fn put_off(&mut self) {
        self.pushed = None;
    }

    /// Both hold the same, as it announces `now_announced` or announced before. Returns an op that
    /// it named and does not hold, if that is news.
    pub(crate) fn agreed(
        &mut self,
        now: Timestamp,
        log: &Log,
        now_announced: bool,
    ) -> Option<OpId> {
        self.agreed_at.get_or_insert(now);
        self.pushed = None;
        self.withheld = self.withheld.filter(|withheld| withheld.denied);
        self.owed.retain(|op, _| !log.graph().contains(*op));
        let lied = self.owed.keys().next().copied().filter(|_| now_announced)?;
        self.owed.clear();
        let news = self.withheld.is_none();
        self.withheld.get_or_insert(Withheld { op: lied, since: now, denied: true });
        news.then_some(lied)
    }

    /// What it keeps back, if anything, and since when.
    pub(crate) fn withholds(&self, now: Timestamp, log: &Log) -> Option<(Option<OpId>, Timestamp)> {
        if let Some(withheld) = self.withheld {
            return Some((Some(withheld.op), withheld.since));
        }
        // Much that is on its way takes its time, but what was not asked for before excuses only so
        // long.
        let due = |owed: &Owed| {
            now >= owed.asked.max(self.sent_at).after(limits::OWED_WAIT)
                || now >= owed.excused.after(limits::OWED_WAIT_MAX)
        };
        let owed = self.owed.iter().find(|(op, owed)| due(owed) && !log.has(**op));
        if let Some((op, owed)) = owed {
            return Some((Some(*op), owed.asked));
        }
        let heard = self.heard_at.max(self.subscribed_at);
        (now >= heard.after(limits::SILENCE_MAX)).then_some((None, heard))
    }
}
