//! Who plays: a relayer and two nodes in this process, one node in a process of its own that can
//! really be killed, and a liar.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crdt_core::effect::{Command, Event, Token};
use crdt_core::id::{AuthorId, RoomName, StoreId};
use crdt_core::json::Canonical;
use crdt_core::key::SecretKey;
use crdt_relayer::dial::Dialer;
use crdt_relayer::relayer::{Relayer, RelayerConfig, RelayerError, random};
use crdt_relayer::store::Store;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::mallory::Mallory;
use super::{ROOM, STEP_MAX};
use crate::error::NodeError;
use crate::home::{Home, Settings};
use crate::identity::{self, Passphrase};
use crate::links::Kind;
use crate::marks::{self, Marks};
use crate::node::{Happening, Node, NodeConfig, Signer, Trust};
use crate::report::{self, RoomReport};
use crate::routes::Routes;
use crate::show;

/// Where what the keys have signed is noted.
const STATE: &str = "state";

pub(super) struct Cast {
    relayer: Relayer,
    pub(super) alice: Inside,
    pub(super) bob: Inside,
    pub(super) carol: Outside,
    pub(super) mallory: Mallory,
}

impl Cast {
    pub(super) async fn assemble(folder: &Path, seed: u64) -> Result<Self, NodeError> {
        let loopback = ([127, 0, 0, 1], 0).into();
        let config = RelayerConfig::at(folder.join("relayer"), loopback);
        let relayer = Relayer::start(config).await;
        let relayer = relayer.map_err(|error| match error {
            RelayerError::Home(error) => NodeError::Home(error),
            RelayerError::Store(error) => NodeError::Store(error),
            error @ (RelayerError::Listen { .. } | RelayerError::Tls(_)) => {
                NodeError::Demo(error.to_string())
            }
            RelayerError::Random(error) => NodeError::Random(error),
            RelayerError::Stopped(error) => NodeError::Stopped(error),
        })?;
        let mallory = Mallory::start(relayer.url(), key_seed(seed, 3)).await?;
        let relays = |victim: usize| {
            let own = mallory.urls().get(victim).cloned();
            [relayer.url().to_owned()].into_iter().chain(own).collect::<Vec<_>>()
        };
        let alice = Inside::start("alice", folder, key_seed(seed, 0), relays(0)).await?;
        let bob = Inside::start("bob", folder, key_seed(seed, 1), relays(1)).await?;
        let carol = Outside::start_as("carol", folder, key_seed(seed, 2), &relays(2))?;
        Ok(Self { relayer, alice, bob, carol, mallory })
    }

    pub(super) fn introduction(&self) -> String {
        let mut text = format!("  relayer   {}\n", self.relayer.url());
        for (name, author) in self.honest() {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "  {name:<9} ed25519 {}", show::short(&author));
        }
        text + "  mallory   lies: signs two ops as her first, forges a signature, flips bits, brings an op of another\n            room, replays"
    }

    pub(super) fn relay_url(&self) -> &str {
        self.relayer.url()
    }

    fn honest(&self) -> [(&'static str, AuthorId); 3] {
        [("alice", self.alice.author), ("bob", self.bob.author), ("carol", self.carol.author)]
    }

    /// What every honest party holds: the nodes by their stores on disk, the relayer by its memory.
    pub(super) async fn holdings(&self) -> Result<Vec<(&'static str, RoomReport)>, NodeError> {
        let missing = |name: &str| NodeError::Demo(format!("{name} has no room {ROOM}"));
        let of_room = |reports: Vec<RoomReport>| reports.into_iter().find(|r| r.name == ROOM);
        let author = self.alice.author;
        let reports = self.relayer.driver().query(move |replica| report::rooms(replica, author));
        let relayer = of_room(reports.await?).ok_or_else(|| missing("relayer"))?;
        let mut holdings = vec![("relayer", relayer)];
        let homes = [&self.alice.home, &self.bob.home, &self.carol.home];
        for (home, (name, author)) in homes.into_iter().zip(self.honest()) {
            let reports = report::stored_rooms(&Store::open_read(&home.store())?, author)?;
            holdings.push((name, of_room(reports).ok_or_else(|| missing(name))?));
        }
        Ok(holdings)
    }

    pub(super) async fn wait_for_relayer(&self, entries: u64) -> Result<(), NodeError> {
        let room = RoomName::parse(ROOM)?.id();
        poll("the relayer", || async move {
            let held = self
                .relayer
                .driver()
                .query(move |replica| replica.status(room).map_or(0, |status| status.entries));
            Ok(held.await? >= entries)
        })
        .await
    }

    pub(super) async fn wait_for_entries(&mut self, entries: u64) -> Result<(), NodeError> {
        self.alice.wait_for_entries(entries).await?;
        self.bob.wait_for_entries(entries).await?;
        self.carol.wait_for_entries(entries).await?;
        self.wait_for_relayer(entries).await
    }

    pub(super) async fn wait_for_agreement(&self) -> Result<(), NodeError> {
        poll("agreement", || async move {
            let holdings = self.holdings().await?;
            let sets: Vec<_> = holdings.iter().map(|(_, report)| report.status.set).collect();
            Ok(sets.windows(2).all(|pair| matches!(pair, [a, b] if a == b)))
        })
        .await
    }

    pub(super) async fn leave(self) -> Result<(), NodeError> {
        self.carol.leave().await?;
        self.alice.leave().await?;
        self.bob.leave().await?;
        self.mallory.leave();
        // The demo is over; what its relayer says now is of no use.
        drop(self.relayer.stop().await);
        Ok(())
    }
}

