//! `run` and `send`: a node, its lines, its screen.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crdt_core::effect::{Event, PeerId};
use crdt_core::id::{AuthorId, RoomId, RoomName};
use crdt_core::key::SecretKey;
use crdt_relayer::dial::LinkEvent;
use crdt_relayer::driver::Driver;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::NodeError;
use crate::feed::{Fed, Feeder, Links, Read, refusal};
use crate::line::{LINE_BYTES_MAX, LineError};
use crate::node::{Happening, Node, NodeConfig};
use crate::progress::Progress;
use crate::report;
use crate::screen::{Format, Screen};
use crate::show;

/// Lines that may wait to be carried out.
const LINES_WAITING_MAX: usize = 1_024;

/// Time between two looks at whether a run is complete.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Time that leaving the console waits for relays.
pub const LEAVE_MAX: Duration = Duration::from_secs(2);

/// What a run is made with.
#[derive(Debug)]
pub struct RunConfig {
    /// The node's home.
    pub home: PathBuf,
    /// Its store.
    pub store: PathBuf,
    /// Its key.
    pub key: SecretKey,
    /// Where it connects to.
    pub relays: Vec<String>,
    /// What it takes part in; lines go to the first.
    pub rooms: Vec<RoomName>,
    /// When it ends.
    pub until: Until,
}

/// When a run ends, besides by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Stopped,
    /// Once input ended and everything is relayed and in sync, or this time after input ended.
    Complete(Duration),
    /// Once input ended and everything is relayed, or this time after input ended.
    Relayed(Duration),
    /// When the user leaves; then relays get this long.
    Left(Duration),
}

/// Starts a node and its feeder. The caller shows what happens with [`Run::go`].
#[derive(Debug)]
pub struct Run {
    node: Node,
    screen: Screen,
    feeder: Feeder,
    fed: mpsc::Receiver<Fed>,
    state: State,
    relays: Vec<String>,
    until: Until,
}

/// What the loop keeps.
#[derive(Debug)]
struct State {
    author: AuthorId,
    progress: Progress,
    peers: HashMap<PeerId, String>,
    links: Links,
    relays: usize,
    reason: String,
    names: HashMap<RoomId, RoomName>,
}

impl Run {
    /// Starts the node; nothing is dialled and no line is read yet.
    ///
    /// # Errors
    /// As [`Node::spawn`].
    pub async fn start(config: RunConfig, screen: Screen) -> Result<Self, NodeError> {
        let author = config.key.author();
        let first = config.rooms.first().cloned();
        let current = first.ok_or_else(|| NodeError::Usage("name at least one room".into()))?;
        let names: HashMap<RoomId, RoomName> =
            config.rooms.iter().map(|name| (name.id(), name.clone())).collect();
        let node =
            Node::spawn(NodeConfig { home: config.home, key: config.key, rooms: config.rooms })
                .await?;
        let (fed_sender, fed) = mpsc::channel(LINES_WAITING_MAX);
        let links = Links::default();
        let feeder = Feeder {
            driver: node.driver().clone(),
            screen: screen.clone(),
            fed: fed_sender,
            author,
            store: config.store,
            links: Arc::clone(&links),
            current: Arc::new(Mutex::new(current)),
            online: node.switch(),
            line: 0,
        };
        let state = State {
            author,
            progress: Progress::new(names.keys().copied()),
            peers: HashMap::new(),
            links,
            relays: config.relays.len(),
            reason: "no relay is configured".into(),
            names,
        };
        Ok(Self { node, screen, feeder, fed, state, relays: config.relays, until: config.until })
    }

    /// The room lines go to.
    pub fn current(&self) -> crate::feed::Current {
        Arc::clone(&self.feeder.current)
    }

    /// Says what is there, connects, carries out `lines`, shows what happens, and ends the node.
    ///
    /// # Errors
    /// The store failed, lines were refused, or the run did not complete in time.
    pub async fn go(self, lines: mpsc::Receiver<Read>) -> Result<(), NodeError> {
        let Self { mut node, screen, feeder, mut fed, mut state, relays, until } = self;
        state.ready(&screen, node.driver()).await?;
        for url in relays {
            node.connect(url);
        }
        let feeding = tokio::spawn(feeder.run(lines));
        let ended = state.watch(&mut node, &mut fed, &screen, until).await;
        feeding.abort();
        let stopped = node.stop().await;
        ended.and(stopped)
    }
}

