//! A running node answers other commands: `status` and `peers` ask it what only a running node knows,
//! such as what is missing, whether it may sign, and how its links are. A socket in the home, which only its owner can open.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::screen::Format;
use crate::state::State;

const SOCKET: &str = "control.sock";

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Longest question in bytes.
const QUESTION_BYTES_MAX: u64 = 64;

/// Time that one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Answers questions until it is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Listens in a home whose lock is held. `None` where that cannot be done, as in a home with a
    /// very long path: then `status` reads the store.
    pub(crate) fn listen(home: &Path, state: State) -> Option<Self> {
        let path = home.join(SOCKET);
        // What a process that was killed has left behind.
        let _nothing_left = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).ok()?;
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let answered = answer(stream, state.clone());
                        // Whoever asked may have gone.
                        tokio::spawn(async { drop(timeout(ANSWER_MAX, answered).await) });
                    }
                    // For want of descriptors, say: others will be freed.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        Some(Self { path, task })
    }
}

/// Answers one line: a word and a format.
async fn answer(stream: tokio::net::UnixStream, state: State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut question = String::new();
    (&mut stream).take(QUESTION_BYTES_MAX).read_line(&mut question).await?;
    let (what, format) = question.trim_end().split_once(' ').unwrap_or_default();
    let format = if format == "json" { Format::Json } else { Format::Text };
    let answer = match what {
        "status" => state.status(format).await.unwrap_or_default(),
        "peers" => state.peers(format),
        _ => String::new(),
    };
    stream.write_all(answer.as_bytes()).await
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _removed_already = std::fs::remove_file(&self.path);
    }
}

/// What the node that runs in a home answers to a word; `None` if none runs.
pub fn ask(home: &Path, what: &str, format: Format) -> Option<String> {
    let mut stream = UnixStream::connect(home.join(SOCKET)).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    let format = if format == Format::Json { "json" } else { "text" };
    writeln!(stream, "{what} {format}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}
