//! What is known of each link of a running node: what `/peers`, `peers` and `status` say of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt_core::effect::PeerId;
use crdt_core::id::StoreId;
use crdt_relayer::http::Guests;
use serde_json::json;

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
    /// Why, where that needs a word.
    pub reason: Option<String>,
    /// Since when, in ms since 1970.
    pub since_ms: i64,
    /// When it is dialled again, from the moment it went down.
    pub retry_ms: Option<u64>,
    /// The other side's software, once it has introduced itself.
    pub agent: Option<String>,
    /// The other side's store.
    pub store: Option<StoreId>,
    /// The connection, if the other side opened it.
    accepted: Option<PeerId>,
}

impl Link {
    fn new(kind: Kind, phase: Phase, accepted: Option<PeerId>) -> Self {
        Self {
            kind,
            phase,
            reason: None,
            since_ms: now_ms(),
            retry_ms: None,
            agent: None,
            store: None,
            accepted,
        }
    }

    /// Whether a person was told all of this already; if not, it is so from now on.
    fn turn(&mut self, phase: Phase, reason: Option<String>, retry_ms: Option<u64>) -> bool {
        self.retry_ms = retry_ms;
        let known = self.phase == phase && self.reason == reason;
        if !known {
            (self.phase, self.reason, self.since_ms) = (phase, reason, now_ms());
        }
        known
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let mut fields = json!({
            "kind": self.kind.word(),
            "side": if self.accepted.is_some() { "accepted" } else { "dialled" },
            "state": self.phase.word(),
            "since": show::rfc3339(self.since_ms),
        });
        if let Some(reason) = &self.reason {
            fields["reason"] = json!(reason);
        }
        if let Some(retry_ms) = self.retry_ms {
            fields["retry_ms"] = json!(retry_ms);
        }
        if let (Some(agent), Some(store)) = (&self.agent, self.store) {
            (fields["agent"], fields["store"]) = (json!(agent), json!(store.to_string()));
        }
        fields
    }

    /// For people.
    fn text(&self, name: &str) -> String {
        let since = show::clock(self.since_ms);
        let mut line =
            format!("{:<5}  {name}  {} since {since}", self.kind.word(), self.phase.word());
        // Writing to a string cannot fail.
        if let Some(reason) = &self.reason {
            let _infallible = write!(line, ": {reason}");
        } else if self.accepted.is_some() {
            line.push_str("  (it dialled this node)");
        } else if let Some(agent) = &self.agent {
            let _infallible = write!(line, "  {agent}");
        }
        line
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A link by the name it is shown by: the address that was dialled, or software and store of whoever
/// connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it leads to.
    pub kind: Kind,
    /// Its name.
    pub name: String,
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
        let link = Link::new(kind, Phase::Connecting, None);
        self.known().links.insert(url.to_owned(), link);
    }

    /// An address is not dialled any more.
    pub(crate) fn removed(&self, url: &str) {
        let mut known = self.known();
        known.links.remove(url);
        known.connection_ended(url);
    }

    /// This node accepts connections there.
    pub(crate) fn listening(&self, url: &str) {
        self.known().listening = Some(url.to_owned());
    }

    /// An address has answered; neither side has introduced itself yet.
    pub(crate) fn answered(&self, url: &str, peer: PeerId) {
        let mut known = self.known();
        known.connection_ended(url);
        let kind = known.links.get(url).map_or(Kind::Peer, |link| link.kind);
        known.peers.insert(peer, Named { kind, name: url.to_owned() });
    }

    /// A peer has introduced itself. Returns its link, unless that is gone already.
    pub(crate) fn introduced(&self, peer: PeerId, agent: &str, store: StoreId) -> Option<Named> {
        let mut known = self.known();
        let agent = show::safe(agent);
        let named = known.peers.get(&peer).cloned().unwrap_or_else(|| {
            // Nobody dialled it: it has dialled this node.
            let name = format!("{agent} {}", show::short(&store));
            let named = Named { kind: Kind::Peer, name };
            known.peers.insert(peer, named.clone());
            if self.guests.as_ref().is_none_or(|guests| guests.has(peer)) {
                let link = Link::new(Kind::Peer, Phase::Connecting, Some(peer));
                known.links.insert(named.name.clone(), link);
            } else {
                // It has gone before it was heard.
                known.has_ended(peer);
            }
            named
        });
        let link = known.links.get_mut(&named.name)?;
        (link.agent, link.store) = (Some(agent), Some(store));
        link.turn(Phase::Connected, None, None);
        Some(named)
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
        let told = link.turn(phase, Some(show::safe(reason)), Some(retry_ms));
        (!told).then(|| link.clone())
    }

    /// A connection that was accepted has ended. Returns its link if that has gone with it.
    pub(crate) fn left(&self, peer: PeerId) -> Option<Named> {
        let mut known = self.known();
        let named = known.peers.get(&peer).cloned()?;
        known.has_ended(peer);
        // The same node may have connected again meanwhile.
        let Known { links, peers, ended, .. } = &mut *known;
        let mut others = peers.iter().filter(|(other, _)| !ended.contains(other));
        match others.find(|(_, other)| **other == named).map(|(other, _)| *other) {
            Some(other) => {
                links.get_mut(&named.name)?.accepted = Some(other);
                None
            }
            None => links.remove(&named.name).map(|_| named),
        }
    }

    /// The link behind a connection.
    pub(crate) fn of(&self, peer: PeerId) -> Named {
        let gone = || Named { kind: Kind::Peer, name: "a peer that has gone".to_owned() };
        self.known().peers.get(&peer).cloned().unwrap_or_else(gone)
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

    /// All links, for people; of one kind only if given.
    pub fn text(&self, only: Option<Kind>) -> String {
        let known = self.known();
        let wanted = |(_, link): &(&String, &Link)| only.is_none_or(|kind| kind == link.kind);
        let links = known.links.iter().filter(wanted).map(|(name, link)| link.text(name));
        let listening = known.listening.iter().filter(|_| only.is_none());
        let listening = listening.map(|url| format!("listens  {url}"));
        let all: Vec<String> = listening.chain(links).collect();
        match (all.is_empty(), only) {
            (true, Some(kind)) => format!("no {}s", kind.word()),
            (true, None) => "no relays and no peers".to_owned(),
            (false, _) => all.join("\n"),
        }
    }

    /// All links, for programs; of one kind only if given.
    pub fn json(&self, only: Option<Kind>) -> serde_json::Value {
        let known = self.known();
        let wanted = |(_, link): &(&String, &Link)| only.is_none_or(|kind| kind == link.kind);
        let entry = |(name, link): (&String, &Link)| (name.clone(), link.json());
        serde_json::Value::Object(known.links.iter().filter(wanted).map(entry).collect())
    }

    /// What `peers` prints of a running node, for programs.
    pub fn peers_json(&self) -> serde_json::Value {
        json!({
            "schema": "crdt-node/peers/1",
            "ok": true,
            "code": 0,
            "running": true,
            "listening": self.known().listening.clone(),
            "links": self.json(None),
        })
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
        assert_eq!((links.count(), links.text(Some(Kind::Peer))), (0, "no peers".to_owned()));
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
}
