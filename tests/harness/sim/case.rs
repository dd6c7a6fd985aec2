//! One run from outside: what it is given, what came of it.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::check::{Invariant, Violation};
use super::options::Options;
use super::signatures;
use super::tape::Tape;
use super::world::{Counts, World};

/// What a run is given: it decides everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The seed its tape is drawn from, unless there is a saved one.
    pub seed: u64,
    /// Who takes part, what goes wrong.
    pub options: Options,
    /// A saved tape.
    pub tape: Option<Vec<u32>>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// One number for all that happened.
    pub trace: u64,
    /// What was counted.
    pub counts: Counts,
    /// What was drawn from the tape.
    pub drawn: Vec<u32>,
    /// The timeline, if it was wanted.
    pub timeline: Vec<String>,
}

impl Case {
    /// The run of a seed.
    pub fn of_seed(seed: u64, deliveries: u64) -> Self {
        Self { seed, options: Options::of_seed(seed, deliveries), tape: None }
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        self.run_saying(false)
    }

    /// Runs it and tells all that happens.
    pub fn run_with_timeline(&self) -> Outcome {
        self.run_saying(true)
    }

    fn run_saying(&self, in_words: bool) -> Outcome {
        let tape = match &self.tape {
            Some(numbers) => Tape::saved(numbers.clone()),
            None => Tape::of_seed(self.seed, 2),
        };
        let mut world =
            World::new(self.options.clone(), tape, signatures::of_seed(self.seed), in_words);
        let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
        let violation = match ran {
            Ok(result) => result.err(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let text = text.unwrap_or("a panic without a text").to_owned();
                Some(world.broken(Invariant::NoPanic, text))
            }
        };
        let (trace, timeline) = world.trace.finish();
        let drawn = world.tape.drawn().to_vec();
        Outcome { violation, trace, counts: world.counts, drawn, timeline }
    }

    /// As a text to save.
    pub fn to_text(&self) -> String {
        let mut text = format!("seed {}\noptions {}\n", self.seed, self.options);
        if let Some(tape) = &self.tape {
            let numbers: Vec<String> = tape.iter().map(ToString::to_string).collect();
            // Writing to a string cannot fail.
            writeln!(text, "tape {}", numbers.join(" ")).ok();
        }
        text
    }

    /// Reads what [`Case::to_text`] wrote. Lines that begin with `#` are for people.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut case = Self::of_seed(0, 0);
        let mut options = None;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "seed" => case.seed = rest.parse().map_err(|_| format!("not a seed: {rest}"))?,
                "options" => options = Some(rest.parse()?),
                "tape" => {
                    let numbers: Result<_, _> = rest.split_whitespace().map(str::parse).collect();
                    case.tape = Some(numbers.map_err(|_| "not a tape".to_owned())?);
                }
                _ => return Err(format!("not a line of a case: {line}")),
            }
        }
        case.options = options.ok_or("a case has options")?;
        Ok(case)
    }
}
