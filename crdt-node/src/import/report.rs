//! What an import did, for people, for programs, and as an exit code.

use crdt_core::id::{RoomId, RoomName};
use crdt_core::rejection::Rejection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::NodeError;
use crate::home::DEFAULT_ROOM;
use crate::shortfall::Shortfall;
use crate::show;

/// Refused lines that are named; more are counted.
const PROBLEMS_LISTED: usize = 20;

/// Rooms that are named; more are counted.
const ROOMS_LISTED: usize = 16;

/// What became of the lines of a file. Each is new, known, parked or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Lines of the file.
    pub lines: u64,
    /// Whose op entered the log.
    pub new: u64,
    /// Whose op was in the log before.
    pub known: u64,
    /// Whose op depends on one that is neither in the log nor in the file.
    pub parked: u64,
    /// Whose op was not taken, those of rooms that are not taken part in included.
    pub refused: u64,
    /// The first refused lines that are not in `rooms`, by line.
    pub problems: Vec<Problem>,
    /// Rooms that are not taken part in.
    pub rooms: Vec<NotJoined>,
    /// Lines of such rooms.
    pub not_joined: u64,
    /// Some of the ops that are waited for.
    pub missing: Vec<String>,
}

/// A line that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its number, from 1.
    pub line: u64,
    /// Why, for programs: as in an `ack`, or `json`.
    pub code: String,
    /// Why, for people.
    pub message: String,
}

/// Ops of a room that is not taken part in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotJoined {
    /// The room's id.
    pub room: String,
    /// Its name, where it can be guessed: a file does not say it.
    pub name: Option<String>,
    /// How many lines.
    pub lines: u64,
    /// The first of them.
    pub first_line: u64,
}

impl Problem {
    /// An op that contradicts those it depends on.
    pub(super) fn rejected(line: u64, code: &str) -> Self {
        let past = [
            Rejection::Grant,
            Rejection::Chain,
            Rejection::Depth,
            Rejection::Ancestor,
            Rejection::Room,
        ];
        let known = past.into_iter().find(|rejection| rejection.code() == code);
        let message = known.map_or_else(|| "it was refused".to_owned(), |known| known.to_string());
        Self { line, code: code.to_owned(), message }
    }
}

impl Report {
    pub(super) fn refuse(&mut self, problem: Problem) {
        self.refused += 1;
        if self.problems.len() < PROBLEMS_LISTED {
            self.problems.push(problem);
        }
    }

    pub(super) fn not_joined(&mut self, room: RoomId, first_line: u64, lines: usize) {
        let (id, lines) = (room.to_string(), lines as u64);
        self.refused += lines;
        self.not_joined += lines;
        if let Some(known) = self.rooms.iter_mut().find(|known| known.room == id) {
            known.lines += lines;
        } else if self.rooms.len() < ROOMS_LISTED {
            let name = RoomName::parse(DEFAULT_ROOM).ok().filter(|name| name.id() == room);
            let name = name.map(|name| name.to_string());
            self.rooms.push(NotJoined { room: id, name, lines, first_line });
        }
    }

    /// The same file was read once more. What was known before it was read the first time stays so.
    /// Whether that reading helped.
    pub(super) fn read_again(&mut self, again: Self) -> bool {
        let helped = again.new > 0 || again.refused > self.refused;
        let named: Vec<u64> = self.problems.iter().map(|problem| problem.line).collect();
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(again.problems.into_iter().filter(|p| !named.contains(&p.line)));
        problems.sort_by_key(|problem| problem.line);
        problems.truncate(PROBLEMS_LISTED);
        let known = self.known;
        let others = known + again.parked + again.refused;
        *self = Self { known, new: again.lines.saturating_sub(others), problems, ..again };
        helped
    }

    /// What is left undone.
    ///
    /// # Errors
    /// The gravest.
    pub fn outcome(&self) -> Result<(), NodeError> {
        self.shortfall().map_or(Ok(()), |shortfall| Err(shortfall.into()))
    }

