//! Where lines are shown: standard output, or above the prompt of the line editor. A thread of its
//! own, so that nothing else waits for a slow terminal until many lines wait.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustyline::ExternalPrinter;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::prompt::Prompt;

/// Texts that may wait to be shown.
const TEXTS_WAITING_MAX: usize = 64;

/// How long a text waits for others above a prompt. A line editor takes none while a line is
/// carried out, and what carries it out may be what waits here.
const ABOVE_PROMPT_MAX: Duration = Duration::from_secs(1);

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
    texts: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
    /// How long a text waits for a place, if not for ever.
    patience: Option<Duration>,
}

/// A text that waits to be shown, and its place.
#[derive(Debug)]
struct Waiting {
    text: String,
    _place: Option<OwnedSemaphorePermit>,
}

/// The screen's thread: ends once every [`Screen`] is dropped and all is shown.
pub type Shown = JoinHandle<()>;

impl Screen {
    /// Shows on standard output.
    pub fn stdout(format: Format) -> (Self, Shown) {
        Self::start(format, None, |mut texts| {
            let mut out = io::BufWriter::new(io::stdout());
            while let Some(Waiting { text, .. }) = texts.blocking_recv() {
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
        Self::start(Format::Text, Some(ABOVE_PROMPT_MAX), move |mut texts| {
            while let Some(Waiting { mut text, .. }) = texts.blocking_recv() {
                text.push('\n');
                let mut show = |text| prompt.show_above(&mut printer, text);
                // An editor that ends takes nothing more; then it is written as it is.
                if show(text.clone()).is_err() && show(text).is_err() {
                    return;
                }
            }
        })
    }

    fn start(
        format: Format,
        patience: Option<Duration>,
        show: impl FnOnce(mpsc::UnboundedReceiver<Waiting>) + Send + 'static,
    ) -> (Self, Shown) {
        let (texts, inbox) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(TEXTS_WAITING_MAX));
        let screen = Self { format, texts, places, patience };
        (screen, std::thread::spawn(move || show(inbox)))
    }

    /// How events look here.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Shows a line, or several.
    pub async fn show(&self, text: String) {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = match self.patience {
            None => place.await.ok(),
            Some(patience) => timeout(patience, place).await.ok().and_then(Result::ok),
        };
        // Without a reader there is nobody to tell.
        let _unread = self.texts.send(Waiting { text, _place: place });
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use rustyline::error::ReadlineError;

    use super::*;

    /// Takes nothing before it is told to.
    struct Busy(Receiver<()>);

    impl ExternalPrinter for Busy {
        fn print(&mut self, _: String) -> Result<(), ReadlineError> {
            // Told, or never to be told again.
            let _over = self.0.recv();
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_carries_out_a_line_does_not_wait_for_the_prompt_to_come_back() {
        let (go_on, told) = channel();
        let (screen, shown) = Screen::above_prompt(Prompt::default(), Busy(told));
        for number in 0..TEXTS_WAITING_MAX + 3 {
            let showing = screen.show(number.to_string());
            timeout(30 * ABOVE_PROMPT_MAX, showing).await.expect("it goes on");
        }
        drop((go_on, screen));
        shown.join().unwrap();
    }
}
