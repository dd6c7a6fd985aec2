//! The terminal: a line editor with history, events above its prompt.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustyline::DefaultEditor;
use rustyline::config::{Builder, Config};
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;

use crate::error::NodeError;
use crate::feed::{Current, Read, peek};
use crate::screen::{Screen, Shown};

/// Lines kept in the history.
const HISTORY_LINES_MAX: usize = 1_000;

/// Two interrupts within this time leave the console.
const TWICE: Duration = Duration::from_secs(2);

/// A line editor on the terminal.
#[derive(Debug)]
pub struct Console {
    editor: DefaultEditor,
    history: PathBuf,
}

impl Console {
    /// Opens the terminal.
    ///
    /// # Errors
    /// It is none.
    pub fn open(history: PathBuf) -> Result<Self, NodeError> {
        let config: Config =
            Builder::new().max_history_size(HISTORY_LINES_MAX)?.auto_add_history(true).build();
        let mut editor = DefaultEditor::with_config(config)?;
        // The first run has no history.
        let _first_run = editor.load_history(&history);
        Ok(Self { editor, history })
    }

    /// A screen above the prompt.
    ///
    /// # Errors
    /// The terminal does not allow it.
    pub fn screen(&mut self) -> Result<(Screen, Shown), NodeError> {
        Ok(Screen::above_prompt(self.editor.create_external_printer()?))
    }

    /// Reads lines on a thread of its own until the user leaves.
    pub fn read(mut self, name: String, current: Current) -> mpsc::Receiver<Read> {
        let (lines, inbox) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut interrupted: Option<Instant> = None;
            loop {
                let prompt = format!("{name}@{}> ", peek(&current));
                let read = match self.editor.readline(&prompt) {
                    Ok(line) => Read::Line(Ok(line)),
                    Err(ReadlineError::Interrupted) => {
                        if interrupted
                            .replace(Instant::now())
                            .is_some_and(|at| at.elapsed() < TWICE)
                        {
                            Read::Quit
                        } else {
                            continue;
                        }
                    }
                    Err(_) => Read::Quit,
                };
                // A history that cannot be kept is no reason to stop.
                let _kept = self.editor.save_history(&self.history);
                let leave = matches!(read, Read::Quit);
                if lines.blocking_send(read).is_err() || leave {
                    return;
                }
            }
        });
        inbox
    }
}
