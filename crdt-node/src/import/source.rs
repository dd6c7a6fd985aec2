//! Where the ops of an import are read from, and how far that is, for people who wait.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::NodeError;

/// Time until people are told how far a reading is, and between two such lines.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A file, or standard input.
#[derive(Clone, Debug)]
pub struct Source {
    /// `None` for standard input.
    path: Option<PathBuf>,
    /// Whether people wait for it at a terminal.
    shown: bool,
}

/// The bytes of a source.
#[derive(Debug)]
pub struct Bytes {
    input: Input,
    len: Option<u64>,
    read: u64,
    /// When people are told next, if they are; and whether they were.
    tell_at: Option<Instant>,
    told: bool,
}

#[derive(Debug)]
enum Input {
    File(File),
    Stdin(io::Stdin),
}

impl Source {
    /// What is meant by a command's argument; `-` is standard input. While it is read, a person at
    /// a terminal is shown how far that is.
    pub fn of(argument: PathBuf) -> Self {
        let path = Some(argument).filter(|path| path.as_os_str() != "-");
        Self { path, shown: io::stderr().is_terminal() }
    }

    /// A file that is read without a word.
    pub fn file(path: PathBuf) -> Self {
        Self { path: Some(path), shown: false }
    }

    /// Whether it can be read again from its start.
    pub fn is_repeatable(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.is_file())
    }

    /// Its bytes from the start.
    ///
    /// # Errors
    /// [`NodeError::Input`].
    pub fn open(&self) -> Result<Bytes, NodeError> {
        let (input, len) = match &self.path {
            None => (Input::Stdin(io::stdin()), None),
            Some(path) => {
                let failed = |source| NodeError::Input { path: path.clone(), source };
                let file = File::open(path).map_err(failed)?;
                let about = file.metadata().map_err(failed)?;
                if about.is_dir() {
                    return Err(failed(io::ErrorKind::IsADirectory.into()));
                }
                (Input::File(file), about.is_file().then_some(about.len()))
            }
        };
        let tell_at = self.shown.then(|| Instant::now() + TELL_EVERY);
        Ok(Bytes { input, len, read: 0, tell_at, told: false })
    }

    /// Names it in an error of reading.
    pub fn named(&self, error: NodeError) -> NodeError {
        match (error, &self.path) {
            (NodeError::Stdio(source), Some(path)) => {
                NodeError::Input { path: path.clone(), source }
            }
            (error, _) => error,
        }
    }
}

impl Bytes {
    /// Tells a person how far it is, not too often, and wipes that away at the end.
    fn tell(&mut self, ended: bool) {
        let Some(at) = self.tell_at else { return };
        let mut errors = io::stderr();
        if ended {
            let wiped = if self.told { write!(errors, "\r\u{1b}[K") } else { Ok(()) };
            // A terminal that has gone is not missed.
            drop(wiped);
        } else if Instant::now() >= at {
            (self.tell_at, self.told) = (Some(Instant::now() + TELL_EVERY), true);
            let (read, unit) = (self.read / 1_000, "kB");
            let percent = self.len.and_then(|len| (self.read * 100).checked_div(len));
            let of_all = percent.map(|percent| format!("  {percent} %")).unwrap_or_default();
            drop(write!(errors, "\r{read} {unit} read{of_all}"));
        }
        drop(errors.flush());
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.input {
            Input::File(file) => file.read(buffer),
            Input::Stdin(stdin) => stdin.read(buffer),
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.read += count as u64;
        self.tell(count == 0);
        read
    }
}
