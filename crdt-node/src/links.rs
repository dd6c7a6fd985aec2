//! What is known of each link of a running node: where it leads, whether it is connected, and why
//! not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt_core::effect::PeerId;
use crdt_core::id::StoreId;
use crdt_relayer::http::Guests;
use serde_json::Value;

use crate::show;

/// Connections that have ended and are still known by name: what they said before is still on its
/// way to the screen.
const ENDED_KNOWN_MAX: usize = 16;

/// What a link leads to, as its user called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A relayer.
    Relay,
    /// Another node: one that is dialled, or one that has connected to this node.
    Peer,
}

impl Kind {
    /// The word for it: of the flag, the configuration, the console and the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Peer => "peer",
        }
    }

    /// What programs are told, with a link of this kind named in it: under the word for the kind.
    pub(crate) fn named(self, name: &str, mut fields: Value) -> Value {
        fields[self.word()] = name.into();
        fields
    }
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is dialled for the first time.
    Connecting,
    /// Both sides have introduced themselves.
    Connected,
    /// It is not connected, and dialled again soon.
    Down,
    /// One side does not want the other; it is dialled again at long intervals.
    Refused,
}

impl Phase {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Down => "down",
            Self::Refused => "refused",
        }
    }
}

/// A link.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it leads to.
    pub kind: Kind,
    /// How it is.
    pub phase: Phase,
    /// Why it failed last.
    pub reason: Option<String>,
    /// Since when, in ms since 1970.
    pub since_ms: i64,
    /// When it is dialled again, from the moment it went down.
    pub retry_ms: Option<u64>,
    /// The other side's software and store, once it has introduced itself.
    pub introduced: Option<(String, StoreId)>,
    /// Its connection, if there is one.
    pub connection: Option<PeerId>,
    /// The other side opened it.
    accepted: bool,
}

impl Link {
    fn new(kind: Kind, phase: Phase) -> Self {
        Self {
            kind,
            phase,
            reason: None,
            since_ms: now_ms(),
            retry_ms: None,
            introduced: None,
            connection: None,
            accepted: false,
        }
    }

    /// Whether the other side opened it.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The word for which side opened it.
    pub fn side(&self) -> &'static str {
        if self.accepted { "accepted" } else { "dialled" }
    }

    fn turn(&mut self, phase: Phase) {
        self.retry_ms = None;
        if self.phase != phase {
            (self.phase, self.since_ms) = (phase, now_ms());
        }
    }

    /// Whether a person was told all of this already; if not, it is so from now on.
    fn fail(&mut self, phase: Phase, reason: String, retry_ms: u64) -> bool {
        (self.retry_ms, self.connection) = (Some(retry_ms), None);
        let known = self.phase == phase && self.reason.as_ref() == Some(&reason);
        if !known {
            (self.phase, self.reason, self.since_ms) = (phase, Some(reason), now_ms());
        }
        known
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A link by the name it is shown by: the address that was dialled, or software and store of
/// whoever connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it leads to.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What it changes that an address has answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The name by which the connection was known until then.
    pub(crate) parted: Option<Named>,
    /// The link, if its other side had introduced itself before: it is connected from now on.
    pub(crate) connected: Option<Named>,
}

#[derive(Debug, Default)]
struct Known {
    links: BTreeMap<String, Link>,
    /// The link behind each connection, also behind the last ones that have ended.
    peers: HashMap<PeerId, Named>,
    /// Connections that have ended, in that order.
    ended: VecDeque<PeerId>,
    /// The websocket this node accepts connections on.
    listening: Option<String>,
}

impl Known {
    fn has_ended(&mut self, peer: PeerId) {
        self.ended.push_back(peer);
        if self.ended.len() > ENDED_KNOWN_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.peers.remove(&oldest);
        }
    }

    /// Another connection that a link's other side has opened, if there is one.
    fn another(&self, named: &Named) -> Option<PeerId> {
        let mut others = self.peers.iter().filter(|(other, _)| !self.ended.contains(other));
        others.find(|(_, other)| *other == named).map(|(other, _)| *other)
    }

    /// A connection of somebody who had dialled this node is not that link's any more. Returns the
    /// link's name if the link has gone with it.
    fn parted(&mut self, named: &Named) -> Option<Named> {
        let another = self.another(named);
        match (another, self.links.get_mut(&named.name)?) {
            (_, link) if !link.accepted => None,
            (Some(other), link) => {
                link.connection = Some(other);
                None
            }
            (None, _) => self.links.remove(&named.name).map(|_| named.clone()),
        }
    }

    fn connection_ended(&mut self, url: &str) {
        let of_link = |(peer, named): (&PeerId, &Named)| (named.name == url).then_some(*peer);
        let peers: Vec<PeerId> = self.peers.iter().filter_map(of_link).collect();
        for peer in peers {
            if !self.ended.contains(&peer) {
                self.has_ended(peer);
            }
        }
    }
}

