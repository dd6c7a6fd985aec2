//! A wire between two programs that counts what passes: every op, each way, and every byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

use crate::process::WAIT_MAX;

/// What has passed one way.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// How often each op, by id.
    pub ops: BTreeMap<String, u64>,
    /// How many messages of each type.
    pub messages: BTreeMap<String, u64>,
    /// Bytes of text.
    pub bytes: u64,
}

impl Passed {
    fn note(&mut self, text: &str) {
        self.bytes += text.len() as u64;
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let kind = message["type"].as_str().unwrap_or_default();
        *self.messages.entry(kind.to_owned()).or_default() += 1;
        for op in message["ops"].as_array().into_iter().flatten() {
            *self.ops.entry(op["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// From the one that dials, and back.
    ways: Mutex<[Passed; 2]>,
    more: Condvar,
}

/// A wire to a program that listens. It runs on a thread of its own until the test ends.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Tap {
    /// A wire to this websocket.
    pub fn to(upstream: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let (upstream, noted) = (upstream.to_owned(), Arc::clone(&counts));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(join(stream, upstream.clone(), Arc::clone(&noted)));
                }
            });
        });
        Self { address, counts }
    }

    /// Its own websocket.
    pub fn url(&self) -> String {
        format!("ws://{}/websocket", self.address)
    }

    /// What has passed from the one that dials, and back.
    pub fn passed(&self) -> [Passed; 2] {
        self.counts.ways.lock().unwrap().clone()
    }

    /// Waits until so many messages of a type have passed, each way, and returns what has.
    pub fn wait_for(&self, kind: &str, counts: [u64; 2]) -> [Passed; 2] {
        let deadline = Instant::now() + WAIT_MAX;
        let mut ways = self.counts.ways.lock().unwrap();
        let count = |passed: &Passed| passed.messages.get(kind).copied().unwrap_or_default();
        while ways.iter().zip(counts).any(|(way, wanted)| count(way) < wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {counts:?} {kind} pass");
            ways = self.counts.more.wait_timeout(ways, left).unwrap().0;
        }
        ways.clone()
    }
}

/// Passes everything on, both ways, until either side ends.
async fn join(stream: tokio::net::TcpStream, upstream: String, counts: Arc<Counts>) {
    let (Ok(near), Ok((far, _))) = (accept_async(stream).await, connect_async(&upstream).await)
    else {
        return;
    };
    let ((mut near_write, mut near_read), (mut far_write, mut far_read)) =
        (near.split(), far.split());
    let note = |way: usize, message: &Message| {
        if let Message::Text(text) = message {
            counts.ways.lock().unwrap()[way].note(text.as_str());
            counts.more.notify_all();
        }
    };
    loop {
        let sent = tokio::select! {
            message = near_read.next() => {
                let Some(Ok(message)) = message else { return };
                note(0, &message);
                far_write.send(message).await
            }
            message = far_read.next() => {
                let Some(Ok(message)) = message else { return };
                note(1, &message);
                near_write.send(message).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