impl State {
    async fn ready(&self, screen: &Screen, driver: &Driver) -> Result<(), NodeError> {
        let author = self.author;
        for report in driver.query(move |replica| report::rooms(replica, author)).await? {
            let status = &report.status;
            let line = match screen.format() {
                Format::Json => json!({
                    "event": "ready",
                    "author": author.to_string(),
                    "room": report.name,
                    "heads": status.heads.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "entries": status.entries,
                })
                .to_string(),
                Format::Text => format!(
                    "you are {}   room {}   {} entries   {} unsent   /help lists commands",
                    show::short(&author),
                    report.name,
                    status.entries,
                    report.unsent
                ),
            };
            screen.show(line).await;
        }
        Ok(())
    }

    /// Shows what happens until the run is over.
    async fn watch(
        &mut self,
        node: &mut Node,
        fed: &mut mpsc::Receiver<Fed>,
        screen: &Screen,
        until: Until,
    ) -> Result<(), NodeError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => return self.refusals(),
                _ = interrupt.recv() => return self.refusals(),
                happening = node.next() => match happening {
                    Happening::Event(event) => self.event(screen, event).await,
                    Happening::Link(link) => self.link(screen, link).await,
                    Happening::Ended(how) => return how,
                },
                Some(fed) = fed.recv() => match fed {
                    Fed::Submitted => self.progress.submitted(),
                    Fed::Unreadable => self.progress.unreadable(),
                    Fed::Joined(name) => {
                        self.progress.joined(name.id());
                        self.names.insert(name.id(), name);
                    }
                    Fed::End => ended = Some(Instant::now()),
                    Fed::Quit => {
                        ended = Some(Instant::now());
                        if !matches!(until, Until::Left(_)) {
                            return self.refusals();
                        }
                    }
                },
                _ = look.tick(), if ended.is_some() => {
                    let waited = ended.map_or(Duration::ZERO, |at| at.elapsed());
                    if let Some(over) = self.over(node, until, waited).await {
                        return over;
                    }
                }
            }
        }
    }

    /// Whether a run whose input has ended is over, and how.
    async fn over(
        &self,
        node: &Node,
        until: Until,
        waited: Duration,
    ) -> Option<Result<(), NodeError>> {
        let (done, max) = match until {
            Until::Stopped => return None,
            Until::Complete(max) => (self.progress.complete(), max),
            Until::Relayed(max) | Until::Left(max) => (self.progress.all_relayed(), max),
        };
        if done {
            return Some(self.refusals());
        }
        if waited < max {
            return None;
        }
        if matches!(until, Until::Left(_)) {
            return Some(Ok(()));
        }
        let author = self.author;
        let unsent = move |replica: &crdt_core::Replica| {
            replica.rooms().map(|room| replica.unsent(room, author)).sum()
        };
        let unsent = node.driver().query(unsent).await.unwrap_or_default();
        let seconds = max.as_secs();
        let connected = !self.peers.is_empty();
        let reason =
            if connected { self.progress.lacking().to_owned() } else { self.reason.clone() };
        Some(Err(match until {
            Until::Relayed(_) => NodeError::NotRelayed { seconds, reason, unsent },
            Until::Stopped | Until::Complete(_) | Until::Left(_) => {
                NodeError::NotSynced { seconds, reason, unsent }
            }
        }))
    }

    fn refusals(&self) -> Result<(), NodeError> {
        match self.progress.refusals() {
            (0, _) => Ok(()),
            (refused, lines) => Err(NodeError::LinesRefused { refused, lines }),
        }
    }

    async fn event(&mut self, screen: &Screen, event: Event) {
        match event {
            Event::Admitted { room, op, conflict, .. } => {
                self.progress.admitted(room);
                for (index, entry) in op.entries().iter().enumerate() {
                    let line = match screen.format() {
                        Format::Json => show::entry_json(&op, index, entry),
                        Format::Text => show::entry_text(&op, entry, self.author),
                    };
                    screen.show(line).await;
                }
                if let Some(other) = conflict {
                    screen
                        .show(match screen.format() {
                            Format::Json => show::evidence_json(&op, other),
                            Format::Text => show::evidence_text(&op, other),
                        })
                        .await;
                }
            }
            Event::Durable { room, token, op, index, position } => {
                self.progress.answered();
                self.progress.durable(room, op, position);
                let fields = json!({"event": "durable", "line": token.0, "op": op.to_string(), "index": index});
                only_json(screen, &fields).await;
            }
            Event::Refused { token, error } => {
                self.progress.answered();
                self.progress.refused();
                screen.show(refusal(screen.format(), token.0, error.code(), &error)).await;
            }
            Event::Acked { room, peer, position } => {
                let Some(relay) = self.peers.get(&peer) else { return };
                for op in self.progress.acked(room, relay, position, self.relays) {
                    let fields = json!({"event": "relayed", "op": op.to_string(), "relay": relay});
                    only_json(screen, &fields).await;
                }
            }
            Event::Synced { room, set, entries, .. } => {
                self.progress.synced(room);
                let room =
                    self.names.get(&room).map_or_else(|| room.to_string(), ToString::to_string);
                let line = match screen.format() {
                    Format::Json => json!({
                        "event": "synced", "room": room, "set": set.to_string(), "entries": entries,
                    })
                    .to_string(),
                    Format::Text => {
                        format!(
                            "in sync   room {room}   {entries} entries   set {}",
                            show::short(&set)
                        )
                    }
                };
                screen.show(line).await;
            }
            Event::PeerReady { .. } => {}
            Event::PeerProblem { code, message, .. } => {
                let (code, message) = (show::safe(&code), show::safe(&message));
                self.problem(screen, &format!("a relay says: {message} ({code})")).await;
            }
            Event::Blamed { code, .. } => {
                self.problem(
                    screen,
                    &format!("refused what a relay sent ({code}); nothing was lost"),
                )
                .await;
            }
        }
    }

    async fn problem(&self, screen: &Screen, what: &str) {
        screen
            .show(match screen.format() {
                Format::Json => json!({"event": "problem", "message": what}).to_string(),
                Format::Text => format!("WARNING  {what}"),
            })
            .await;
    }

    async fn link(&mut self, screen: &Screen, event: LinkEvent) {
        let (url, state, text) = match event {
            LinkEvent::Up { url, peer } => {
                self.peers.insert(peer, url.clone());
                let text = format!("connected to {url}");
                (url, "connected".to_owned(), text)
            }
            LinkEvent::Down { url, reason, retry_ms } => {
                self.peers.retain(|_, other| *other != url);
                let reason = show::safe(&reason);
                let text = format!(
                    "no connection to {url} ({reason}); trying again, you can keep writing"
                );
                self.reason = format!("{url}: {reason}");
                (url, format!("down: {reason}, retry in {retry_ms} ms"), text)
            }
        };
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let before = links.insert(url.clone(), state.clone());
        drop(links);
        let kind = |state: &str| state.split(", retry").next().unwrap_or_default().to_owned();
        if before.as_deref().map(kind) == Some(kind(&state)) {
            // Still the same: told once.
            return;
        }
        screen
            .show(match screen.format() {
                Format::Json => json!({"event": "link", "relay": url, "state": state}).to_string(),
                Format::Text => text,
            })
            .await;
    }
}