/// All links of a running node. Clones are about the same ones.
#[derive(Clone, Debug, Default)]
pub struct Links {
    known: Arc<Mutex<Known>>,
    /// Who is connected of those who have dialled this node.
    guests: Option<Guests>,
}

impl Links {
    /// No links yet, but those that others make.
    pub(crate) fn with(guests: Guests) -> Self {
        Self { guests: Some(guests), ..Self::default() }
    }

    /// A thread that panicked in between leaves them usable.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An address is dialled from now on.
    pub(crate) fn added(&self, kind: Kind, url: &str) {
        let link = Link::new(kind, Phase::Connecting);
        self.known().links.insert(url.to_owned(), link);
    }

    /// An address is not dialled any more. A connection that its other side opened stays a link.
    pub(crate) fn removed(&self, url: &str) {
        let mut known = self.known();
        let link = known.links.remove(url);
        let kept = link.as_ref().and_then(|link| link.connection);
        let kept = kept.filter(|peer| self.guests.as_ref().is_some_and(|all| all.has(*peer)));
        if let Some(peer) = kept {
            known.peers.remove(&peer);
        }
        known.connection_ended(url);
        drop(known);
        if let (Some(peer), Some((agent, store))) = (kept, link.and_then(|link| link.introduced)) {
            self.introduced(peer, &agent, store);
        }
    }

    /// This node accepts connections there.
    pub(crate) fn listening(&self, url: &str) {
        self.known().listening = Some(url.to_owned());
    }

    /// An address has answered; neither side has introduced itself yet. Or two have dialled each
    /// other, and the connection that is kept is the one that the other side opened.
    pub(crate) fn answered(&self, url: &str, peer: PeerId) -> Answered {
        let mut known = self.known();
        known.connection_ended(url);
        let Some(link) = known.links.get_mut(url) else { return Answered::default() };
        link.connection = Some(peer);
        let named = Named { kind: link.kind, name: url.to_owned() };
        let Some(before) = known.peers.insert(peer, named.clone()) else {
            return Answered::default();
        };
        let guest = known.links.get(&before.name).map(|link| link.introduced.clone());
        let mut answered = Answered { parted: known.parted(&before), connected: None };
        if let (Some(introduced), Some(link)) = (guest, known.links.get_mut(url)) {
            link.introduced = introduced;
            answered.connected = (link.phase != Phase::Connected).then_some(named);
            link.turn(Phase::Connected);
        }
        answered
    }

    /// A peer has introduced itself. Returns its link, unless that is gone already, or was refused
    /// last: then it is not told of again before it is heard.
    pub(crate) fn introduced(&self, peer: PeerId, agent: &str, store: StoreId) -> Option<Named> {
        let mut known = self.known();
        let agent = show::safe(agent);
        let named = known.peers.get(&peer).cloned().unwrap_or_else(|| {
            // Nobody dialled it: it has dialled this node.
            let name = format!("{agent} {}", show::short(&store));
            let named = Named { kind: Kind::Peer, name };
            known.peers.insert(peer, named.clone());
            if self.guests.as_ref().is_none_or(|guests| guests.has(peer)) {
                let mut link = Link::new(Kind::Peer, Phase::Connecting);
                link.accepted = true;
                known.links.insert(named.name.clone(), link);
            } else {
                // It has gone before it was heard.
                known.has_ended(peer);
            }
            named
        });
        if known.ended.contains(&peer) {
            return None;
        }
        let link = known.links.get_mut(&named.name)?;
        (link.introduced, link.connection) = (Some((agent, store)), Some(peer));
        if link.phase == Phase::Refused {
            return None;
        }
        link.turn(Phase::Connected);
        Some(named)
    }

