//! What the relayer prints of what happens to it.

use std::io::Write;

use crdt_core::effect::Event;
use crdt_relayer::dial::LinkEvent;
use crdt_relayer::escape::{safe, safe_json};
use serde_json::json;
use tokio::sync::mpsc;

/// Lines that may wait to be printed.
const LINES_WAITING_MAX: usize = 1_024;

/// Prints what happens, on a thread of its own: a pipe that nobody reads blocks only the reports.
pub(crate) fn print(
    mut events: mpsc::Receiver<Event>,
    mut links: mpsc::Receiver<LinkEvent>,
    mut out: impl Write + Send + 'static,
    as_json: bool,
) -> Printer {
    let (sender, mut inbox) = mpsc::channel::<String>(LINES_WAITING_MAX);
    let printer = Printer { lines: sender.clone(), as_json };
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                Some(event) = events.recv() => report(&event).filter(|_| as_json),
                Some(event) = links.recv() => Some(link_line(&event, as_json)),
                else => return,
            };
            if let Some(line) = line {
                // What nobody reads is dropped.
                drop(sender.try_send(line));
            }
        }
    });
    std::thread::spawn(move || {
        while let Some(line) = inbox.blocking_recv() {
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    printer
}

/// Prints what else there is to tell.
#[derive(Debug)]
pub(crate) struct Printer {
    lines: mpsc::Sender<String>,
    as_json: bool,
}

impl Printer {
    /// The settings were read again, or not.
    pub(crate) fn reread(&self, read: &Result<(), String>) {
        let line = match (read, self.as_json) {
            (Ok(()), true) => json!({"event": "reread", "ok": true}).to_string(),
            (Err(why), true) => {
                safe_json(&json!({"event": "reread", "ok": false, "reason": why}).to_string())
            }
            (Ok(()), false) => "settings read again; limits and certificates are in use".into(),
            (Err(why), false) => {
                format!("settings not read again, all stays as it was: {}", safe(why))
            }
        };
        // What nobody reads is dropped.
        drop(self.lines.try_send(line));
    }
}

/// An event for programs, if they are told of it.
fn report(event: &Event) -> Option<String> {
    let line = match event {
        Event::PeerReady { peer, agent, .. } => {
            json!({"event": "connect", "peer": peer.0, "agent": agent})
        }
        Event::Blamed { peer, code } => json!({"event": "refused", "peer": peer.0, "code": code}),
        Event::PeerProblem { peer, code, message } => {
            json!({"event": "problem", "peer": peer.0, "code": code, "message": message})
        }
        Event::Admitted { equivocation: Some(equivocation), .. } => json!({
            "event": "evidence",
            "id": equivocation.id().to_string(),
            "room": equivocation.room.to_string(),
            "author": equivocation.author.to_string(),
            "seq": equivocation.seq.number(),
            "a": equivocation.ops[0].to_string(),
            "b": equivocation.ops[1].to_string(),
        }),
        Event::Admitted { .. }
        | Event::SignedElsewhere { .. }
        | Event::Withheld { .. }
        | Event::Learnt { .. }
        | Event::Withdrawn { .. }
        | Event::Durable { .. }
        | Event::Refused { .. }
        | Event::Acked { .. }
        | Event::Synced { .. } => return None,
    };
    Some(safe_json(&line.to_string()))
}

/// What became of a link to another relayer.
fn link_line(event: &LinkEvent, as_json: bool) -> String {
    match (event, as_json) {
        (LinkEvent::Up { url, .. }, true) => {
            json!({"event": "link", "relay": url, "state": "connected"}).to_string()
        }
        (LinkEvent::Up { url, .. }, false) => format!("connected to {}", safe(url)),
        (LinkEvent::Down { url, reason, retry_ms, cause }, true) => {
            let line = json!({
                "event": "link", "relay": url, "state": if cause.is_refusal() { "refused" } else { "down" },
                "reason": reason, "retry_ms": retry_ms,
            });
            safe_json(&line.to_string())
        }
        (LinkEvent::Down { url, reason, .. }, false) => {
            format!("no connection to {} ({}); dialling again", safe(url), safe(reason))
        }
    }
}