async fn only_json(screen: &Screen, fields: &serde_json::Value) {
    if screen.format() == Format::Json {
        screen.show(fields.to_string()).await;
    }
}

/// Reads standard input line by line on a thread of its own.
pub fn read_stdin() -> mpsc::Receiver<Read> {
    let (lines, inbox) = mpsc::channel(LINES_WAITING_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next_line(&mut input) {
            if lines.blocking_send(Read::Line(line)).is_err() {
                return;
            }
        }
        // The run may have ended meanwhile.
        let _ended = lines.blocking_send(Read::End);
    });
    inbox
}

/// The next line without its end, or why it cannot be taken; `None` at the end of input.
fn next_line(input: &mut impl BufRead) -> Option<Result<String, LineError>> {
    let mut bytes = Vec::new();
    let max = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    match input.by_ref().take(max).read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => return None,
        Ok(_) => {}
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > LINE_BYTES_MAX {
        // A read error here ends the input at the next line.
        let _rest = input.skip_until(b'\n');
        return Some(Err(LineError::Size));
    }
    Some(String::from_utf8(bytes).map_err(|_| LineError::Utf8))
}

/// Lines given as arguments.
pub fn given(lines: Vec<String>) -> mpsc::Receiver<Read> {
    let (sender, inbox) = mpsc::channel(LINES_WAITING_MAX);
    tokio::spawn(async move {
        for line in lines {
            if sender.send(Read::Line(Ok(line))).await.is_err() {
                return;
            }
        }
        // The run may have ended meanwhile.
        let _ended = sender.send(Read::End).await;
    });
    inbox
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_anywhere_and_bad_ones_do_not_take_others_along() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let text = format!("one\r\n\n{long}\n{long}x\nthree\n\u{fffd}");
        let mut bytes = text.into_bytes();
        bytes.extend([b'\n', 0xff, b'\n']);
        bytes.extend(b"last");
        let mut input = io::Cursor::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input) {
            lines.push(line);
        }
        let good = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines,
            [
                good("one\r"),
                good(""),
                good(&long),
                Err(LineError::Size),
                good("three"),
                good("\u{fffd}"),
                Err(LineError::Utf8),
                good("last"),
            ]
        );
    }
}