    /// A peer that may have been refused before speaks of rooms: it is let in. Returns its link if
    /// that is news.
    pub(crate) fn heard(&self, peer: PeerId) -> Option<Named> {
        let mut known = self.known();
        let named = known.peers.get(&peer).cloned()?;
        let link = known.links.get_mut(&named.name)?;
        let news = link.phase == Phase::Refused && link.connection == Some(peer);
        news.then(|| {
            link.turn(Phase::Connected);
            named
        })
    }

    /// A dialled link is down. Returns it if that is news.
    pub(crate) fn down(
        &self,
        url: &str,
        phase: Phase,
        reason: &str,
        retry_ms: u64,
    ) -> Option<Link> {
        let mut known = self.known();
        known.connection_ended(url);
        let link = known.links.get_mut(url)?;
        let told = link.fail(phase, show::safe(reason), retry_ms);
        (!told).then(|| link.clone())
    }

    /// A connection that was accepted has ended. Returns its link if that has gone with it.
    pub(crate) fn left(&self, peer: PeerId) -> Option<Named> {
        let mut known = self.known();
        let named = known.peers.get(&peer).cloned()?;
        known.has_ended(peer);
        // The same node may have connected again meanwhile.
        known.parted(&named)
    }

    /// The link behind a connection.
    pub(crate) fn of(&self, peer: PeerId) -> Named {
        let gone = || Named { kind: Kind::Peer, name: "a peer that has gone".to_owned() };
        self.known().peers.get(&peer).cloned().unwrap_or_else(gone)
    }

    /// Whether a link is, or was until it went, one that its other side opened.
    pub(crate) fn is_accepted(&self, named: &Named) -> bool {
        let known = self.known();
        named.kind == Kind::Peer && known.links.get(&named.name).is_none_or(Link::is_accepted)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known().links.len()
    }

    /// Whether any is connected.
    pub(crate) fn any_connected(&self) -> bool {
        self.known().links.values().any(|link| link.phase == Phase::Connected)
    }

    /// Why none may be connected.
    pub(crate) fn why_alone(&self) -> String {
        let known = self.known();
        if known.links.is_empty() {
            let listens = known.listening.is_some();
            let why =
                if listens { "nobody has connected" } else { "no relay or peer is configured" };
            return why.to_owned();
        }
        let of_link = |(url, link): (&String, &Link)| match &link.reason {
            Some(reason) => format!("{url}: {reason}"),
            None => format!("{url}: {}", link.phase.word()),
        };
        known.links.iter().map(of_link).collect::<Vec<_>>().join("; ")
    }

    /// All of them by name.
    pub fn all(&self) -> Vec<(String, Link)> {
        let known = self.known();
        known.links.iter().map(|(name, link)| (name.clone(), link.clone())).collect()
    }

