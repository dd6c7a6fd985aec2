//! A relayer that lies: it listens like one, stands between nodes and an honest relayer, and makes
//! of every frame what its [`Lie`] makes of it. It runs on a thread of its own, so a test may
//! block.

mod lie;
mod link;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::process::WAIT_MAX;

pub use lie::Lie;

/// What the liar does from now on.
#[derive(Clone, Debug)]
struct Plan {
    /// The honest relayer's websocket.
    upstream: String,
    /// The lie for everybody.
    lie: Lie,
    /// Other relayers that stand behind the liar for single nodes.
    upstreams: BTreeMap<String, String>,
    /// Connections of before the last cut end.
    cuts: u64,
    stop: bool,
}

impl Plan {
    fn upstream_for(&self, node: &str) -> String {
        self.upstreams.get(node).unwrap_or(&self.upstream).clone()
    }
}

/// What nodes said to the liar: for each node and type of message how often. `connected` counts
/// connections, `lie` frames that the liar did not pass on as they were.
#[derive(Debug, Default)]
struct Heard {
    counts: Mutex<BTreeMap<(String, String), u64>>,
    more: Condvar,
}

impl Heard {
    fn count(&self, node: &str, what: &str) {
        let mut counts = self.counts.lock().unwrap();
        *counts.entry((node.to_owned(), what.to_owned())).or_default() += 1;
        self.more.notify_all();
    }
}

/// A lying relayer.
#[derive(Debug)]
pub struct Liar {
    address: SocketAddr,
    plan: watch::Sender<Plan>,
    heard: Arc<Heard>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Starts one in front of the honest relayer with this websocket.
    pub fn start(upstream: &str, lie: Lie) -> Self {
        let (plan, plans) = watch::channel(Plan {
            upstream: upstream.to_owned(),
            lie,
            upstreams: BTreeMap::new(),
            cuts: 0,
            stop: false,
        });
        let heard = Arc::new(Heard::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let noted = Arc::clone(&heard);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(listen(listener, plans, noted));
        });
        Self { address, plan, heard, thread: Some(thread) }
    }

    /// The websocket for a node of this name: the liar tells nodes apart by the path they dial.
    pub fn url(&self, node: &str) -> String {
        format!("ws://{}/{node}", self.address)
    }

    /// Lies to everybody like this from now on.
    pub fn tell(&self, lie: Lie) {
        self.plan.send_modify(|plan| plan.lie = lie);
    }

    /// Shows one node another relayer's ops from its next connection on, under the store id of the
    /// first relayer.
    pub fn show(&self, node: &str, upstream: &str) {
        self.plan.send_modify(|plan| {
            plan.upstreams.insert(node.to_owned(), upstream.to_owned());
        });
    }

    /// Shows everybody the same relayer from their next connections on.
    pub fn show_all_the_same(&self) {
        self.plan.send_modify(|plan| plan.upstreams.clear());
    }

    /// Ends every connection. Who wants dials again.
    pub fn cut(&self) {
        self.plan.send_modify(|plan| plan.cuts += 1);
    }

    /// Frames that were not passed on as they were, over all nodes: a test whose liar never lied
    /// proves nothing.
    pub fn lies(&self) -> u64 {
        let counts = self.heard.counts.lock().unwrap();
        counts.iter().filter(|((_, what), _)| what == "lie").map(|(_, count)| count).sum()
    }

    /// How often a node has sent a message of this type.
    pub fn heard(&self, node: &str, what: &str) -> u64 {
        let counts = self.heard.counts.lock().unwrap();
        counts.get(&(node.to_owned(), what.to_owned())).copied().unwrap_or_default()
    }

    /// Waits until a node has sent so many messages of this type.
    pub fn wait_for(&self, node: &str, what: &str, count: u64) {
        let key = (node.to_owned(), what.to_owned());
        let deadline = Instant::now() + WAIT_MAX;
        let mut counts = self.heard.counts.lock().unwrap();
        while counts.get(&key).copied().unwrap_or_default() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{node} sends no {count} {what}: {counts:?}");
            counts = self.heard.more.wait_timeout(counts, left).unwrap().0;
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.plan.send_modify(|plan| plan.stop = true);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn listen(listener: std::net::TcpListener, plans: watch::Receiver<Plan>, heard: Arc<Heard>) {
    let mut stopping = plans.clone();
    let listener = TcpListener::from_std(listener).unwrap();
    let store = Arc::new(Mutex::new(None));
    let mut connections = 0;
    loop {
        tokio::select! {
            // Gone is as good as stopped.
            _ = stopping.wait_for(|plan| plan.stop) => return,
            Ok((stream, _)) = listener.accept() => {
                connections += 1;
                let link = link::Link {
                    plans: plans.clone(),
                    heard: Arc::clone(&heard),
                    store: Arc::clone(&store),
                    number: connections,
                };
                tokio::spawn(link.serve(stream));
            }
        }
    }
}
