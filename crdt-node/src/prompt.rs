//! Whose turn it is on a terminal: the line editor's or that of lines above its prompt.
//!
//! The editor shows lines above a prompt that it has drawn, and writes them as they are while there
//! is none. A line written in between, while the prompt is being drawn, would stand in the prompt,
//! which would not come back before a key is pressed; one written as a typed line ends would stand
//! behind that: such a line waits. (After control-C, -D and -Z the editor tells nobody.)

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, ExternalPrinter, Helper};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// There is none. Whoever writes holds the state, so that none comes meanwhile.
    #[default]
    Away,
    /// The editor is about to draw it, or to take it away.
    Changing,
    /// The editor shows lines above it.
    Drawn,
}

/// The prompt of a line editor. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Prompt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A prompt while its editor reads a line.
#[derive(Debug)]
pub struct Reading(Prompt);

impl Prompt {
    /// The editor is told to read a line, until what this returns is dropped.
    #[must_use]
    pub fn comes(&self) -> Reading {
        self.becomes(State::Changing);
        Reading(self.clone())
    }

    /// Shows a text above the prompt, or at its place if there is none.
    ///
    /// # Errors
    /// The terminal's.
    pub fn show_above(
        &self,
        printer: &mut impl ExternalPrinter,
        text: String,
    ) -> Result<(), ReadlineError> {
        let state = self.settled();
        if *state == State::Drawn {
            // The editor takes it while it reads, and is never to wait for this one meanwhile.
            drop(state);
        }
        printer.print(text)
    }

    /// Waits until no prompt comes or goes.
    fn settled(&self) -> MutexGuard<'_, State> {
        let settled = self.0.changed.wait_while(self.state(), |state| *state == State::Changing);
        settled.unwrap_or_else(PoisonError::into_inner)
    }

    fn becomes(&self, new: State) {
        *self.state() = new;
        self.0.changed.notify_all();
    }

    /// A thread that panicked in between leaves it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.becomes(State::Away);
    }
}

impl Hinter for Prompt {
    type Hint = String;

    /// The editor asks whenever it draws the prompt, and from then on takes lines to show above it.
    fn hint(&self, _: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.becomes(State::Drawn);
        None
    }
}

impl Completer for Prompt {
    type Candidate = String;
}

impl Highlighter for Prompt {}

impl Validator for Prompt {
    /// The editor asks when a line is finished, before it takes the prompt away.
    fn validate(&self, _: &mut ValidationContext<'_>) -> Result<ValidationResult, ReadlineError> {
        self.becomes(State::Changing);
        Ok(ValidationResult::Valid(None))
    }
}

impl Helper for Prompt {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
    use std::thread;
    use std::time::Duration;

    use rustyline::history::DefaultHistory;

    use super::*;

    const TO_GO_WRONG: Duration = Duration::from_millis(50);

    /// Tells the prompt's state when something is shown: `None` while whoever writes holds it.
    struct Noted(Prompt, Sender<Option<State>>);

    impl ExternalPrinter for Noted {
        fn print(&mut self, _: String) -> Result<(), ReadlineError> {
            let state = self.0.0.state.try_lock().ok().map(|state| *state);
            self.1.send(state).unwrap();
            Ok(())
        }
    }

    fn draw(prompt: &Prompt) {
        assert_eq!(prompt.hint("", 0, &Context::new(&DefaultHistory::new())), None);
    }

    #[test]
    fn a_line_is_written_without_a_prompt_or_above_one_and_never_while_one_is_drawn() {
        let prompt = Prompt::default();
        let (shown, seen) = channel();
        let mut printer = Noted(prompt.clone(), shown);
        let mut show = || prompt.show_above(&mut printer, "line".into()).unwrap();
        show();
        assert_eq!(seen.recv(), Ok(None), "no prompt can come meanwhile");
        let reading = prompt.comes();
        draw(&prompt);
        show();
        assert_eq!(seen.recv(), Ok(Some(State::Drawn)), "the editor need not wait for it");
        drop(reading);
        show();
        assert_eq!(seen.recv(), Ok(None));
    }

    #[test]
    fn a_line_that_comes_with_the_prompt_waits_until_it_is_drawn_or_has_gone() {
        for drawn in [true, false] {
            let prompt = Prompt::default();
            let (shown, seen) = channel();
            let reading = prompt.comes();
            let mut printer = Noted(prompt.clone(), shown);
            let (begun, begins) = channel();
            let of_screen = prompt.clone();
            let showing = thread::spawn(move || {
                begun.send(()).unwrap();
                of_screen.show_above(&mut printer, "line".into()).unwrap();
            });
            begins.recv().unwrap();
            // However long it has to go wrong, it does not.
            assert_eq!(seen.recv_timeout(TO_GO_WRONG), Err(RecvTimeoutError::Timeout));
            if drawn {
                draw(&prompt);
                assert_eq!(seen.recv(), Ok(Some(State::Drawn)));
                drop(reading);
            } else {
                drop(reading);
                assert_eq!(seen.recv(), Ok(None));
            }
            showing.join().unwrap();
        }
    }
}