/// Looks again and again whether something has come true.
async fn poll<F>(what: &str, mut look: impl FnMut() -> F) -> Result<(), NodeError>
where
    F: Future<Output = Result<bool, NodeError>>,
{
    let looking = async {
        while !look().await? {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    };
    let timed_out = || NodeError::Demo(format!("{what} did not come in time"));
    timeout(STEP_MAX, looking).await.unwrap_or_else(|_| Err(timed_out()))
}

fn key_seed(seed: u64, number: u8) -> [u8; 32] {
    let mut bytes = [number; 32];
    let (head, _) = bytes.split_at_mut(8);
    head.copy_from_slice(&seed.to_be_bytes());
    bytes
}

fn make_home(
    name: &str,
    folder: &Path,
    seed: [u8; 32],
    relays: &[String],
) -> Result<Home, NodeError> {
    let path = folder.join(name);
    crdt_relayer::home::make(&path)?;
    let home = Home::of(name, Some(&path))?;
    home.write_settings(&Settings {
        name: name.into(),
        relays: relays.to_vec(),
        peers: Vec::new(),
        listen: None,
        allow: Vec::new(),
        tls_cert: None,
        tls_key: None,
        ca_file: None,
        insecure_plain: false,
        rooms: vec![ROOM.into()],
    })?;
    drop(Store::open(&home.store(), StoreId::from_bytes(random()?))?);
    identity::write(&home.key(), &seed, None)?;
    let author = SecretKey::from_seed(&seed).author();
    Marks::create(&marks::folder_in(&folder.join(STATE)), author)?;
    Ok(home)
}

fn payment(name: &str, number: u64) -> String {
    format!(r#"{{"amount":"{number}.00","memo":"{name} {number}","to":"treasury","type":"pay"}}"#)
}

/// A node in this process.
pub(super) struct Inside {
    name: &'static str,
    pub(super) author: AuthorId,
    home: Home,
    driver: crdt_relayer::driver::Driver,
    routes: Routes,
    entries: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), NodeError>>,
    token: u64,
}

impl Inside {
    async fn start(
        name: &'static str,
        folder: &Path,
        seed: [u8; 32],
        relays: Vec<String>,
    ) -> Result<Self, NodeError> {
        let home = make_home(name, folder, seed, &relays)?;
        let key: SecretKey = identity::load(&home.key(), &Passphrase::Ask)?;
        let author = key.author();
        let rooms = vec![RoomName::parse(ROOM)?];
        let marks = marks::folder_in(&folder.join(STATE));

        let config = NodeConfig {
            home: home.path().into(),
            key: Signer::Key(key),
            rooms,
            marks,
            trust: Trust::Marks,
            routes: relays.len(),
            listen: None,
            certificates: None,
            allowed: None,
            dialer: Dialer::default(),
        };
        let mut node = Node::spawn(config).await?;
        for url in relays {
            node.routes().add(Kind::Relay, &url)?;
        }
        let (driver, routes) = (node.driver().clone(), node.routes().clone());
        let (count, entries) = watch::channel(0);
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                let happening = tokio::select! {
                    happening = node.next() => Some(happening),
                    _ = stopped.changed() => None,
                };
                match happening {
                    None => return node.stop().await.0,
                    Some(Happening::Events(events)) => {
                        count.send_modify(|count| *count += entries_of(&events));
                    }
                    Some(Happening::Link(_) | Happening::Left(_)) => {}
                    Some(Happening::Ended(how)) => return how,
                }
            }
        });
        Ok(Self { name, author, home, driver, routes, entries, stop, task, token: 0 })
    }

    pub(super) async fn pay(&mut self, number: u64) -> Result<(), NodeError> {
        self.token += 1;
        let room = RoomName::parse(ROOM)?.id();
        let entry = Canonical::parse(payment(self.name, number).as_bytes());
        let entry = entry.map_err(|error| NodeError::Demo(error.to_string()))?;
        let append = Command::Append { room, token: Token(self.token), entry };
        Ok(self.driver.command(append).await?)
    }

    pub(super) fn set_online(&self, online: bool) {
        self.routes.set_online(online);
    }

    async fn wait_for_entries(&mut self, entries: u64) -> Result<(), NodeError> {
        wait(self.name, &mut self.entries, entries).await
    }

    async fn leave(self) -> Result<(), NodeError> {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_else(|error| Err(NodeError::Demo(error.to_string())))
    }
}

