//! Where lines are shown: standard output, or above the prompt of the line editor. A thread of its
//! own, so that nothing else waits for a slow terminal until many lines wait.

use std::io::{self, Write};
use std::thread::JoinHandle;

use rustyline::ExternalPrinter;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::prompt::Prompt;

/// Texts that may wait to be shown.
const TEXTS_WAITING_MAX: usize = 64;

/// How events look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// One line of text.
    Text,
}

/// Takes lines to show. Clones show on the same screen.
#[derive(Clone, Debug)]
pub struct Screen {
    format: Format,
    texts: mpsc::Sender<String>,
}

/// The screen's thread: ends once every [`Screen`] is dropped and all is shown.
pub type Shown = JoinHandle<()>;

impl Screen {
    /// Shows on standard output.
    pub fn stdout(format: Format) -> (Self, Shown) {
        Self::start(format, |mut texts| {
            let mut out = io::BufWriter::new(io::stdout());
            while let Some(text) = texts.blocking_recv() {
                let written = writeln!(out, "{text}");
                let flushed = if texts.is_empty() { out.flush() } else { Ok(()) };
                if written.and(flushed).is_err() {
                    // The reader of the pipe has gone. The log goes on.
                    return;
                }
            }
        })
    }

    /// Shows above the prompt of a line editor.
    pub fn above_prompt(
        prompt: Prompt,
        mut printer: impl ExternalPrinter + Send + 'static,
    ) -> (Self, Shown) {
        Self::start(Format::Text, move |mut texts| {
            while let Some(mut text) = texts.blocking_recv() {
                text.push('\n');
                if prompt.show_above(&mut printer, text).is_err() {
                    return;
                }
            }
        })
    }

    fn start(
        format: Format,
        show: impl FnOnce(mpsc::Receiver<String>) + Send + 'static,
    ) -> (Self, Shown) {
        let (texts, inbox) = mpsc::channel(TEXTS_WAITING_MAX);
        (Self { format, texts }, std::thread::spawn(move || show(inbox)))
    }

    /// How events look here.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Shows a line, or several.
    pub async fn show(&self, text: String) {
        // Without a reader there is nobody to tell.
        let _unread = self.texts.send(text).await;
    }
}

/// Lines that are shown together.
#[derive(Debug)]
pub struct Lines {
    format: Format,
    text: String,
}

impl Lines {
    /// None yet.
    pub fn of(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// How they look.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a line that is not empty.
    pub fn add(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    /// Adds an object for programs or a line for people.
    pub fn tell(&mut self, fields: &Value, text: impl FnOnce() -> String) {
        let line = match self.format {
            Format::Json => fields.to_string(),
            Format::Text => text(),
        };
        self.add(&line);
    }

    /// Adds an object for programs.
    pub fn only_json(&mut self, fields: impl FnOnce() -> Value) {
        if self.format == Format::Json {
            self.add(&fields().to_string());
        }
    }

    /// All of them; none are left.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}
