//! One synchronisation from end to end: connects to one or two relays or nodes, and ends once each
//! has announced what this node holds. Source: `docs/PROTOCOL.md`, "Heads".

mod dry;
mod report;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use crdt_core::effect::{Event, PeerId};
use crdt_core::id::{RoomId, RoomName, StoreId};
use crdt_relayer::dial::Dialer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::error::NodeError;
use crate::home::Home;
use crate::keyless::Keyless;
use crate::report as rooms;
use crate::show;
pub use dry::{Preview, preview};
use report::State;
pub use report::{Moved, Report, Room};
use route::{Counted, Happened, Route};

/// What is to be synchronised.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The addresses of relays or nodes.
    pub routes: Vec<String>,
    /// One room, or all that the node takes part in.
    pub room: Option<RoomName>,
    /// Time after which it ends though not all hold the same.
    pub timeout: Duration,
    /// How routes are dialled.
    pub dialer: Dialer,
}

/// A route while it is used.
#[derive(Debug, Default)]
struct Watched {
    url: String,
    counted: Counted,
    peer: Option<PeerId>,
    /// Its store, once it has introduced itself.
    store: Option<StoreId>,
    received: u64,
    /// Rooms in which it announced what this node holds now.
    agreed: BTreeSet<RoomId>,
    /// Why it ended, or what it complained about last.
    reason: Option<String>,
    ended: bool,
}

/// Synchronises the node of a home that does not run.
///
/// # Errors
/// The home is in use or cannot be used. That a route cannot be reached or does not agree is part
/// of the report.
pub async fn run(home: &Home, wanted: Wanted) -> Result<Report, NodeError> {
    let Wanted { routes, room, timeout, dialer } = wanted;
    if routes.len() > 1 && routes.iter().collect::<BTreeSet<_>>().len() < routes.len() {
        return Err(NodeError::Usage("both routes are the same".into()));
    }
    let only = room.as_ref().map(RoomName::id);
    let mut keyless = Keyless::start(home, room.into_iter().collect(), routes.len()).await?;
    let driver = keyless.node().driver().clone();
    let all = driver.query(|replica| replica.rooms().collect::<BTreeSet<_>>()).await?;
    let (happened, happenings) = mpsc::channel(2 * routes.len());
    let mut watched = Vec::new();
    for (number, url) in routes.into_iter().enumerate() {
        let counted = Counted::default();
        let (of_route, dialer) = (counted.clone(), dialer.clone());
        let route = Route { number, url: url.clone(), only, counted: of_route, dialer };
        tokio::spawn(route.serve(driver.clone(), happened.clone()));
        watched.push(Watched { url, counted, ..Watched::default() });
    }
    let mut sync = Sync {
        rooms: only.map_or(all, |only| BTreeSet::from([only])),
        routes: watched,
        happenings,
    };
    let outcome = sync.until_agreed(&mut keyless, Instant::now() + timeout).await;
    let report = match outcome {
        Ok(()) => sync.report(&mut keyless, home, timeout).await,
        Err(error) => Err(error),
    };
    keyless.stop().await.and(report)
}

/// A synchronisation under way.
struct Sync {
    rooms: BTreeSet<RoomId>,
    routes: Vec<Watched>,
    happenings: mpsc::Receiver<Happened>,
}