/// Entries that entered the log.
fn entries_of(events: &[Event]) -> u64 {
    let entries = |event: &Event| {
        if let Event::Admitted { op, .. } = event { op.entry_count() as u64 } else { 0 }
    };
    events.iter().map(entries).sum()
}

async fn wait(
    name: &str,
    counted: &mut watch::Receiver<u64>,
    entries: u64,
) -> Result<(), NodeError> {
    let come = timeout(STEP_MAX, counted.wait_for(|count| *count >= entries))
        .await
        .is_ok_and(|come| come.is_ok());
    if come {
        return Ok(());
    }
    let have = *counted.borrow();
    Err(NodeError::Demo(format!("{name} has {have} of {entries} entries")))
}

/// A node in a process of its own.
pub(super) struct Outside {
    name: &'static str,
    pub(super) author: AuthorId,
    home: Home,
    state: PathBuf,
    process: Option<(Child, ChildStdin)>,
    entries: watch::Receiver<u64>,
}

impl Outside {
    fn start_as(
        name: &'static str,
        folder: &Path,
        seed: [u8; 32],
        relays: &[String],
    ) -> Result<Self, NodeError> {
        let home = make_home(name, folder, seed, relays)?;
        let author = SecretKey::from_seed(&seed).author();
        let (_, entries) = watch::channel(0);
        let state = folder.join(STATE);
        let mut node = Self { name, author, home, state, process: None, entries };
        node.start()?;
        Ok(node)
    }

    /// Starts its process.
    pub(super) fn start(&mut self) -> Result<(), NodeError> {
        let program: PathBuf = std::env::current_exe()?;
        let mut child = tokio::process::Command::new(program)
            .args(["run", self.name, "--headless", "--json", "--home"])
            .arg(self.home.path())
            .env("XDG_STATE_HOME", &self.state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(NodeError::Demo(format!("{} has no pipes", self.name)));
        };
        let (count, entries) = watch::channel(0);
        self.entries = entries;
        self.process = Some((child, input));
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
                match event.get("event").and_then(serde_json::Value::as_str) {
                    Some("ready") => {
                        let held = event.get("entries").and_then(serde_json::Value::as_u64);
                        count.send_replace(held.unwrap_or_default());
                    }
                    Some("entry") => count.send_modify(|count| *count += 1),
                    Some(_) | None => {}
                }
            }
        });
        Ok(())
    }

    pub(super) async fn pay(&mut self, number: u64) -> Result<(), NodeError> {
        if let Some((_, input)) = &mut self.process {
            input.write_all(payment(self.name, number).as_bytes()).await?;
            input.write_all(b"\n").await?;
        }
        Ok(())
    }

    /// Ends its process at once, as `kill -9` does.
    pub(super) async fn kill(&mut self) -> Result<(), NodeError> {
        if let Some((mut child, _)) = self.process.take() {
            child.kill().await?;
        }
        Ok(())
    }

    pub(super) async fn wait_for_entries(&mut self, entries: u64) -> Result<(), NodeError> {
        wait(self.name, &mut self.entries, entries).await
    }

    async fn leave(mut self) -> Result<(), NodeError> {
        self.kill().await
    }
}
