//! Where lines are shown: standard output, or above the prompt of the line editor. A thread of its
//! own, so that nothing else waits for a slow terminal until many lines wait.

use std::io::{self, Write};
use std::thread::JoinHandle;

use rustyline::ExternalPrinter;
use tokio::sync::mpsc;

/// Lines that may wait to be shown.
const LINES_WAITING_MAX: usize = 4_096;

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
    lines: mpsc::Sender<String>,
}

/// The screen's thread: ends once every [`Screen`] is dropped and all is shown.
pub type Shown = JoinHandle<()>;

impl Screen {
    /// Shows on standard output.
    pub fn stdout(format: Format) -> (Self, Shown) {
        Self::start(format, |mut lines| {
            let mut out = io::BufWriter::new(io::stdout());
            while let Some(line) = lines.blocking_recv() {
                let written = writeln!(out, "{line}");
                let flushed = if lines.is_empty() { out.flush() } else { Ok(()) };
                if written.and(flushed).is_err() {
                    // The reader of the pipe has gone. The log goes on.
                    return;
                }
            }
        })
    }

    /// Shows above the prompt of a line editor.
    pub fn above_prompt(mut printer: impl ExternalPrinter + Send + 'static) -> (Self, Shown) {
        Self::start(Format::Text, move |mut lines| {
            while let Some(mut line) = lines.blocking_recv() {
                line.push('\n');
                if printer.print(line).is_err() {
                    return;
                }
            }
        })
    }

    fn start(
        format: Format,
        show: impl FnOnce(mpsc::Receiver<String>) + Send + 'static,
    ) -> (Self, Shown) {
        let (lines, inbox) = mpsc::channel(LINES_WAITING_MAX);
        (Self { format, lines }, std::thread::spawn(move || show(inbox)))
    }

    /// How events look here.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Shows a line, or several.
    pub async fn show(&self, line: String) {
        // Without a reader there is nobody to tell.
        let _unread = self.lines.send(line).await;
    }
}