    /// The websocket on which this node accepts connections, if it does.
    pub fn listens(&self) -> Option<String> {
        self.known().listening.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId::from_bytes([1; 32]);
    const URL: &str = "ws://127.0.0.1:1/websocket";

    #[test]
    fn a_link_is_connected_once_the_other_side_has_introduced_itself() {
        let links = Links::default();
        links.added(Kind::Relay, URL);
        links.answered(URL, PeerId(1));
        assert!(!links.any_connected());
        let relay = Named { kind: Kind::Relay, name: URL.to_owned() };
        assert_eq!(links.introduced(PeerId(1), "crdt-relayer/1", STORE), Some(relay));
        assert!(links.any_connected());
        assert!(links.down(URL, Phase::Down, "connection lost", 100).is_some());
        assert!(!links.any_connected());
        assert!(links.down(URL, Phase::Down, "connection lost", 200).is_none(), "told already");
        assert!(links.down(URL, Phase::Refused, "connection lost", 200).is_some());
    }

    #[test]
    fn a_removed_link_leaves_no_trace_and_is_still_known_by_name_for_a_moment() {
        let links = Links::default();
        links.added(Kind::Peer, URL);
        links.answered(URL, PeerId(1));
        links.introduced(PeerId(1), "crdt-node/1", STORE);
        links.removed(URL);
        assert_eq!(links.count(), 0);
        assert_eq!(links.of(PeerId(1)).name, URL);
        assert!(links.down(URL, Phase::Down, "offline", 100).is_none());
        assert_eq!(links.count(), 0);
    }

    #[test]
    fn who_connects_is_named_by_software_and_store_and_goes_with_the_last_connection() {
        let links = Links::default();
        let first = links.introduced(PeerId(1), "other/1\u{1b}[2J", STORE).unwrap();
        assert_eq!(first.name, "other/1\\u{1b}[2J 01010101");
        links.introduced(PeerId(2), "other/1\u{1b}[2J", STORE);
        assert_eq!(links.left(PeerId(1)), None, "it is connected a second time");
        assert!(links.any_connected());
        assert_eq!(links.left(PeerId(2)), Some(first));
        assert_eq!(links.count(), 0);
    }

    #[test]
    fn who_has_gone_before_it_was_heard_leaves_no_link_and_is_known_by_name() {
        let (left, _) = tokio::sync::mpsc::channel(1);
        let links = Links::with(Guests::new(left));
        assert_eq!(links.left(PeerId(1)), None);
        assert_eq!(links.introduced(PeerId(1), "other/1", STORE), None);
        assert_eq!((links.count(), links.any_connected()), (0, false));
        assert_eq!(links.of(PeerId(1)).name, "other/1 01010101");
    }

    #[test]
    fn connections_that_come_and_go_leave_a_bounded_memory() {
        let links = Links::default();
        for number in 0..100_u8 {
            let peer = PeerId(number.into());
            links.introduced(peer, "other/1", StoreId::from_bytes([number; 32]));
            links.left(peer);
        }
        let known = links.known();
        assert_eq!((known.links.len(), known.peers.len()), (0, ENDED_KNOWN_MAX));
    }

    #[test]
    fn a_refused_link_is_connected_again_once_it_is_heard() {
        let links = Links::default();
        links.added(Kind::Peer, URL);
        links.answered(URL, PeerId(1));
        assert!(links.introduced(PeerId(1), "crdt-node/1", STORE).is_some());
        assert!(links.down(URL, Phase::Refused, "not you", 100).is_some());
        links.answered(URL, PeerId(2));
        assert_eq!(links.introduced(PeerId(2), "crdt-node/1", STORE), None);
        assert_eq!(links.heard(PeerId(1)), None, "of before");
        assert!(links.down(URL, Phase::Refused, "not you", 200).is_none(), "told already");
        links.answered(URL, PeerId(3));
        links.introduced(PeerId(3), "crdt-node/1", STORE);
        let named = Named { kind: Kind::Peer, name: URL.to_owned() };
        assert_eq!((links.heard(PeerId(3)), links.heard(PeerId(3))), (Some(named), None));
        assert!(links.any_connected());
    }

    #[test]
    fn the_kept_one_of_two_connections_is_the_link_that_was_dialled() {
        let links = Links::default();
        links.added(Kind::Peer, URL);
        links.answered(URL, PeerId(1));
        links.introduced(PeerId(1), "crdt-node/1", STORE);
        let guest = links.introduced(PeerId(2), "crdt-node/1", STORE).unwrap();
        assert_eq!(links.count(), 2);
        let answered = links.answered(URL, PeerId(2));
        assert_eq!(answered, Answered { parted: Some(guest), connected: None });
        let all = links.all();
        let [(name, link)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(
            (name.as_str(), link.connection, link.side()),
            (URL, Some(PeerId(2)), "dialled")
        );
        assert_eq!(links.left(PeerId(2)), None, "the one who dials tells");
        assert!(links.down(URL, Phase::Down, "connection lost", 100).is_some());
        assert_eq!(links.count(), 1);
    }

    /// The connection that was dialled has ended before its other side introduced itself.
    #[test]
    fn the_kept_one_of_two_connections_is_told_of_if_the_other_was_not() {
        let links = Links::default();
        links.added(Kind::Peer, URL);
        links.answered(URL, PeerId(1));
        let guest = links.introduced(PeerId(2), "crdt-node/1", STORE).unwrap();
        let connected = Some(Named { kind: Kind::Peer, name: URL.to_owned() });
        let answered = links.answered(URL, PeerId(2));
        assert_eq!(answered, Answered { parted: Some(guest), connected });
    }
}
