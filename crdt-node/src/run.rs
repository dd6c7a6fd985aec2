//! `run` and `send`: a node, its lines, its screen.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crdt_core::id::{RoomId, RoomName};
use crdt_core::key::SecretKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::console::restore_terminal;
use crate::error::NodeError;
use crate::feed::{Fed, Feeder, Links, Read};
use crate::input::LINES_WAITING_MAX;
use crate::node::{Node, NodeConfig};
use crate::progress::Progress;
use crate::screen::Screen;
use crate::watch::Watch;

/// Time that leaving the console waits for relays.
pub const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Time between being asked to stop and the end of the process.
const STOP_MAX: Duration = Duration::from_secs(5);

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

/// The signals that ask a process to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits until one comes.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
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
    relays: Vec<String>,
    until: Until,
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
        let rooms: Vec<RoomId> = config.rooms.iter().map(RoomName::id).collect();
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
        let watch = Watch {
            author,
            progress: Progress::new(rooms),
            peers: HashMap::new(),
            connected: HashSet::new(),
            links,
            relays: config.relays.len(),
            reason: "no relay is configured".into(),
            told: HashSet::new(),
        };
        Ok(Self { node, screen, feeder, fed, watch, relays: config.relays, until: config.until })
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
        let Self { mut node, screen, feeder, mut fed, mut watch, relays, until } = self;
        let mut signals = Signals::listen()?;
        tokio::spawn(give_up_after(Signals::listen()?));
        watch.ready(&screen, node.driver()).await?;
        for url in relays {
            node.connect(url);
        }
        let feeding = tokio::spawn(feeder.run(lines));
        let ended = watch.run(&mut node, &mut fed, &screen, &mut signals, until).await;
        feeding.abort();
        let stopped = node.stop().await;
        ended.and(stopped)
    }
}
