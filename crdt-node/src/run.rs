//! `run` and `send`: a node, its lines, its screen.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crdt_core::id::{RoomId, RoomName};
use crdt_relayer::home::STORE_FILE;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::console::restore_terminal;
use crate::control::Control;
use crate::error::NodeError;
use crate::feed::{Fed, Feeder, Read};
use crate::input::LINES_WAITING_MAX;
use crate::links::Kind;
use crate::node::{Node, NodeConfig, Unsigned};
use crate::screen::Screen;
use crate::state::State;
use crate::watch::Watch;

/// Time that leaving the console waits for relays and peers.
pub const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Time between being asked to stop and the end of the process.
const STOP_MAX: Duration = Duration::from_secs(5);

/// What a run is made with.
#[derive(Debug)]
pub struct RunConfig {
    /// The node; lines go to the first of its rooms.
    pub node: NodeConfig,
    /// What it connects to.
    pub dialled: Vec<(Kind, String)>,
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
    /// When the user leaves; then relays and peers get this long.
    Left(Duration),
}

/// The signals that ask a process to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal was closed.
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let (interrupt, hangup) = (SignalKind::interrupt(), SignalKind::hangup());
        Ok(Self { terminate, interrupt: signal(interrupt)?, hangup: signal(hangup)? })
    }

    /// Waits until one comes.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Ends the process a while after it was asked to stop: whoever reads its output may have stopped
/// reading, and then nothing more can be shown. All that was acknowledged is on disk.
async fn give_up_after(mut signals: Signals) {
    signals.stop().await;
    tokio::time::sleep(STOP_MAX).await;
    restore_terminal();
    std::process::exit(0);
}

/// Starts a node and its feeder. The caller shows what happens with [`Run::go`].
#[derive(Debug)]
pub struct Run {
    node: Node,
    screen: Screen,
    feeder: Feeder,
    fed: mpsc::Receiver<Fed>,
    watch: Watch,
    dialled: Vec<(Kind, String)>,
    until: Until,
    home: PathBuf,
    _control: Option<Control>,
}

impl Run {
    /// Starts the node; nothing is dialled and no line is read yet.
    ///
    /// # Errors
    /// As [`Node::spawn`].
    pub async fn start(config: RunConfig, screen: Screen) -> Result<Self, NodeError> {
        let RunConfig { node, dialled, until } = config;
        let (author, home) = (node.key.author(), node.home.clone());
        let first = node.rooms.first().cloned();
        let current = first.ok_or_else(|| NodeError::Usage("name at least one room".into()))?;
        let rooms: Vec<RoomId> = node.rooms.iter().map(RoomName::id).collect();
        let node = Node::spawn(node).await?;
        let (fed_sender, fed) = mpsc::channel(LINES_WAITING_MAX);
        let (routes, links) = (node.routes().clone(), node.routes().links());
        let state = State { driver: node.driver().clone(), author, links: links.clone() };
        let control = Control::listen(&home, state.clone());
        let feeder = Feeder {
            state,
            screen: screen.clone(),
            fed: fed_sender,
            store: home.join(STORE_FILE),
            current: Arc::new(Mutex::new(current)),
            routes,
            line: 0,
            submitted: 0,
        };
        let watch = Watch::new(author, rooms, links, screen.format());
        Ok(Self { node, screen, feeder, fed, watch, dialled, until, home, _control: control })
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
        let Self { mut node, screen, feeder, mut fed, mut watch, dialled, until, home, _control } =
            self;
        let mut signals = Signals::listen()?;
        tokio::spawn(give_up_after(Signals::listen()?));
        watch.ready(&screen, node.driver()).await?;
        if let Some((address, url)) = node.listen() {
            watch.listening(address, &url);
        }
        for (kind, url) in dialled {
            node.routes().add(kind, &url)?;
        }
        let feeding = tokio::spawn(feeder.run(lines));
        let ended = watch.run(&mut node, &mut fed, &screen, &mut signals, until).await;
        feeding.abort();
        // A line that is being handed over still is.
        let _aborted = feeding.await;
        let (stopped, unsigned) = node.stop().await;
        // Lines that are not recorded are what matters most.
        keep_unsigned(&home, &unsigned).and(ended).and(stopped)
    }
}

/// Keeps lines that could not be signed, such that the next run can read them.
fn keep_unsigned(home: &Path, unsigned: &[Unsigned]) -> Result<(), NodeError> {
    let lines: usize = unsigned.iter().map(|of_room| of_room.entries.len()).sum();
    if lines == 0 {
        return Ok(());
    }
    // A file of its own: the one that is being read, if any, must not grow.
    let free = |number: &u32| !home.join(format!("unsigned-{number}.txt")).exists();
    let number = (1..u32::MAX).find(free).unwrap_or(u32::MAX);
    let file = home.join(format!("unsigned-{number}.txt"));
    let kept = || {
        let mut out = File::create_new(&file)?;
        for Unsigned { room, entries } in unsigned {
            if let Some(room) = room {
                writeln!(out, "/join {room}")?;
            }
            for entry in entries {
                writeln!(out, "{entry}")?;
            }
        }
        out.sync_all()
    };
    kept().map_err(|source| NodeError::file(&file, source))?;
    Err(NodeError::Unsigned { lines, file })
}
