//! The terminal: a line editor with history, events above its prompt.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::Editor;
use rustyline::config::{BellStyle, Builder, Config};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, oneshot};

use crate::error::NodeError;
use crate::feed::{Current, Read};
use crate::prompt::Prompt;
use crate::screen::{Screen, Shown};
use crate::state::peek;

/// Lines kept in the history.
const HISTORY_LINES_MAX: usize = 1_000;

/// Kinds of terminals whose lines cannot be edited, as the line editor has it.
const PLAIN: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Two interrupts within this time leave the console.
const TWICE: Duration = Duration::from_secs(2);

/// The terminal as it was before the first prompt.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal back as it was: a run that ends by itself ends in the middle of a prompt.
pub fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that has gone needs nothing.
        let _gone = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
        // Pasting as one piece off; the next prompt on a line of its own.
        let _unseen = io::stdout().write_all(b"\x1b[?2004l\r\n");
    }
}

/// A line editor on the terminal.
#[derive(Debug)]
pub struct Console {
    editor: Editor<Prompt, DefaultHistory>,
    prompt: Prompt,
    history: PathBuf,
}

impl Console {
    /// Whether this program runs on a terminal whose lines can be edited.
    pub fn is_possible() -> bool {
        let kind = env::var_os("TERM").unwrap_or_default();
        let plain = PLAIN.iter().any(|plain| kind.eq_ignore_ascii_case(plain));
        io::stdin().is_terminal() && io::stdout().is_terminal() && !plain
    }

    /// Opens the terminal.
    ///
    /// # Errors
    /// It is none.
    pub fn open(history: PathBuf) -> Result<Self, NodeError> {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(io::stdin()).ok();
        let config: Config = Builder::new()
            .max_history_size(HISTORY_LINES_MAX)?
            .auto_add_history(true)
            .bell_style(BellStyle::None)
            .build();
        let mut editor = Editor::with_config(config)?;
        let prompt = Prompt::default();
        editor.set_helper(Some(prompt.clone()));
        // The first run has no history.
        let _first_run = editor.load_history(&history);
        Ok(Self { editor, prompt, history })
    }

    /// A screen above the prompt.
    ///
    /// # Errors
    /// The terminal does not allow it.
    pub fn screen(&mut self) -> Result<(Screen, Shown), NodeError> {
        let printer = self.editor.create_external_printer()?;
        Ok(Screen::above_prompt(self.prompt.clone(), printer))
    }

    /// Reads lines on a thread of its own until the user leaves.
    pub fn read(mut self, name: String, current: Current) -> mpsc::Receiver<Read> {
        let (lines, inbox) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut interrupted: Option<Instant> = None;
            loop {
                let prompt = format!("{name}@{}> ", peek(&current));
                let reading = self.prompt.comes();
                let read = self.editor.readline(&prompt);
                drop(reading);
                let typed = match read {
                    Ok(line) => pasted(&line),
                    Err(ReadlineError::Interrupted) => {
                        let before = interrupted.replace(Instant::now());
                        if before.is_none_or(|at| at.elapsed() >= TWICE) {
                            continue;
                        }
                        break;
                    }
                    Err(_) => break,
                };
                // A history that cannot be kept is no reason to stop.
                let _kept = self.editor.save_history(&self.history);
                for line in typed {
                    let (done, carried_out) = oneshot::channel();
                    if lines.blocking_send(Read::Line(Ok(line), Some(done))).is_err() {
                        return;
                    }
                    // The prompt comes back below the answer; an error only says that it is done.
                    let _done = carried_out.blocking_recv();
                }
            }
            // The run may have ended meanwhile.
            let _ended = lines.blocking_send(Read::Quit);
        });
        inbox
    }
}

/// The lines of a text that was pasted as a whole; an object may span several.
fn pasted(text: &str) -> Vec<String> {
    if text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return vec![text.to_owned()];
    }
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_lines_are_lines_and_a_pasted_object_is_one() {
        assert_eq!(pasted("one\ntwo\n"), ["one", "two"]);
        assert_eq!(pasted("{\n\"a\": 1\n}"), ["{\n\"a\": 1\n}"]);
        assert_eq!(pasted("{\"a\":1}\n{\"a\":2}"), ["{\"a\":1}", "{\"a\":2}"]);
    }
}
