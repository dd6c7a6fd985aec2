//! Measures a relayer under load, beside a server that only passes on what it gets.
//! See `docs/PERFORMANCE.md`, "The whole way".

pub mod admission;
pub mod append;
pub mod bare;
pub mod cores;
pub mod figures;
pub mod floor;
pub mod history;
pub mod idle;
pub mod ingest;
pub mod member;
pub mod room;
pub mod siege;
pub mod table;
pub mod weather;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::process::{self, Process};

/// Files that this program and the servers it starts may have open.
const FILES_MAX: u64 = 20_000;

/// No limit but the machine's.
pub const OPEN: [&str; 8] = [
    "--max-connections",
    "20000",
    "--max-handshakes",
    "100000/s",
    "--max-ops-per-key",
    "none",
    "--max-bytes-per-key",
    "none",
];

/// Where members connect from.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The relayer.
    Relayer,
    /// A server of a few lines on the same libraries that passes every message on to everybody.
    Bare,
    /// The same without axum, and what waits for one member is written at once.
    Batching,
}

/// A server that runs, and where.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Running {
    /// Starts a server with these arguments besides.
    pub fn start(kind: Kind, more: &[&str]) -> Self {
        let folder = tempfile::TempDir::with_prefix("crdt-load-").unwrap();
        let mut command = match kind {
            Kind::Relayer => {
                let mut relayer = process::command("crdt-relayer");
                relayer.args(["--listen", "127.0.0.1:0", "--json", "--data"]).arg(folder.path());
                relayer
            }
            Kind::Bare | Kind::Batching => {
                let mut bare = Command::new(std::env::current_exe().unwrap());
                bare.arg(if kind == Kind::Bare { "bare" } else { "batching" });
                bare
            }
        };
        command.args(more);
        let mut process = Process::spawn(command);
        let ready = process.event("ready");
        let address = ready["addr"].as_str().unwrap().parse().unwrap();
        Self { process, address, _folder: folder }
    }

    /// Starts a relayer that lets in as many as come, and takes what they send.
    pub fn open(kind: Kind) -> Self {
        Self::start(kind, if kind == Kind::Relayer { &OPEN } else { &[] })
    }
}

/// Lets this process, and what it starts from now on, open many files.
pub fn raise_files() {
    let files = format!("--nofile={FILES_MAX}:{FILES_MAX}");
    let id = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &id, &files]).status();
    assert!(raised.is_ok_and(|status| status.success()), "{FILES_MAX} files may be open");
}
