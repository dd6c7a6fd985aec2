//! What a relayer says of itself while it runs: one stream of events on standard output. People get
//! a line for each, with its time and how much it matters; programs an object with the same.

use std::collections::BTreeMap;
use std::io::Write;
use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crdt_core::effect::Event;
use crdt_relayer::dial::LinkEvent;
use crdt_relayer::disk::Storage;
use crdt_relayer::escape::{safe, safe_json};
use crdt_relayer::http::Left;
use crdt_relayer::metrics::Refused;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lines that may wait to be printed.
const LINES_WAITING_MAX: usize = 1_024;

/// Time for what waits to be printed when all has ended.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

/// Forks that are told of one by one in a minute, unless everything is told: strangers can make any
/// number of them.
const FORKS_TOLD_MAX: u32 = 10;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    /// Somebody has to look.
    Warn,
    /// What an operator wants to see in a log of weeks.
    Info,
    /// Each connection, and what it did wrong.
    Debug,
}

impl Level {
    const ALL: [Self; 3] = [Self::Warn, Self::Info, Self::Debug];

    /// The level of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How it is told, and how much.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    as_json: bool,
    level: Arc<AtomicU8>,
}

impl Voice {
    pub(crate) fn new(as_json: bool, level: Level) -> Self {
        Self { as_json, level: Arc::new(AtomicU8::new(level as u8)) }
    }

    /// From now on so much is told.
    pub(crate) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    fn tells(&self, level: Level) -> bool {
        level as u8 <= self.level.load(Ordering::Relaxed)
    }

    /// The line for something that happened. What others wrote into it cannot act on a terminal,
    /// and stays on its line.
    fn line(&self, said: Said) -> String {
        let time = format!("{:.3}", jiff::Timestamp::now());
        if !self.as_json {
            let level = said.level.name().to_uppercase();
            return format!("{time} {level:<5} {}", safe(&said.sentence));
        }
        let mut object = said.object;
        object["time"] = time.into();
        object["level"] = said.level.name().into();
        safe_json(&object.to_string())
    }
}

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Said {
    level: Level,
    object: Value,
    sentence: String,
}

impl Said {
    pub(crate) fn new(level: Level, object: Value, sentence: impl Into<String>) -> Self {
        Self { level, object, sentence: sentence.into() }
    }
}

/// Where what happens comes from.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) events: mpsc::Receiver<Vec<Event>>,
    pub(crate) links: mpsc::Receiver<LinkEvent>,
    pub(crate) left: mpsc::Receiver<Left>,
    pub(crate) storage: watch::Receiver<Storage>,
}

