//! Makes a failing run small: fewer faults, fewer parties, a shorter run, a smaller tape. Each step
//! is kept if the same invariant still breaks.

use super::case::{Case, Outcome};
use super::check::Invariant;
use super::options::Options;

/// A change of options.
type Change = Box<dyn Fn(&mut Options)>;

struct Shrinker {
    case: Case,
    outcome: Outcome,
    broken: Invariant,
    runs_left: usize,
}

/// The smallest failing case found within so many runs, and what comes of it.
pub fn shrink(case: &Case, runs_max: usize) -> (Case, Outcome) {
    let outcome = case.run();
    let Some(violation) = outcome.violation.clone() else { return (case.clone(), outcome) };
    let broken = violation.invariant;
    let mut shrinker = Shrinker { case: case.clone(), outcome, broken, runs_left: runs_max };
    shrinker.options();
    shrinker.cut();
    shrinker.tape();
    (shrinker.case, shrinker.outcome)
}

impl Shrinker {
    /// Takes a case if it breaks the same.
    fn try_case(&mut self, case: Case) -> bool {
        if self.runs_left == 0 || case == self.case {
            return false;
        }
        self.runs_left -= 1;
        let outcome = case.run();
        let same = outcome.violation.as_ref().is_some_and(|v| v.invariant == self.broken);
        if same {
            (self.case, self.outcome) = (case, outcome);
        }
        same
    }

    fn try_options(&mut self, change: &Change) -> bool {
        let mut case = self.case.clone();
        change(&mut case.options);
        self.try_case(case)
    }

    fn options(&mut self) {
        let options = self.case.options.clone();
        let mut changes: Vec<Change> = Vec::new();
        for fault in options.faults.into_keys() {
            changes.push(Box::new(move |options| {
                options.faults.remove(&fault);
            }));
        }
        for crime in options.crimes {
            changes.push(Box::new(move |options| {
                options.crimes.remove(&crime);
            }));
        }
        for lie in options.lies {
            changes.push(Box::new(move |options| {
                options.lies.remove(&lie);
            }));
        }
        changes.push(Box::new(|options| options.lying_relayers = 0));
        changes.push(Box::new(|options| options.liars = 0));
        changes.push(Box::new(|options| options.rooms = 1));
        changes.push(Box::new(|options| options.mesh = 0));
        changes.push(Box::new(|options| options.large = 0));
        changes.push(Box::new(|options| options.lag_ms = 0));
        changes.push(Box::new(|options| options.batch = 1));
        changes.push(Box::new(|options| options.delay_ms = 1));
        for change in &changes {
            self.try_options(change);
        }
        let fewer: [Change; 4] = [
            Box::new(|options| options.liars = options.liars.saturating_sub(1)),
            Box::new(|options| options.lying_relayers = options.lying_relayers.saturating_sub(1)),
            Box::new(|options| options.relayers = (options.relayers - 1).max(1)),
            Box::new(|options| options.authors = (options.authors - 1).max(1)),
        ];
        for change in &fewer {
            while self.try_options(change) {}
        }
        let shorter: Change = Box::new(|options| options.deliveries /= 2);
        while self.try_options(&shorter) {}
        let looking: Change = Box::new(|options| options.check_every = 1);
        self.try_options(&looking);
    }

    /// Ends the run at what is broken, so that nothing after it is looked at.
    fn cut(&mut self) {
        let mut case = self.case.clone();
        case.options.stop_after = self.outcome.violation.as_ref().map_or(0, |v| v.event + 1);
        self.try_case(case);
    }

    /// Drops ever smaller parts of the tape.
    fn tape(&mut self) {
        let mut case = self.case.clone();
        case.tape = Some(self.outcome.drawn.clone());
        if !self.try_case(case) {
            return;
        }
        let mut parts = 2;
        while self.runs_left > 0 {
            let len = self.case.tape.as_ref().map_or(0, Vec::len);
            let size = len.div_ceil(parts).max(1);
            let mut from = 0;
            let mut dropped = false;
            while from < self.case.tape.as_ref().map_or(0, Vec::len) && self.runs_left > 0 {
                let mut case = self.case.clone();
                if let Some(tape) = &mut case.tape {
                    tape.drain(from..(from + size).min(tape.len()));
                }
                if self.try_case(case) {
                    dropped = true;
                } else {
                    from += size;
                }
            }
            if size == 1 && !dropped {
                break;
            }
            parts *= 2;
        }
    }
}
