//! A member of a room as the protocol wants it, that checks nothing: it acknowledges, grants credit
//! and announces what it was told.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crdt_core::id::StoreId;
use crdt_core::limits::WINDOW_BYTES;
use crdt_core::message::{Hello, Message};

use super::Kind;
use super::figures::Latencies;
use crate::client::{room_id, sub};
use crate::light::{Light, frame};

/// Bytes of ops after which credit is granted.
const GRANT_BYTES: usize = 262_144;

/// When each op was sent.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    sent_us: Arc<Vec<AtomicU64>>,
}

impl Clock {
    /// For so many ops.
    pub fn of(ops: usize) -> Self {
        let sent_us = (0..ops).map(|_| AtomicU64::new(0)).collect();
        Self { start: Instant::now(), sent_us: Arc::new(sent_us) }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The op with this number is sent now.
    pub fn sent(&self, number: usize) {
        self.sent_us[number].store(self.now_us(), Ordering::Relaxed);
    }

    /// How long ago that was.
    fn since(&self, number: usize) -> Option<Duration> {
        let sent = self.sent_us.get(number)?.load(Ordering::Relaxed);
        Some(Duration::from_micros(self.now_us().saturating_sub(sent)))
    }
}

/// A `hello` from a store of its own.
pub fn hello(number: u32) -> String {
    let mut store = [0x77; 32];
    store[..4].copy_from_slice(&number.to_be_bytes());
    Message::Hello(Hello::new("load", StoreId::from_bytes(store), WINDOW_BYTES))
        .encode()
        .to_string()
}

/// A member.
#[derive(Debug)]
pub struct Member {
    link: Light,
    ack: Vec<u8>,
    /// Bytes of ops that no credit was granted for yet.
    ungranted: usize,
}

/// So often a text is in another.
fn count(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len()).filter(|part| part == &word).count()
}

impl Member {
    /// Connects, and enters a room if it is a relayer's.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn enter(
        kind: Kind,
        (server, from): (SocketAddr, IpAddr),
        room: &str,
        number: u32,
    ) -> io::Result<Self> {
        let mut link = Light::open(server, from).await?;
        if kind == Kind::Relayer {
            link.say(&hello(number)).await?;
            link.say(&sub(room)).await?;
            while !link.hear().await?.starts_with(br#"{"type":"heads""#) {}
        }
        let room = room_id(room);
        let ack = format!(r#"{{"type":"ack","room":"{room}","stored":1,"except":[]}}"#);
        Ok(Self { link, ack: frame(1, ack.as_bytes()), ungranted: 0 })
    }

    /// Takes ops until it has all of so many. Returns how long each took to come.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn take(&mut self, clock: &Clock, ops: usize) -> io::Result<Latencies> {
        let mut latencies = Latencies::default();
        while latencies.len() < ops {
            let text = self.link.hear().await?;
            if text.starts_with(br#"{"type":"ops""#) {
                let (taken, bytes) = (note(text, clock, &mut latencies), text.len());
                self.answer(taken, bytes).await?;
            } else if text.starts_with(br#"{"type":"heads""#) {
                // It holds what it was sent.
                let heads = frame(1, text);
                self.link.send(&heads).await?;
            }
        }
        Ok(latencies)
    }

    async fn answer(&mut self, ops: usize, bytes: usize) -> io::Result<()> {
        let mut answer = if ops == 1 {
            self.ack.clone()
        } else {
            let text = String::from_utf8_lossy(&self.ack[self.ack.len() - ACK_TEXT..]).into_owned();
            frame(1, text.replace(r#""stored":1"#, &format!(r#""stored":{ops}"#)).as_bytes())
        };
        self.ungranted += bytes;
        if self.ungranted >= GRANT_BYTES {
            let credit = format!(r#"{{"type":"credit","bytes":{}}}"#, self.ungranted);
            answer.extend(frame(1, credit.as_bytes()));
            self.ungranted = 0;
        }
        self.link.send(&answer).await
    }
}

/// Bytes of an `ack` of one op.
const ACK_TEXT: usize = r#"{"type":"ack","room":"","stored":1,"except":[]}"#.len() + 64;

/// Notes each op of a message. Returns how many there are.
fn note(text: &[u8], clock: &Clock, latencies: &mut Latencies) -> usize {
    const MARK: &[u8] = b"flood ";
    let mut rest = text;
    while let Some(at) = rest.windows(MARK.len()).position(|part| part == MARK) {
        rest = &rest[at + MARK.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        if let Some(took) = clock.since(number) {
            latencies.note(took);
        }
    }
    count(text, br#""sig":""#)
}
