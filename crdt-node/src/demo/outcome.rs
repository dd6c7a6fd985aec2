//! What a demo found, as text or as one JSON object.

use std::io::Write;
use std::time::Duration;

use crdt_core::evidence::Equivocation;
use serde_json::json;

use super::cast::Cast;
use super::mallory::{Answer, CRIMES, Crime, VICTIMS};
use super::{EACH, FORKED, Played};
use crate::error::NodeError;
use crate::evidence;
use crate::report::RoomReport;
use crate::screen::Format;
use crate::show;

pub(super) struct Outcome {
    holdings: Vec<(&'static str, RoomReport)>,
    answers: Vec<Answer>,
    caught_up: Option<(u64, Duration)>,
    took: Duration,
    /// What went wrong, if anything did.
    failure: Option<String>,
}

/// One line on standard output, at once.
pub(super) fn progress(line: &str) -> Result<(), NodeError> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

impl Outcome {
    pub(super) async fn gather(
        cast: &Cast,
        played: Result<Played, NodeError>,
        took: Duration,
    ) -> Result<Self, NodeError> {
        let (caught_up, failure) = match played {
            Ok(played) => (Some(played.caught_up), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (holdings, answers) = (cast.holdings().await?, cast.mallory.answers());
        let mut outcome = Self { holdings, answers, caught_up, took, failure };
        if outcome.failure.is_none() && !outcome.converged() {
            outcome.failure = Some("not everybody holds the same ops".into());
        }
        if outcome.failure.is_none() && outcome.proof().is_none() {
            outcome.failure = Some("not everybody has the proof against mallory".into());
        }
        if outcome.failure.is_none() && !outcome.attacks_failed() {
            outcome.failure = Some("an attack was not refused by everybody".into());
        }
        Ok(outcome)
    }

    fn refused_by(&self, crime: Crime, code: &str) -> Vec<&'static str> {
        let right = |answer: &&Answer| answer.crime == crime && answer.code == code;
        self.answers.iter().filter(right).map(|answer| answer.victim).collect()
    }

    fn converged(&self) -> bool {
        let whole = |report: &RoomReport| report.status.entries == 3 * EACH + FORKED;
        self.holdings.iter().all(|(_, report)| whole(report))
            && self.holdings.windows(2).all(|pair| {
                matches!(pair, [(_, a), (_, b)] if a.status.set == b.status.set && a.log == b.log)
            })
    }

    /// The proof against mallory, if everybody has it and nobody else is accused.
    fn proof(&self) -> Option<Equivocation> {
        let (_, first) = self.holdings.first()?;
        let same = |report: &RoomReport| {
            report.evidence == first.evidence && report.status.equivocations == 1
        };
        first.evidence.filter(|_| self.holdings.iter().all(|(_, report)| same(report)))
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
        json!({
            "schema": "crdt-node/demo/1",
            "ok": self.failure.is_none(),
            "code": if self.failure.is_none() { 0 } else { 7 },
            "failure": self.failure,
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
            "evidence": self.proof().map(|proof| proof.id().to_string()),
            "caught_up": self.caught_up.map(|(entries, took)| json!({
                "node": "carol", "entries": entries, "seconds": took.as_secs_f64(),
            })),
        })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for (crime, code) in CRIMES {
            let what = match crime {
                Crime::Forked => continue,
                Crime::Replayed => "changed nothing at",
                Crime::Forged | Crime::BitFlipped | Crime::ReRoomed => "refused by",
            };
            let count = self.refused_by(crime, code).len();
            lines.push(format!("  {:<29} {what} {count} of {}", crime.name(), VICTIMS.len()));
        }
        if let Some(proof) = self.proof() {
            let (seq, name) = (proof.seq.number(), evidence::name(proof.id()));
            let all = self.holdings.len();
            lines.push(format!(
                "  equivocation                  proved by {all} of {all}: mallory's #{seq}, twice   {name}"
            ));
        }
        if let Some((entries, took)) = self.caught_up {
            let seconds = took.as_secs_f64();
            lines.push(format!(
                "  carol killed and restarted    caught up {entries} entries in {seconds:.2} s, start included"
            ));
        }
        if self.converged()
            && let Some((_, report)) = self.holdings.first()
        {
            lines.push(format!(
                "  converged                     relayer = alice = bob = carol   set {}   log {}   {} entries",
                show::short(&report.status.set),
                report.log.get(..8).unwrap_or_default(),
                report.status.entries
            ));
        } else {
            for (name, report) in &self.holdings {
                let (entries, set) = (report.status.entries, show::short(&report.status.set));
                lines.push(format!("  {name:<29} {entries} entries   set {set}"));
            }
        }
        if self.failure.is_none() {
            let seconds = self.took.as_secs_f64();
            lines.push(format!(
                "OK in {seconds:.1} s                      next: crdt-relayer, then crdt-node init alice && crdt-node run alice"
            ));
        }
        lines.join("\n")
    }

    /// The demo's end, as it was printed.
    pub(super) fn verdict(self) -> Result<(), NodeError> {
        self.failure.map_or(Ok(()), |failure| Err(NodeError::DemoFailed(failure)))
    }
}