impl Sync {
    /// Waits until each route agrees or has ended, or until the deadline.
    async fn until_agreed(
        &mut self,
        keyless: &mut Keyless,
        deadline: Instant,
    ) -> Result<(), NodeError> {
        while !self.routes.iter().all(|route| route.ended || route.agreed == self.rooms) {
            tokio::select! {
                () = sleep_until(deadline) => return Ok(()),
                Some(happened) = self.happenings.recv() => self.happened(happened),
                events = keyless.events() => {
                    let events = events?;
                    // A route is up before anything comes over it.
                    while let Ok(happened) = self.happenings.try_recv() {
                        self.happened(happened);
                    }
                    for event in events {
                        self.event(event);
                    }
                }
            }
        }
        Ok(())
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Up(number, peer) => {
                if let Some(route) = self.routes.get_mut(number) {
                    route.peer = Some(peer);
                }
            }
            Happened::Ended(number, reason) => {
                if let Some(route) = self.routes.get_mut(number) {
                    (route.ended, route.reason) = (true, Some(reason));
                }
            }
        }
    }

    fn by(&mut self, peer: PeerId) -> Option<&mut Watched> {
        self.routes.iter_mut().find(|route| route.peer == Some(peer))
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::PeerReady { peer, store, .. } => {
                if let Some(route) = self.by(peer) {
                    route.store = Some(store);
                }
            }
            Event::Admitted { room, source, .. } => {
                for route in &mut self.routes {
                    route.agreed.remove(&room);
                }
                let mut routes = self.routes.iter_mut();
                if let Some(route) = routes.find(|route| source.is_some() && route.store == source)
                {
                    route.received += 1;
                }
            }
            Event::Synced { room, peer, .. } => {
                let wanted = self.rooms.contains(&room);
                if let (Some(route), true) = (self.by(peer), wanted) {
                    route.agreed.insert(room);
                }
            }
            Event::PeerProblem { peer, code, message } => {
                if let Some(route) = self.by(peer) {
                    route.reason = Some(format!("it says: {message} ({code})"));
                }
            }
            Event::Blamed { peer, code } => {
                if let Some(route) = self.by(peer) {
                    route.reason = Some(format!("it sent what was refused ({code})"));
                }
            }
            Event::Withheld { peer, op, .. } => {
                if let Some(route) = self.by(peer) {
                    route.reason = Some(format!("it named op {op} and does not send it"));
                }
            }
            Event::Durable { .. }
            | Event::Refused { .. }
            | Event::SignedElsewhere { .. }
            | Event::Learnt { .. }
            | Event::PutOff { .. }
            | Event::Withdrawn { .. }
            | Event::Acked { .. } => {}
        }
    }

    async fn report(
        self,
        keyless: &mut Keyless,
        home: &Home,
        timeout: Duration,
    ) -> Result<Report, NodeError> {
        let author = home.author()?;
        let found = keyless.node().ask(move |replica| rooms::rooms(replica, author)).await?;
        let found = found.into_iter().filter(|room| self.rooms.contains(&room.status.id));
        let rooms: Vec<Room> = found
            .map(|room| Room {
                id: room.status.id.to_string(),
                name: room.name,
                ops: room.status.ops,
                set: room.status.set.to_string(),
                log: room.log,
                missing: room.status.missing.ops.iter().map(ToString::to_string).collect(),
            })
            .collect();
        let wanted = &self.rooms;
        let routes = self.routes.into_iter().map(|route| route.moved(wanted, &rooms)).collect();
        Ok(Report { rooms, routes, seconds: timeout.as_secs() })
    }
}

impl Watched {
    fn moved(self, wanted: &BTreeSet<RoomId>, rooms: &[Room]) -> Moved {
        let traffic = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = if self.agreed == *wanted {
            State::InSync
        } else if self.store.is_none() {
            State::Unreachable(self.reason.unwrap_or_else(|| "it did not say hello".into()))
        } else {
            let agreed: BTreeSet<String> = self.agreed.iter().map(ToString::to_string).collect();
            let room = rooms.iter().find(|room| !agreed.contains(&room.id));
            let lacking = room.map(|room| lacking(room, &traffic.announced)).unwrap_or_default();
            State::Apart(
                [self.reason, Some(lacking)].into_iter().flatten().collect::<Vec<_>>().join("; "),
            )
        };
        Moved { url: self.url, state, received: self.received, traffic }
    }
}

/// How a route differs from this node in a room.
fn lacking(room: &Room, announced: &BTreeMap<String, (String, u64)>) -> String {
    let Room { id, name, ops, set, missing, .. } = room;
    let here = format!("this node holds {ops} ops, set {}", show::short(set));
    let mut text = match announced.get(id) {
        None => format!("it announced nothing of room {name}; {here}"),
        Some((theirs, count)) => {
            format!("room {name}: it holds {count} ops, set {}; {here}", show::short(theirs))
        }
    };
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { " and others" } else { "" };
        text = format!("{text}; named and not sent: op {}{more}", show::short(first));
    }
    text
}
