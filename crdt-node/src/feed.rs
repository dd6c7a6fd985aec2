//! Carries out lines: transactions go to the replica, commands are answered on the screen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crdt_core::effect::{Command, Token};
use crdt_core::id::RoomName;
use crdt_relayer::driver::Stopped;
use crdt_relayer::store::Store;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::error::NodeError;
use crate::evidence;
use crate::import::{self, Readings, Source};
use crate::line::{self, Line, LineError};
use crate::links::Kind;
use crate::report;
use crate::routes::{Change, Routes};
use crate::screen::{Format, Screen};
use crate::show;
use crate::state::{State, peek};
use crate::verify;

/// What a thread that reads lines has read.
#[derive(Debug)]
pub enum Read {
    /// A line; whoever waits for it is told when it was carried out.
    Line(Result<String, LineError>, Option<oneshot::Sender<()>>),
    /// There are no more.
    End,
    /// The user wants to leave.
    Quit,
}

/// What the run must know of it.
#[derive(Debug)]
pub enum Fed {
    /// So many transactions were handed to the replica.
    Submitted(u64),
    /// A line was refused.
    Unreadable,
    /// A room was joined.
    Joined(RoomName),
    /// An address is dialled no more.
    Removed(String),
    /// There are no more lines.
    End,
    /// The user wants to leave.
    Quit,
}

/// The room lines are written to, also shown in the prompt.
pub type Current = Arc<Mutex<RoomName>>;

/// Entries that `/log` shows.
const LOG_LINES: usize = 20;

