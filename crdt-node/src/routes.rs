//! The routes of a running node: where it dials, added and removed while it runs, and whether it
//! lets others in. Owns the tasks that dial.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt_core::effect::Link;
use crdt_relayer::address::holds_credentials;
use crdt_relayer::dial::{self, Dialer, LinkEvent, Route};
use crdt_relayer::driver::Driver;
use crdt_relayer::server::{self, Encryption};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::error::NodeError;
use crate::home::Settings;
use crate::links::{Kind, Links};
use crate::screen::Format;
use crate::security::check_address;
use crate::standing::peers_json;

/// What a node dials: each address once, as what it was called first.
pub fn once(relays: Vec<String>, peers: Vec<String>) -> Vec<(Kind, String)> {
    let relays = relays.into_iter().map(|url| (Kind::Relay, url));
    let all = relays.chain(peers.into_iter().map(|url| (Kind::Peer, url)));
    let mut seen = BTreeSet::new();
    all.filter(|(_, url)| seen.insert(url.clone())).collect()
}

/// What `peers` prints where no node runs: what is configured.
///
/// # Errors
/// [`NodeError::Credentials`]: an address that is not shown.
pub fn configured(settings: &Settings, format: Format) -> Result<String, NodeError> {
    let dialled = once(settings.relays.clone(), settings.peers.clone());
    if dialled.iter().any(|(_, url)| holds_credentials(url)) {
        return Err(NodeError::Credentials);
    }
    let plain = settings.tls_cert.is_none();
    let encryption = if plain { Encryption::None } else { Encryption::Tls };
    let listening = settings.listen.map(|address| server::url(address, encryption));
    Ok(match format {
        Format::Json => {
            let link = |(kind, url): &(Kind, String)| {
                (url.clone(), json!({"kind": kind.word(), "state": "not running"}))
            };
            let links: serde_json::Map<String, Value> = dialled.iter().map(link).collect();
            peers_json(listening.as_deref(), &Value::Object(links)).to_string()
        }
        Format::Text => {
            let listens = listening.map(|url| format!("listens  {url}"));
            let link = |(kind, url): &(Kind, String)| format!("{:<5}  {url}", kind.word());
            let lines = listens.into_iter().chain(dialled.iter().map(link));
            lines.chain(["not running: as configured".to_owned()]).collect::<Vec<_>>().join("\n")
        }
    })
}

#[derive(Debug)]
struct Dialled {
    kind: Kind,
    /// Connects and disconnects; the task ends when this is dropped.
    switch: watch::Sender<bool>,
}

#[derive(Debug)]
struct Set {
    driver: Driver,
    dialer: Dialer,
    events: mpsc::Sender<LinkEvent>,
    links: Links,
    dialled: BTreeMap<String, Dialled>,
    /// Lets others in.
    open: watch::Sender<bool>,
}

/// The routes of a running node. Clones are about the same ones.
#[derive(Clone, Debug)]
pub struct Routes {
    set: Arc<Mutex<Set>>,
}

/// What a line of the console does to the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: list them.
    List,
    /// Dial an address from now on.
    Add(String),
    /// Dial it no more.
    Remove(String),
}

impl Change {
    /// What follows `/relay` or `/peer`.
    ///
    /// # Errors
    /// [`NodeError::Usage`].
    pub fn parse(kind: Kind, rest: &str) -> Result<Self, NodeError> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        match words.as_slice() {
            [] | ["list"] => Ok(Self::List),
            ["add", url] => Ok(Self::Add((*url).to_owned())),
            ["remove", url] => Ok(Self::Remove((*url).to_owned())),
            _ => {
                let word = kind.word();
                let forms = format!("/{word}, /{word} add URL or /{word} remove URL");
                Err(NodeError::Usage(format!("this is none of {forms}")))
            }
        }
    }
}

