//! A running node answers other commands: `status` and `peers` ask it what only a running node
//! knows, such as what is missing, whether it may sign, and how its links are; `import` hands it
//! ops. A socket in the home, which only its owner can open.
//!
//! A question is one line of words. The bytes of an `import` follow it, up to the end of that half
//! of the connection. The answer ends the connection.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crdt_core::effect::Command;
use crdt_core::id::RoomName;
use crdt_relayer::driver::Stopped;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::NodeError;
use crate::import::{self, Report};
use crate::screen::Format;
use crate::state::State;

const SOCKET: &str = "control.sock";

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Time that one question, and the answer to a short one, may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Bytes handed over at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of a question.
const QUESTION_BYTES_MAX: u64 = 16 * 1024;

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
                        tokio::spawn(async { drop(answered.await) });
                    }
                    // For want of descriptors, say: others will be freed.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        Some(Self { path, task })
    }
}

async fn answer(mut stream: tokio::net::UnixStream, state: State) -> io::Result<()> {
    let question = timeout(ANSWER_MAX, question(&mut stream)).await??;
    let (word, rest) = question.split_once(' ').unwrap_or((&question, ""));
    match word {
        "import" => take(stream, &state, rest).await,
        what => {
            let format = if rest == "json" { Format::Json } else { Format::Text };
            let answer = match what {
                "status" => state.status(format).await.unwrap_or_default(),
                "peers" => state.peers(format).await.unwrap_or_default(),
                _ => String::new(),
            };
            timeout(ANSWER_MAX, stream.write_all(answer.as_bytes())).await?
        }
    }
}

/// The first line. Nothing beyond its end is read.
async fn question(stream: &mut tokio::net::UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut stream = stream.take(QUESTION_BYTES_MAX);
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Joins the rooms named, takes the ops that follow on the connection, and answers with the report;
/// with nothing if the node stops meanwhile.
async fn take(stream: tokio::net::UnixStream, state: &State, rooms: &str) -> io::Result<()> {
    for room in rooms.split_whitespace().filter_map(|room| RoomName::parse(room).ok()) {
        state.driver.command(Command::Join(room)).await.map_err(io::Error::other)?;
    }
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let report =
        import::once(&state.driver, stream.try_clone()?).await.map_err(io::Error::other)?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(&serde_json::to_vec(&report)?)
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _removed_already = std::fs::remove_file(&self.path);
    }
}

/// Asks the node that runs in a home. `None` if none runs.
fn connect(home: &Path, question: &str) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(home.join(SOCKET)).ok()?;
    stream.write_all(question.as_bytes()).ok()?;
    Some(stream)
}

/// What the node that runs in a home answers to a word; `None` if none runs.
pub fn ask(home: &Path, what: &str, format: Format) -> Option<String> {
    let word = if format == Format::Json { "json" } else { "text" };
    let mut stream = connect(home, &format!("{what} {word}\n"))?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

/// Whether a node runs in a home and can be asked.
pub fn is_running(home: &Path) -> bool {
    UnixStream::connect(home.join(SOCKET)).is_ok()
}

/// Has the node that runs in a home join rooms and take ops. Blocks until it has.
///
/// # Errors
/// The bytes cannot be read, or the node has stopped before it had taken all.
pub fn import(home: &Path, rooms: &[RoomName], mut bytes: impl Read) -> Result<Report, NodeError> {
    let stopped = || NodeError::Stopped(Stopped);
    let rooms: Vec<&str> = rooms.iter().map(RoomName::as_str).collect();
    let question = format!("import {}\n", rooms.join(" "));
    let mut stream = connect(home, &question).ok_or_else(stopped)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = bytes.read(&mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        stream.write_all(read).map_err(|_| stopped())?;
    }
    stream.shutdown(Shutdown::Write).map_err(|_| stopped())?;
    serde_json::from_reader(stream).map_err(|_| stopped())
}
