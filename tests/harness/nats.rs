//! A real NATS server, and a client that posts anything. Both speak the protocol of
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol> over plain TCP.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{Process, WAIT_MAX};

/// Names the server's program where it is not on the path.
const PROGRAM_VARIABLE: &str = "CRDT_NATS_SERVER";

/// The server's program; `None`, and it says so, if there is none.
pub fn installed() -> Option<PathBuf> {
    let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let program = named.or_else(|| {
        std::env::split_paths(&path)
            // Debian installs it where only root's path looks.
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join("nats-server"))
            .find(|program| program.is_file())
    });
    if program.is_none() {
        eprintln!("SKIPPED: no nats-server on the path and no {PROGRAM_VARIABLE}");
    }
    program
}

/// A running server.
#[derive(Debug)]
pub struct NatsServer {
    process: Process,
    port: u16,
}

impl NatsServer {
    /// Starts a server that keeps its streams in a folder; port 0 takes a free one.
    pub fn start(program: &Path, folder: &Path, port: u16) -> Self {
        let port = if port == 0 { "-1".to_owned() } else { port.to_string() };
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-l", "/dev/stdout", "-p", &port, "-sd"]);
        let mut process = Process::spawn({
            command.arg(folder);
            command
        });
        let mut listens = 0;
        loop {
            let line = process.next_event();
            let line = line.as_str().unwrap_or_default();
            if let Some((_, port)) = line.split_once("for client connections on 127.0.0.1:") {
                listens = port.trim().parse().unwrap();
            } else if line.contains("Server is ready") {
                return Self { process, port: listens };
            }
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it as the system does when memory is short.
    pub fn kill(self) {
        self.process.kill();
    }
}

/// A message of the server to this client.
#[derive(Clone, Debug)]
pub struct NatsMessage {
    /// Where it was posted to.
    pub subject: String,
    /// What it says, without headers.
    pub payload: Vec<u8>,
}

/// A client.
#[derive(Debug)]
pub struct NatsClient {
    read: BufReader<TcpStream>,
    write: TcpStream,
    inboxes: u64,
    waiting: VecDeque<NatsMessage>,
}

impl NatsClient {
    /// Connects.
    pub fn connect(server: &NatsServer) -> Self {
        let write = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        write.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let read = BufReader::new(write.try_clone().unwrap());
        let mut client = Self { read, write, inboxes: 0, waiting: VecDeque::new() };
        assert!(client.line().starts_with("INFO "));
        client.say(br#"CONNECT {"verbose":false,"pedantic":false,"headers":true}"#);
        client.flush();
        client
    }

    fn say(&mut self, line: &[u8]) {
        self.write.write_all(line).unwrap();
        self.write.write_all(b"\r\n").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.read.read_line(&mut line).unwrap(), 0, "the server closed");
        line.trim_end().to_owned()
    }

    /// Waits until the server has dealt with everything said before.
    pub fn flush(&mut self) {
        self.say(b"PING");
        while !self.step() {}
    }

    /// Takes one thing the server says; `true` if it is the answer to a `PING`.
    fn step(&mut self) -> bool {
        let line = self.line();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().copied() {
            Some("PONG") => return true,
            Some("PING") => self.say(b"PONG"),
            Some(kind @ ("MSG" | "HMSG")) => {
                let total: usize = words.last().unwrap().parse().unwrap();
                let head = if kind == "HMSG" { words[words.len() - 2].parse().unwrap() } else { 0 };
                let mut bytes = vec![0; total + 2];
                self.read.read_exact(&mut bytes).unwrap();
                let payload = bytes[head..total].to_vec();
                self.waiting.push_back(NatsMessage { subject: words[1].to_owned(), payload });
            }
            Some(_) | None => panic!("the server says {line:?}"),
        }
        false
    }

    /// Listens to a subject.
    pub fn subscribe(&mut self, subject: &str) {
        self.inboxes += 1;
        self.say(format!("SUB {subject} {}", self.inboxes).as_bytes());
        self.flush();
    }

    /// Everything that came for the subscriptions by now.
    pub fn heard(&mut self) -> Vec<NatsMessage> {
        self.flush();
        self.waiting.drain(..).collect()
    }

    /// Posts something, below a head of its own making if it is not empty.
    pub fn post(&mut self, subject: &str, head: &str, payload: &[u8]) {
        if head.is_empty() {
            self.say(format!("PUB {subject} {}", payload.len()).as_bytes());
            return self.say(payload);
        }
        let head = format!("{head}\r\n\r\n");
        let (head_len, total) = (head.len(), head.len() + payload.len());
        self.say(format!("HPUB {subject} {head_len} {total}").as_bytes());
        self.say(&[head.as_bytes(), payload].concat());
    }

    /// The state of a stream, as the server tells it. Call it with nothing subscribed.
    pub fn stream(&mut self, name: &str) -> Value {
        self.inboxes += 1;
        let (id, inbox) = (self.inboxes, format!("_INBOX.test.{}", self.inboxes));
        self.say(format!("SUB {inbox} {id}").as_bytes());
        self.say(format!("PUB $JS.API.STREAM.INFO.{name} {inbox} 0").as_bytes());
        self.say(b"");
        while self.waiting.back().is_none_or(|message| message.subject != inbox) {
            self.step();
        }
        let answer = self.waiting.pop_back().unwrap();
        self.say(format!("UNSUB {id}").as_bytes());
        serde_json::from_slice(&answer.payload).unwrap()
    }
}