const HELP: &str = "\
pay TO AMOUNT [MEMO]   record a payment
{\"any\":\"object\"}       record a JSON object as it stands
any other text         record a note
/status                rooms, ops, digests, links
/log [N]               the last N entries (20) of this room, in log order
/join ROOM             take part in a room and write to it
/rooms                 the rooms taken part in
/peers                 the relays and peers, and whether they are connected
/relay, /peer          the same of one kind; with add URL or remove URL: in this run
/evidence [ID [FILE]]  proofs against liars: all, one, or one written to a file
/verify                check every hash, signature and rule again
/export FILE           write this room's ops to a file
/import FILE           take the ops of an exported file, each checked
/offline, /online      disconnect, connect again; writing goes on either way
/quit                  leave";

const COMMANDS: [&str; 15] = [
    "help", "status", "log", "join", "rooms", "peers", "relay", "peer", "evidence", "verify",
    "export", "import", "offline", "online", "quit",
];

/// Carries out lines in order.
#[derive(Debug)]
pub struct Feeder {
    /// What can be asked of the node.
    pub state: State,
    /// Where answers go.
    pub screen: Screen,
    /// Told what was done.
    pub fed: mpsc::Sender<Fed>,
    /// The store, read beside the replica.
    pub store: PathBuf,
    /// Where lines go.
    pub current: Current,
    /// Where the node dials.
    pub routes: Routes,
    /// Lines read so far.
    pub line: u64,
    /// Transactions handed to the replica, of which the run does not know yet.
    pub submitted: u64,
}

impl Feeder {
    /// Carries out lines until there are no more.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn run(mut self, mut lines: mpsc::Receiver<Read>) -> Result<(), NodeError> {
        while let Some(read) = self.next(&mut lines).await {
            match read {
                Read::Line(line, waiting) => {
                    self.line += 1;
                    let parsed = line.and_then(|line| line::parse(&line));
                    let leave = self.line(parsed).await?;
                    drop(waiting);
                    if leave {
                        self.tell(Fed::Quit).await;
                        return Ok(());
                    }
                }
                Read::End => self.tell(Fed::End).await,
                Read::Quit => {
                    self.tell(Fed::Quit).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits for what is read next. Until something is there, the run is told what was done.
    async fn next(&mut self, lines: &mut mpsc::Receiver<Read>) -> Option<Read> {
        tokio::select! {
            biased;
            read = lines.recv() => return read,
            () = std::future::ready(()) => {}
        }
        self.tell_submitted().await;
        lines.recv().await
    }

    async fn tell_submitted(&mut self) {
        let submitted = std::mem::take(&mut self.submitted);
        if submitted > 0 {
            // The run may have ended meanwhile.
            let _ended = self.fed.send(Fed::Submitted(submitted)).await;
        }
    }

    async fn tell(&mut self, fed: Fed) {
        self.tell_submitted().await;
        let _ended = self.fed.send(fed).await;
    }

    /// Carries out one line; `true` if it was the wish to leave.
    async fn line(&mut self, line: Result<Line, LineError>) -> Result<bool, NodeError> {
        match line {
            Ok(Line::Empty) => {}
            Ok(Line::Entry(entry)) => {
                let room = peek(&self.current).id();
                self.submitted += 1;
                let token = Token(self.line);
                self.state.driver.command(Command::Append { room, token, entry }).await?;
            }
            Ok(Line::Command(word, rest)) => {
                let leave = matches!(word.as_str(), "quit" | "exit");
                if !leave && let Err(error) = self.command(&word, &rest).await {
                    let message = format!("Error: {error}\nHint: {}", error.hint());
                    self.answer(
                        &word,
                        &message,
                        json!({"ok": false, "message": error.to_string()}),
                    )
                    .await;
                }
                return Ok(leave);
            }
            Err(error) => {
                self.tell(Fed::Unreadable).await;
                self.screen
                    .show(refusal(self.screen.format(), self.line, error.code(), &error))
                    .await;
            }
        }
        Ok(false)
    }

    /// Shows what a command found out: text for people, one object for programs.
    async fn answer(&self, command: &str, text: &str, mut fields: serde_json::Value) {
        let line = match self.screen.format() {
            Format::Text => text.to_owned(),
            Format::Json => {
                fields["event"] = json!("answer");
                fields["command"] = json!(command);
                show::safe_json(&fields.to_string())
            }
        };
        self.screen.show(line).await;
    }

    async fn command(&mut self, word: &str, rest: &str) -> Result<(), NodeError> {
        match word {
            "help" => self.answer(word, HELP, json!({"help": HELP})).await,
            "status" => {
                let reports = self.state.rooms().await?;
                let links = self.state.links().await?;
                let text = self.state.text(&reports, &links);
                self.answer(word, &text, self.state.json(&reports, &links)).await;
            }
            "rooms" => {
                let names: Vec<String> =
                    self.state.rooms().await?.iter().map(|r| r.name.clone()).collect();
                self.answer(word, &names.join("\n"), json!({"rooms": names})).await;
            }
            "peers" => {
                let links = self.state.links().await?;
                self.answer(word, &links.text(None), json!({"links": links.json(None)})).await;
            }
            "relay" => self.route(Kind::Relay, rest).await?,
            "peer" => self.route(Kind::Peer, rest).await?,
            "join" => self.join(word, rest).await?,
            "log" => self.log(word, rest).await?,
            "verify" => {
                let store = self.store.clone();
                let verdict = tokio::task::spawn_blocking(move || verify::store(&store)).await;
                let verdict =
                    verdict.unwrap_or(Err(NodeError::Stopped(crdt_relayer::driver::Stopped)))?;
                self.answer(word, &verdict.text(), verdict.json(verify::Forks::Reported)).await;
            }
            "evidence" => self.evidence(word, rest).await?,
            "export" => self.export(word, rest).await?,
            "import" => self.import(word, rest).await?,
            "offline" | "online" => {
                self.routes.set_online(word == "online");
                self.answer(word, &format!("{word} from now on"), json!({"ok": true})).await;
            }
            unknown => {
                let near = COMMANDS.iter().find(|known| is_near(known, unknown));
                let hint =
                    near.map_or("/help lists them".into(), |near| format!("did you mean /{near}?"));
                let text =
                    format!("Error: unknown command \"/{}\"\nHint: {hint}", show::safe(unknown));
                self.answer(unknown, &text, json!({"ok": false, "message": text})).await;
            }
        }
        Ok(())
    }

    /// Lists, adds or removes a route.
    async fn route(&mut self, kind: Kind, rest: &str) -> Result<(), NodeError> {
        let word = kind.word();
        let (text, fields) = match Change::parse(kind, rest)? {
            Change::List => {
                let links = self.state.links().await?;
                (links.text(Some(kind)), json!({"links": links.json(Some(kind))}))
            }
            Change::Add(url) => {
                self.routes.add(kind, &url)?;
                (
                    format!("dialling {url} in this run; {word}s in config.toml keeps it"),
                    json!({"ok": true}),
                )
            }
            Change::Remove(url) => {
                self.routes.remove(kind, &url)?;
                let text = format!(
                    "{url} is dialled no more in this run; {word}s in config.toml is as it was"
                );
                self.tell(Fed::Removed(url)).await;
                (text, json!({"ok": true}))
            }
        };
        self.answer(word, &text, fields).await;
        Ok(())
    }

    async fn join(&mut self, word: &str, rest: &str) -> Result<(), NodeError> {
        let name = RoomName::parse(rest)?;
        self.state.driver.command(Command::Join(name.clone())).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = name.clone();
        self.tell(Fed::Joined(name.clone())).await;
        let text = format!("lines go to {name} from now on");
        self.answer(word, &text, json!({"ok": true, "room": name.as_str()})).await;
        Ok(())
    }

    async fn log(&mut self, word: &str, rest: &str) -> Result<(), NodeError> {
        let last = if rest.is_empty() {
            LOG_LINES
        } else {
            rest.parse().map_err(|_| NodeError::Usage("/log takes a number".into()))?
        };
        let (store, room) = (self.store.clone(), peek(&self.current));
        let (format, own) = (self.screen.format(), self.state.author);
        let lines = blocking(move || {
            let mut out = Vec::new();
            let wanted = report::Wanted { last: Some(last), author: None };
            report::log(&Store::open_read(&store)?, room.id(), wanted, format, own, &mut out)?;
            Ok(String::from_utf8_lossy(&out).trim_end().to_owned())
        })
        .await?;
        let entries: Vec<serde_json::Value> = match format {
            Format::Json => {
                lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
            }
            Format::Text => Vec::new(),
        };
        self.answer(word, &lines, json!({"entries": entries})).await;
        Ok(())
    }

    /// Lists all evidence, shows one piece of it, or writes that to a file.
    async fn evidence(&self, word: &str, rest: &str) -> Result<(), NodeError> {
        let (asked, file) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if asked.is_empty() {
            let found = self.state.driver.query(evidence::all).await?;
            let text = evidence::list_text(&found);
            self.answer(word, &text, evidence::list_json(&found)).await;
            return Ok(());
        }
        let (asked, store) = (asked.to_owned(), self.store.clone());
        let proof = blocking(move || evidence::proof(&Store::open_read(&store)?, &asked)).await?;
        let file = file.trim();
        if file.is_empty() {
            self.answer(word, &proof.text(), proof.json()).await;
        } else {
            proof.export(Path::new(file))?;
            let text = format!("written; anyone can check it: crdt-node verify {file}");
            self.answer(word, &text, json!({"ok": true, "file": file})).await;
        }
        Ok(())
    }

    async fn export(&mut self, word: &str, rest: &str) -> Result<(), NodeError> {
        if rest.is_empty() {
            return Err(NodeError::Usage("/export takes a file name".into()));
        }
        let (path, store, room) = (PathBuf::from(rest), self.store.clone(), peek(&self.current));
        let ops = blocking(move || report::export_to(&Store::open_read(&store)?, room.id(), &path))
            .await?;
        self.answer(word, &format!("{ops} ops written"), json!({"ok": true, "ops": ops})).await;
        Ok(())
    }
}

impl Feeder {
    async fn import(&self, word: &str, rest: &str) -> Result<(), NodeError> {
        if rest.is_empty() {
            return Err(NodeError::Usage("/import takes a file name".into()));
        }
        let mut readings = Readings::of(Source::file(rest.into()));
        while let Some(bytes) = readings.open()? {
            readings.took(import::once(&self.state.driver, bytes).await)?;
        }
        let report = readings.report();
        let hint = report.outcome().err().map(|error| format!("\nHint: {}", error.hint()));
        let text = report.text() + &hint.unwrap_or_default();
        self.answer(word, &text, report.json()).await;
        Ok(())
    }
}

/// Does slow work beside the others. Work that panicked is reported like a replica that did.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(NodeError::Stopped(Stopped)))
}

/// A refused line, for programs or people.
pub fn refusal(format: Format, line: u64, code: &str, why: &impl ToString) -> String {
    let why = why.to_string();
    match format {
        Format::Json => {
            json!({"event": "refused", "line": line, "code": code, "message": why}).to_string()
        }
        Format::Text => format!("Error: line {line} is not recorded: {why}"),
    }
}

/// Whether a word is a known one with a letter missing, added, changed or swapped.
fn is_near(known: &str, word: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), word.chars().collect());
    let same_start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (longer, shorter) = (a.len().max(b.len()), a.len().min(b.len()));
    let swapped = a.len() == b.len() && same_start + same_end + 2 >= a.len() && {
        let (mut x, mut y) = (a.clone(), b.clone());
        x.sort_unstable();
        y.sort_unstable();
        x == y
    };
    longer - shorter <= 1 && same_start + same_end + 1 >= longer || swapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_command_is_recognised() {
        for typo in ["verfy", "verifyy", "verift", "veirfy"] {
            assert!(is_near("verify", typo), "{typo}");
        }
        assert!(!is_near("verify", "export") && !is_near("log", "status"));
    }
}
