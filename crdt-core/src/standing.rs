//! How each peer stands in each room: up to date, behind, or keeping something back.
//! Source: `docs/PROTOCOL.md`, "Withholding".

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::effect::{Effect, Event, Link, PeerId};
use crate::id::{AuthorId, OpId, RoomId, SetDigest, StoreId};
use crate::limits;
use crate::log::{Log, Verdict};
use crate::replica::Replica;
use crate::room::Room;
use crate::session::{Channel, Session, channel};
use crate::time::Timestamp;

/// A connection as this replica sees it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its number.
    pub peer: PeerId,
    /// How it came about.
    pub link: Link,
    /// The peer's software, as it says; empty until its `hello`.
    pub agent: String,
    /// The peer's store, as it says; `None` until its `hello`.
    pub store: Option<StoreId>,
    /// The key that the peer has proved to have; nobody proves one unless asked to.
    pub author: Option<AuthorId>,
    /// The rooms that both use.
    pub rooms: Vec<PeerRoom>,
}

/// A peer in one room.
#[derive(Clone, Debug)]
pub struct PeerRoom {
    /// The room.
    pub room: RoomId,
    /// How it stands.
    pub standing: Standing,
    /// Since when.
    pub since: Timestamp,
    /// Ops here that the peer has not acknowledged; at most, where that is not known exactly.
    pub ahead: u64,
    /// Ops there, as far as announced, that are not here; at least.
    pub behind: u64,
    /// The set the peer announced last, if it announced any.
    pub announced: Option<SetDigest>,
    /// Whether that is the set held here now.
    pub same: bool,
}

/// How a peer stands in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not held the same as this side since it connected.
    CatchingUp,
    /// It held the same, and takes and sends what comes since.
    Live,
    /// It does not acknowledge, or has not held the same for long.
    Lagging,
    /// It named ops and does not send them, says that it stored ops and announces a set without them,
    /// or announces nothing at all.
    Withholding {
        /// One of the ops, if any was named.
        op: Option<OpId>,
    },
}

/// What a peer did in a room that tells how it stands.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    pub(crate) subscribed_at: Timestamp,
    /// When ops or heads came last.
    pub(crate) heard_at: Timestamp,
    /// When ops came last, and when one came last that was not refused.
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

    /// It says that it does not hold an op. `true` if it named it before, and that is the first time.
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

    /// Both hold the same, as it announces `now_announced` or announced before. Returns an op that it
    /// named and does not hold, if that is news.
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
    fn withholds(&self, now: Timestamp, log: &Log) -> Option<(Option<OpId>, Timestamp)> {
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

impl Replica {
    /// Every connection and how its peer stands.
    pub fn peers(&self, now: Timestamp) -> Vec<PeerStatus> {
        let status = |(peer, session): (&PeerId, &Session)| PeerStatus {
            peer: *peer,
            link: session.link,
            agent: session.agent.clone(),
            store: session.store,
            author: session.proved,
            rooms: session
                .channels
                .iter()
                .filter(|(_, channel)| channel.is_shared())
                .filter_map(|(id, channel)| {
                    Some(peer_room(now, self.rooms.get(id)?, session, channel))
                })
                .collect(),
        };
        self.sessions.iter().map(status).collect()
    }

    /// Notes that a peer said that it does not hold ops, which it may have named before.
    pub(crate) fn denied(&mut self, now: Timestamp, peer: PeerId, id: RoomId, ops: &[OpId]) {
        let channel = channel(&mut self.sessions, peer, id);
        let Some(channel) = channel else { return };
        for op in ops {
            if channel.conduct.denied(now, *op) {
                let withheld = Event::Withheld { room: id, peer, op: *op };
                self.effects.push(Effect::Notify(withheld));
            }
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            let others = room.subscribers.len() > 1;
            for op in ops.iter().filter(|_| others) {
                room.fetch.denied(now, peer, *op);
            }
        }
    }
}

impl Channel {
    /// Whether the peer takes part in the room too, as far as it has shown.
    fn is_shared(&self) -> bool {
        let heard = self.conduct.heard_at != Timestamp::default();
        self.incoming.is_some() && (self.outgoing.is_some() || heard)
    }
}

fn peer_room(now: Timestamp, room: &Room, session: &Session, channel: &Channel) -> PeerRoom {
    let (log, conduct) = (&room.log, &channel.conduct);
    let id = room.id();
    let incoming = channel.incoming.as_ref();
    let told = incoming.and_then(|incoming| incoming.told);
    let same = told.is_some_and(|told| told.set == log.set_digest());
    let ops = log.graph().end().number();
    let there = told.map_or(0, |told| told.count);
    let unsent = channel.outgoing.as_ref().map_or(0, |o| ops.saturating_sub(o.acked.number()));
    let ahead = if same { 0 } else { unsent };
    let behind = if same { 0 } else { there.saturating_sub(ops) };
    let waits = !session.all_acked(id) && now >= session.waits_since().after(limits::LAGGING_AFTER);
    let differs = channel.differs_since.filter(|at| now >= at.after(limits::DIFFERS_MAX));
    let (standing, since) = if let Some((op, since)) = conduct.withholds(now, log) {
        (Standing::Withholding { op }, since)
    } else if let (true, Some(since)) = (same, conduct.agreed_at) {
        (Standing::Live, since)
    } else if waits {
        (Standing::Lagging, session.waits_since())
    } else if let Some(since) = differs {
        (Standing::Lagging, since)
    } else if let Some(since) = conduct.agreed_at {
        (Standing::Live, since)
    } else {
        (Standing::CatchingUp, conduct.subscribed_at)
    };
    let announced = told.map(|told| told.set);
    PeerRoom { room: id, standing, since, ahead, behind, announced, same }
}