impl Routes {
    /// No routes yet; what becomes of each goes to `events`, what is known of each to `links`.
    pub(crate) fn new(
        driver: Driver,
        dialer: Dialer,
        events: mpsc::Sender<LinkEvent>,
        links: Links,
    ) -> Self {
        let (open, _) = watch::channel(true);
        let set = Set { driver, dialer, events, links, dialled: BTreeMap::new(), open };
        Self { set: Arc::new(Mutex::new(set)) }
    }

    /// A thread that panicked in between leaves them usable.
    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of each.
    pub fn links(&self) -> Links {
        self.set().links.clone()
    }

    /// Keeps a connection to an address from now on.
    ///
    /// # Errors
    /// It is no address, or dialled already.
    pub fn add(&self, kind: Kind, url: &str) -> Result<(), NodeError> {
        check_address(&self.set().dialer, url)?;
        let mut set = self.set();
        if let Some(there) = set.dialled.get(url) {
            let message = format!("{url} is a {} already", there.kind.word());
            return Err(NodeError::Usage(message));
        }
        let (switch, online) = watch::channel(*set.open.borrow());
        set.links.added(kind, url);
        let route = Route { url: url.to_owned(), link: Link::DIALLED, dialer: set.dialer.clone() };
        tokio::spawn(dial::keep(set.driver.clone(), route, set.events.clone(), online));
        set.dialled.insert(url.to_owned(), Dialled { kind, switch });
        Ok(())
    }

    /// Ends the connection to an address and dials it no more. Nothing of the log is lost.
    ///
    /// # Errors
    /// It is not dialled, or as another kind.
    pub fn remove(&self, kind: Kind, url: &str) -> Result<(), NodeError> {
        let mut set = self.set();
        let there = set.dialled.get(url).map(|dialled| dialled.kind);
        let word = kind.word();
        match there {
            Some(there) if there == kind => {
                set.dialled.remove(url);
                set.links.removed(url);
                Ok(())
            }
            Some(there) => {
                let there = there.word();
                let message = format!("{url} is a {there}: /{there} remove {url}");
                Err(NodeError::Usage(message))
            }
            None => {
                Err(NodeError::Usage(format!("{url} is no {word} of this run: /{word} lists them")))
            }
        }
    }

    /// Connects or disconnects all of them, and lets others in or not; writing goes on either way.
    pub fn set_online(&self, online: bool) {
        let set = self.set();
        set.open.send_replace(online);
        for dialled in set.dialled.values() {
            dialled.switch.send_replace(online);
        }
    }

    /// Whether others are let in.
    pub(crate) fn open(&self) -> watch::Receiver<bool> {
        self.set().open.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_address_with_a_password_is_not_printed() {
        let settings = |url: &str| -> Settings {
            toml::from_str(&format!("name = \"alice\"\nrelays = [{url:?}]\nrooms = []\n")).unwrap()
        };
        for format in [Format::Text, Format::Json] {
            for url in
                ["wss://me:secret@relay.example/websocket", "https://me:secret@relay.example"]
            {
                let refused = configured(&settings(url), format);
                assert!(matches!(refused, Err(NodeError::Credentials)), "{url}");
            }
            let shown = configured(&settings("wss://relay.example/@me"), format).unwrap();
            assert!(shown.contains("wss://relay.example/@me"), "{shown}");
        }
    }

    #[test]
    fn what_follows_the_command_is_a_list_or_one_change() {
        let parse = |rest| Change::parse(Kind::Peer, rest);
        assert_eq!(parse("").unwrap(), Change::List);
        assert_eq!(parse("add ws://a/").unwrap(), Change::Add("ws://a/".into()));
        assert_eq!(parse(" remove   ws://a/ ").unwrap(), Change::Remove("ws://a/".into()));
        for bad in ["add", "remove", "add a b", "drop a"] {
            assert!(matches!(parse(bad), Err(NodeError::Usage(_))), "{bad}");
        }
    }
}
