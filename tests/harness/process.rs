//! A program under test: its events one by one, its end, its death.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything that must happen. Generous: only a failing test waits this long.
pub const WAIT_MAX: Duration = Duration::from_mins(2);

/// The tool that built this, in this workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    // What it told whoever asks of its package would have some libraries built anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// The built program of this name, in the profile of the running test.
pub fn program(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    // Tests are in a folder beside the programs.
    let folder =
        if folder.ends_with("deps") { folder.parent().unwrap() } else { folder }.to_owned();
    BUILD.call_once(|| {
        // `cargo test` builds the programs' libraries, but not always the programs.
        let release = folder.ends_with("release").then_some("--release");
        let built = cargo()
            .args(["build", "--quiet", "--offline", "-p", "crdt-node", "-p", "crdt-relayer"])
            .args(release)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the programs build");
    });
    folder.join(name)
}

/// The state folder of programs under test, beside the programs themselves. What is kept there is
/// kept by key, so tests share it.
fn state() -> PathBuf {
    program("test-state")
}

/// A command that runs a program under test.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.env("XDG_STATE_HOME", state());
    command
}

/// The same below `strace` with these options: they say which system call fails, or kills the
/// program, and when.
pub fn below_strace(name: &str, faults: &[&OsStr]) -> Command {
    let mut command = Command::new("strace");
    command.env("XDG_STATE_HOME", state());
    command.args(["-f", "-o", "/dev/null"]).args(faults).arg(program(name));
    command
}

/// A running program that prints one JSON object per line.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<Value>,
    errors: Option<JoinHandle<String>>,
    name: String,
}

impl Process {
    /// Starts a program with these arguments.
    pub fn start<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut program = command(name);
        program.args(args);
        Self::spawn(program)
    }

    /// Starts a command.
    pub fn spawn(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let (events_sender, events) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if events_sender.send(event).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap_or_default();
            text
        });
        Self { child, input, events, errors: Some(errors), name }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its input.
    pub fn line(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("input is open"), "{line}").unwrap();
    }

    /// Writes to its input; a program that died meanwhile reads nothing.
    pub fn try_write(&mut self, text: &str) {
        if let Some(input) = &mut self.input {
            input.write_all(text.as_bytes()).unwrap_or_default();
        }
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The next event; panics if none comes.
    pub fn next_event(&mut self) -> Value {
        self.next_before(Instant::now() + WAIT_MAX)
            .unwrap_or_else(|| panic!("{} says nothing more", self.name))
    }

    /// The next event before a time; `None` if none comes by then or the program has ended.
    pub fn next_before(&mut self, deadline: Instant) -> Option<Value> {
        self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// Skips to the next event of a kind.
    pub fn event(&mut self, kind: &str) -> Value {
        self.event_with(kind, |_| true)
    }

    /// Skips to the next event of a kind that fits.
    pub fn event_with(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next_event();
            if event["event"] == kind && fits(&event) {
                return event;
            }
        }
    }

    /// Skips to the event that a node holds so many entries of a room, and the other side of a link
    /// the same.
    pub fn synced(&mut self, entries: usize) -> Value {
        self.event_with("synced", |event| event["entries"] == entries)
    }

    /// Every event up to the first that fits, which is the last.
    pub fn events_until(&mut self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.next_event());
            if events.last().is_some_and(&fits) {
                return events;
            }
        }
    }

    /// Every event that is still to come until the program ends.
    pub fn rest(&mut self) -> Vec<Value> {
        let deadline = Instant::now() + WAIT_MAX;
        std::iter::from_fn(|| self.next_before(deadline)).collect()
    }

    /// Ends it as the system does when memory is short: nothing is finished.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name.
    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end. Returns how it ended and what it said on standard error.
    pub fn end(mut self) -> (ExitStatus, String) {
        self.input = None;
        let deadline = Instant::now() + WAIT_MAX;
        // Its output ends when it does.
        while self.next_before(deadline).is_some() {}
        let status = self.child.wait().unwrap();
        (status, self.errors.take().unwrap().join().unwrap())
    }

    /// Waits for its end, which must be good.
    pub fn end_well(self) {
        let name = self.name.clone();
        let (status, errors) = self.end();
        assert!(status.success(), "{name}: {status}, {errors}");
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(self) {
        self.signal("TERM");
        self.end_well();
    }

    /// Processor time it has used, in clock ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Memory it holds, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most memory it has held, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}

/// Runs a program to its end.
pub fn run<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Output {
    command(name).args(args).stdin(Stdio::null()).output().unwrap()
}
