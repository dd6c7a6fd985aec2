//! What a demo found, as text or as one JSON object.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::cast::Cast;
use super::mallory::{Answer, CRIMES, Crime, VICTIMS};
use super::{EACH, Played};
use crate::error::NodeError;
use crate::report::RoomReport;
use crate::screen::Format;
use crate::show;

pub(super) struct Outcome {
    holdings: Vec<(&'static str, RoomReport)>,
    answers: Vec<Answer>,
    caught_up: Option<(u64, Duration)>,
    took: Duration,
}

/// One line on standard output, at once.
pub(super) fn progress(line: &str) -> Result<(), NodeError> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

impl Outcome {
    pub(super) fn gather(
        cast: &Cast,
        played: &Result<Played, NodeError>,
        took: Duration,
    ) -> Result<Self, NodeError> {
        Ok(Self {
            holdings: cast.holdings()?,
            answers: cast.mallory.answers(),
            caught_up: played.as_ref().ok().map(|played| played.caught_up),
            took,
        })
    }

    fn refused_by(&self, crime: Crime, code: &str) -> Vec<&'static str> {
        let right = |answer: &&Answer| answer.crime == crime && answer.code == code;
        self.answers.iter().filter(right).map(|answer| answer.victim).collect()
    }

    fn converged(&self) -> bool {
        let whole = |report: &RoomReport| report.status.entries == 3 * EACH;
        self.holdings.iter().all(|(_, report)| whole(report))
            && self.holdings.windows(2).all(|pair| {
                matches!(pair, [(_, a), (_, b)] if a.status.set == b.status.set && a.log == b.log)
            })
    }

    fn attacks_failed(&self) -> bool {
        CRIMES.iter().all(|(crime, code)| self.refused_by(*crime, code).len() == VICTIMS.len())
    }

    pub(super) fn print(&self, format: Format) -> Result<(), NodeError> {
        match format {
            Format::Json => progress(&self.json().to_string()),
            Format::Text => progress(&self.text()),
        }
    }

    fn json(&self) -> serde_json::Value {
        let ok = self.converged() && self.attacks_failed();
        json!({
            "schema": "crdt-node/demo/1",
            "ok": ok,
            "code": if ok { 0 } else { 7 },
            "seconds": self.took.as_secs_f64(),
            "nodes": self.holdings.iter().map(|(name, report)| json!({
                "name": name,
                "entries": report.status.entries,
                "ops": report.status.ops,
                "set": report.status.set.to_string(),
                "log": report.log,
            })).collect::<Vec<_>>(),
            "attacks": CRIMES.iter().map(|(crime, code)| json!({
                "attack": crime.name(),
                "answer": code,
                "by": self.refused_by(*crime, code),
            })).collect::<Vec<_>>(),
            "caught_up": self.caught_up.map(|(entries, took)| json!({
                "node": "carol", "entries": entries, "seconds": took.as_secs_f64(),
            })),
        })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for (crime, code) in CRIMES {
            let what = match crime {
                Crime::Replayed => "changed nothing at",
                Crime::Forged | Crime::BitFlipped | Crime::ReRoomed => "refused by",
            };
            let count = self.refused_by(crime, code).len();
            lines.push(format!("  {:<29} {what} {count} of {}", crime.name(), VICTIMS.len()));
        }
        if let Some((entries, took)) = self.caught_up {
            let seconds = took.as_secs_f64();
            lines.push(format!(
                "  carol killed and restarted    caught up {entries} entries in {seconds:.2} s, start included"
            ));
        }
        if self.converged() {
            if let Some((_, report)) = self.holdings.first() {
                lines.push(format!(
                    "  converged                     alice = bob = carol   set {}   log {}   {} entries",
                    show::short(&report.status.set),
                    report.log.get(..8).unwrap_or_default(),
                    report.status.entries
                ));
            }
            let seconds = self.took.as_secs_f64();
            lines.push(format!(
                "OK in {seconds:.1} s                      next: crdt-relayer, then crdt-node init alice && crdt-node run alice"
            ));
        } else {
            for (name, report) in &self.holdings {
                let (entries, set) = (report.status.entries, show::short(&report.status.set));
                lines.push(format!("  {name:<29} {entries} entries   set {set}"));
            }
        }
        lines.join("\n")
    }

    /// The demo's end: what went wrong on the way, else what differs.
    pub(super) fn verdict(&self, played: Result<Played, NodeError>) -> Result<(), NodeError> {
        played?;
        if !self.converged() {
            return Err(NodeError::Demo("the nodes hold different sets of ops".into()));
        }
        if !self.attacks_failed() {
            return Err(NodeError::Demo("an attack was not refused by everybody".into()));
        }
        Ok(())
    }
}