/// Prints what happens, on a thread of its own: a pipe that nobody reads blocks only the reports.
pub(crate) fn print(
    voice: Voice,
    first: Said,
    mut heard: Heard,
    mut out: impl Write + Send + 'static,
) -> Printer {
    let (lines, mut inbox) = mpsc::channel::<String>(LINES_WAITING_MAX);
    let (ended, end) = oneshot::channel::<()>();
    let printer = Printer { voice: voice.clone(), lines: lines.clone(), end, hearing: None };
    printer.say(first);
    let teller = Teller { voice, lines };
    let hearing = tokio::spawn(async move {
        let (mut forks, mut room) = (ForksTold::default(), Storage::Ample);
        // There may have been none at the start.
        heard.storage.mark_changed();
        loop {
            let all: Vec<Said> = tokio::select! {
                Some(events) = heard.events.recv() => events.iter().filter_map(of_event).collect(),
                Some(event) = heard.links.recv() => vec![of_link(&event)],
                Some(left) = heard.left.recv() => vec![of_end(&left)],
                Ok(()) = heard.storage.changed() => {
                    let before = std::mem::replace(&mut room, *heard.storage.borrow());
                    of_storage(before, room).into_iter().collect()
                }
                else => return,
            };
            let everything = teller.voice.tells(Level::Debug);
            for said in all {
                if everything || forks.may_be_told(&said) {
                    teller.say(said);
                }
            }
        }
    });
    std::thread::spawn(move || {
        while let Some(line) = inbox.blocking_recv() {
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        // Whoever waited may have given up.
        let _waited = ended.send(()).is_ok();
    });
    Printer { hearing: Some(hearing), ..printer }
}

struct Teller {
    voice: Voice,
    lines: mpsc::Sender<String>,
}

impl Teller {
    fn say(&self, said: Said) {
        if self.voice.tells(said.level) {
            // What nobody reads is dropped.
            drop(self.lines.try_send(self.voice.line(said)));
        }
    }
}

/// Prints what else there is to tell.
#[derive(Debug)]
pub(crate) struct Printer {
    voice: Voice,
    lines: mpsc::Sender<String>,
    end: oneshot::Receiver<()>,
    hearing: Option<JoinHandle<()>>,
}

impl Printer {
    /// Something happened.
    pub(crate) fn say(&self, said: Said) {
        Teller { voice: self.voice.clone(), lines: self.lines.clone() }.say(said);
    }

    /// The settings were read again, or not.
    pub(crate) fn reread(&self, read: &Result<(), String>) {
        self.say(match read {
            Ok(()) => Said::new(
                Level::Info,
                json!({"event": "reread", "ok": true}),
                "settings read again; limits and certificates are in use",
            ),
            Err(why) => Said::new(
                Level::Warn,
                json!({"event": "reread", "ok": false, "reason": why}),
                format!("settings not read again, all stays as it was: {why}"),
            ),
        });
    }

    /// So many were turned away for each limit since this was told last.
    pub(crate) fn turned_away(&self, refused: &BTreeMap<Refused, u64>) {
        for (limit, count) in refused {
            self.say(Said::new(
                Level::Warn,
                json!({"event": "turned-away", "limit": format!("{limit:?}"), "count": count}),
                format!("{count} turned away: {}", limit.sentence()),
            ));
        }
    }

    /// Prints what waits, if somebody reads it.
    pub(crate) async fn finish(self) {
        let Self { lines, end, hearing, .. } = self;
        if let Some(hearing) = hearing {
            hearing.abort();
            // It has ended, or was ended.
            drop(hearing.await);
        }
        drop(lines);
        drop(timeout(LAST_LINES_MAX, end).await);
    }
}

/// How many forks were told of.
#[derive(Debug, Default)]
struct ForksTold {
    since: Option<Instant>,
    told: u32,
}

impl ForksTold {
    fn may_be_told(&mut self, said: &Said) -> bool {
        if said.object["event"] != "evidence" {
            return true;
        }
        if self.since.is_none_or(|since| since.elapsed() >= Duration::from_mins(1)) {
            *self = Self { since: Some(Instant::now()), told: 0 };
        }
        self.told += 1;
        self.told <= FORKS_TOLD_MAX
    }
}

/// Whether something that happens in a replica is told.
pub(crate) fn is_told(event: &Event) -> bool {
    matches!(
        event,
        Event::Admitted { equivocation: Some(_), .. }
            | Event::PeerReady { .. }
            | Event::Blamed { .. }
            | Event::PeerProblem { .. }
    )
}

/// What a replica tells, if it is told on.
fn of_event(event: &Event) -> Option<Said> {
    let said = match event {
        Event::PeerReady { peer, agent, .. } => Said::new(
            Level::Debug,
            json!({"event": "connect", "peer": peer.0, "agent": agent}),
            format!("peer {} has introduced itself: {agent}", peer.0),
        ),
        Event::Blamed { peer, code } => Said::new(
            Level::Debug,
            json!({"event": "refused", "peer": peer.0, "code": code}),
            format!("peer {} broke a rule: {code}", peer.0),
        ),
        Event::PeerProblem { peer, code, message } => Said::new(
            Level::Debug,
            json!({"event": "problem", "peer": peer.0, "code": code, "message": message}),
            format!("peer {} complains: {code}: {message}", peer.0),
        ),
        Event::Admitted { equivocation: Some(equivocation), .. } => Said::new(
            Level::Warn,
            json!({
                "event": "evidence",
                "id": equivocation.id().to_string(),
                "room": equivocation.room.to_string(),
                "author": equivocation.author.to_string(),
                "seq": equivocation.seq.number(),
                "a": equivocation.ops[0].to_string(),
                "b": equivocation.ops[1].to_string(),
            }),
            format!(
                "author {} signed two different ops as #{} of room {}",
                equivocation.author,
                equivocation.seq.number(),
                equivocation.room
            ),
        ),
        Event::Admitted { .. }
        | Event::SignedElsewhere { .. }
        | Event::Withheld { .. }
        | Event::PutOff { .. }
        | Event::Learnt { .. }
        | Event::Withdrawn { .. }
        | Event::Durable { .. }
        | Event::Refused { .. }
        | Event::Acked { .. }
        | Event::Synced { .. } => return None,
    };
    Some(said)
}

/// The end of a connection that was accepted.
fn of_end(left: &Left) -> Said {
    let Left { peer, reason, cause } = left;
    Said::new(
        Level::Debug,
        json!({
            "event": "disconnect", "peer": peer.0, "reason": reason,
            "refused": cause.is_refusal(),
        }),
        format!("peer {} is gone: {reason}", peer.0),
    )
}

/// Whether there is room for more, if that has changed. How much is free changes all the time.
fn of_storage(before: Storage, now: Storage) -> Option<Said> {
    if discriminant(&before) == discriminant(&now) {
        return None;
    }
    let (level, object, what) = match now {
        Storage::Ample => {
            let sentence = "the disk has room again; what was put off is taken when it comes again";
            let object = json!({"event": "storage", "state": "ample"});
            return Some(Said::new(Level::Info, object, sentence));
        }
        Storage::Low { free, floor } => (
            Level::Warn,
            json!({"event": "storage", "state": "low", "free": free, "floor": floor}),
            format!("the disk has {free} bytes free, and {floor} are to stay free"),
        ),
        Storage::Full => {
            let object = json!({"event": "storage", "state": "full"});
            (Level::Warn, object, "the disk is full".to_owned())
        }
    };
    let sentence = format!(
        "{what}: nothing new is taken, everything acknowledged is safe; free some space, and it goes on \
         by itself"
    );
    Some(Said::new(level, object, sentence))
}

/// What became of a link to another relayer.
fn of_link(event: &LinkEvent) -> Said {
    match event {
        LinkEvent::Up { url, .. } => Said::new(
            Level::Info,
            json!({"event": "link", "relay": url, "state": "connected"}),
            format!("connected to {url}"),
        ),
        LinkEvent::Down { url, reason, retry_ms, cause } => Said::new(
            Level::Warn,
            json!({
                "event": "link", "relay": url, "reason": reason, "retry_ms": retry_ms,
                "state": if cause.is_refusal() { "refused" } else { "down" },
            }),
            format!("no connection to {url} ({reason}); dialling again"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_write_stays_on_its_line_and_cannot_act_on_a_terminal() {
        let hostile = "nice\n2026-01-01T00:00:00Z WARN  forged\u{1b}[2J";
        let said =
            || Said::new(Level::Debug, json!({"event": "problem", "message": hostile}), hostile);
        let text = Voice::new(false, Level::Debug).line(said());
        assert!(!text.contains(['\n', '\u{1b}']) && text.contains("DEBUG nice\\u{a}"), "{text}");
        let line = Voice::new(true, Level::Debug).line(said());
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["message"], &read["level"]), (&hostile.into(), &"debug".into()));
        assert!(read["time"].as_str().unwrap().ends_with('Z'), "{read}");
    }

    #[test]
    fn a_flood_of_forks_is_told_of_ten_times_a_minute() {
        let mut forks = ForksTold::default();
        let fork = Said::new(Level::Warn, json!({"event": "evidence"}), "");
        let told = (0..1_000).filter(|_| forks.may_be_told(&fork)).count();
        assert_eq!(told, FORKS_TOLD_MAX as usize);
        assert!(forks.may_be_told(&Said::new(Level::Warn, json!({"event": "link"}), "")));
    }

    #[test]
    fn that_there_is_no_room_or_again_is_told_once() {
        let low = |free| Storage::Low { free, floor: 100 };
        let stages = [Storage::Ample, low(99), low(98), Storage::Full, Storage::Ample];
        let told: Vec<(Level, Value)> = stages
            .windows(2)
            .filter_map(|pair| of_storage(pair[0], pair[1]))
            .map(|said| (said.level, said.object["state"].clone()))
            .collect();
        let expected = [(Level::Warn, "low"), (Level::Warn, "full"), (Level::Info, "ample")];
        assert_eq!(told, expected.map(|(level, state)| (level, state.into())));
    }

    #[test]
    fn as_much_is_told_as_is_wanted() {
        let voice = Voice::new(true, Level::Info);
        let told = |voice: &Voice| Level::ALL.map(|level| voice.tells(level));
        assert_eq!(told(&voice), [true, true, false]);
        voice.set_level(Level::Warn);
        assert_eq!(told(&voice), [true, false, false]);
        assert_eq!(Level::named("debug"), Some(Level::Debug));
        assert_eq!(Level::named("loud"), None);
    }
}