    fn shortfall(&self) -> Option<Shortfall> {
        let (lines, bad) = (self.lines, self.refused.saturating_sub(self.not_joined));
        if lines == 0 {
            Some(Shortfall::Empty)
        } else if bad > 0 {
            Some(Shortfall::Unverified { bad, lines })
        } else if self.not_joined > 0 {
            Some(Shortfall::NotJoined { lines: self.not_joined })
        } else if self.parked > 0 {
            Some(Shortfall::Parked { lines: self.parked })
        } else {
            None
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let code = self.shortfall().map_or(0, |shortfall| shortfall.exit_code());
        let mut fields = json!({"schema": "crdt-node/import/1", "ok": code == 0, "code": code});
        if let (Ok(Value::Object(own)), Some(all)) =
            (serde_json::to_value(self), fields.as_object_mut())
        {
            all.extend(own);
        }
        fields
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { lines, new, known, parked, refused, .. } = self;
        let mut text = if *new == 0 && known == lines {
            format!("{lines} ops: all known before, nothing changed")
        } else {
            format!("{lines} lines: {new} new, {known} known, {parked} parked, {refused} refused")
        };
        for Problem { line, code, message } in &self.problems {
            text = format!("{text}\n  line {line}: {} ({})", show::safe(message), show::safe(code));
        }
        let bad = refused.saturating_sub(self.not_joined);
        let unlisted = bad.saturating_sub(self.problems.len() as u64);
        if unlisted > 0 {
            text = format!("{text}\n  and {unlisted} more");
        }
        for NotJoined { room, name, lines, first_line } in &self.rooms {
            let name = name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
            text = format!(
                "{text}\n  room {room}{name}: not taken part in; {lines} lines, the first is {first_line}"
            );
        }
        if let (Some(first), true) = (self.missing.first(), *parked > 0) {
            let others = self.missing.len().saturating_sub(1);
            let others = if others > 0 { format!(" and {others} others") } else { String::new() };
            text = format!("{text}\n  missing: op {first}{others}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: u64) -> Problem {
        Problem { line, code: "json".into(), message: "not JSON".into() }
    }

    #[test]
    fn a_second_reading_counts_what_got_in_late_as_new_and_keeps_the_first_reasons() {
        let mut first = Report { lines: 10, new: 3, known: 2, parked: 4, ..Report::default() };
        first.refuse(problem(9));
        let mut second = Report { lines: 10, new: 2, known: 5, ..Report::default() };
        second.parked = 1;
        second.refuse(Problem::rejected(4, "ancestor"));
        second.refuse(Problem::rejected(9, "ancestor"));
        first.read_again(second);
        let Report { new, known, parked, refused, .. } = first;
        assert_eq!((new, known, parked, refused), (5, 2, 1, 2));
        let named: Vec<(u64, &str)> =
            first.problems.iter().map(|problem| (problem.line, problem.code.as_str())).collect();
        assert_eq!(named, [(4, "ancestor"), (9, "json")]);
    }

    #[test]
    fn the_gravest_shortfall_decides_the_exit_code() {
        let code = |report: &Report| report.json()["code"].as_u64().unwrap();
        let mut report = Report { lines: 5, new: 5, ..Report::default() };
        assert_eq!(code(&report), 0);
        report.parked = 1;
        assert_eq!(code(&report), 7);
        report.not_joined(RoomId::from_bytes([1; 32]), 3, 2);
        assert_eq!(code(&report), 10);
        report.refuse(problem(1));
        assert_eq!(code(&report), 5);
        assert_eq!(code(&Report::default()), 5, "an empty file");
    }

    #[test]
    fn many_refused_lines_and_rooms_are_counted_and_some_named() {
        let mut report = Report::default();
        for line in 1..=100 {
            report.refuse(problem(line));
            report.not_joined(RoomId::from_bytes([u8::try_from(line).unwrap(); 32]), line, 1);
        }
        assert_eq!((report.refused, report.not_joined), (200, 100));
        assert_eq!((report.problems.len(), report.rooms.len()), (PROBLEMS_LISTED, ROOMS_LISTED));
        assert!(report.text().contains("and 80 more"), "{}", report.text());
    }
}
