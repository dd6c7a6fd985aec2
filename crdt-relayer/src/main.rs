//! The relayer's command line.

mod report;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
#[cfg(feature = "nats")]
use crdt_relayer::backplane::{self, nats::Nats, notes::Notes};
use crdt_relayer::dial::check_url;
use crdt_relayer::driver::{Events, WhenFull};
use crdt_relayer::error::StoreError;
use crdt_relayer::escape::safe;
use crdt_relayer::home::HomeError;
use crdt_relayer::relayer::{Relayer, RelayerConfig, RelayerError};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Stores a room's signed operations and passes them on; can forge none.
#[derive(Debug, Parser)]
#[command(name = "crdt-relayer", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

const EXAMPLES: &str = "Examples:
  crdt-relayer                                  listen on 127.0.0.1:8080
  crdt-relayer --listen 127.0.0.1:0 --json      any free port, one event per line
  crdt-relayer --backplane nats --nats-url nats://127.0.0.1:4222
                                                one of several relayers with the same rooms";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT (the default).
    Run(Run),
}

#[derive(Debug, Args)]
struct Run {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    /// Folder for the store [default: the user's data folder + /crdt-relayer].
    #[arg(long, value_name = "DIR", env = "CRDT_RELAYER_DATA")]
    data: Option<PathBuf>,
    /// Another relayer to keep the same rooms with; repeatable. Give each of them the others.
    #[arg(long, value_name = "URL")]
    peer: Vec<String>,
    #[command(flatten)]
    bus: BusArguments,
    /// Print one JSON event per line.
    #[arg(long)]
    json: bool,
}

/// Built without a bus, a relayer has no options for one.
#[cfg(not(feature = "nats"))]
#[derive(Debug, Args)]
struct BusArguments {}

#[cfg(feature = "nats")]
#[derive(Debug, Args)]
struct BusArguments {
    /// Keep the same rooms with every relayer on this bus. What is acknowledged is in this relayer's
    /// own store all the same.
    #[arg(long, value_name = "BUS", requires = "nats_url")]
    backplane: Option<BusKind>,
    /// NATS server that keeps streams, as nats://[USER:PASSWORD@]HOST:PORT or tls://…; several with
    /// commas.
    #[arg(long, value_name = "URL", env = "CRDT_NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// The stream, which all relayers of a service share; made if there is none.
    #[arg(long, value_name = "NAME", default_value = "crdt-log")]
    nats_stream: String,
    /// Bytes the stream may hold, if it is made now; the oldest ops leave it first [default: no limit].
    #[arg(long, value_name = "BYTES")]
    nats_max_bytes: Option<u64>,
}

#[cfg(feature = "nats")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum BusKind {
    /// A stream of NATS.
    Nats,
}

#[cfg(feature = "nats")]
impl BusArguments {
    /// The bus that was asked for, if any.
    fn engine(&self) -> Result<Option<Nats>, Failure> {
        let (Some(BusKind::Nats), Some(url)) = (self.backplane, &self.nats_url) else {
            return Ok(None);
        };
        let engine = Nats::new(url, &self.nats_stream, self.nats_max_bytes);
        engine.map(Some).map_err(|error| Failure {
            sentence: format!("--backplane nats: {error}"),
            hint: "an address looks like nats://bus.example:4222",
            code: 2,
        })
    }
}

/// Events that may wait to be printed.
const EVENTS_WAITING_MAX: usize = 1_024;

/// Link events that may wait to be printed.
const LINKS_WAITING_MAX: usize = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let run = match cli.command {
        Some(Command::Run(run)) => run,
        None => cli.run,
    };
    match serve(run).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("Error: {}", safe(&failure.sentence));
            eprintln!("Hint: {}", failure.hint);
            ExitCode::from(failure.code)
        }
    }
}

struct Failure {
    sentence: String,
    hint: &'static str,
    code: u8,
}

impl From<RelayerError> for Failure {
    fn from(error: RelayerError) -> Self {
        let (hint, code) = match &error {
            RelayerError::Home(HomeError::Busy(_)) => {
                ("stop the other relayer, or give this one its own --data folder", 9)
            }
            RelayerError::Home(HomeError::Io { .. })
            | RelayerError::Store(StoreError::Open { .. } | StoreError::Missing { .. }) => {
                ("check the folder's owner and permissions, or choose another with --data", 3)
            }
            RelayerError::Listen { .. } => {
                ("is another relayer running? choose another address with --listen", 4)
            }
            RelayerError::Store(StoreError::Full) => {
                ("free some space and start again; members send what was not acknowledged", 3)
            }
            RelayerError::Store(StoreError::Damaged(_)) => (
                "keep the file as evidence and start with a new --data folder; members send all again",
                5,
            ),
            RelayerError::Store(StoreError::Layout { .. }) => {
                ("run the version that wrote it, or start with a new --data folder", 3)
            }
            RelayerError::Store(StoreError::Io(_) | StoreError::NoRoom(_)) => {
                ("check the disk and start again; members send what was not acknowledged", 3)
            }
            RelayerError::Stopped(_) => {
                ("everything acknowledged is safe; please report what was printed above", 1)
            }
            RelayerError::Random(_) => ("check that /dev/urandom can be read", 1),
        };
        Self { sentence: error.to_string(), hint, code }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { sentence: error.to_string(), hint: "check the output it is written to", code: 1 }
    }
}

fn default_data() -> Result<PathBuf, Failure> {
    dirs::data_dir().map(|dir| dir.join("crdt-relayer")).ok_or_else(|| Failure {
        sentence: "this user has no data folder".into(),
        hint: "name a folder with --data DIR",
        code: 3,
    })
}

async fn serve(run: Run) -> Result<(), Failure> {
    let data = match run.data {
        Some(data) => data,
        None => default_data()?,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, inbox) = mpsc::channel(EVENTS_WAITING_MAX);
    let events = Events { sender, when_full: WhenFull::Drop };
    for url in &run.peer {
        check_url(url).map_err(|error| Failure {
            sentence: format!("--peer {url}: {error}"),
            hint: "an address looks like ws://relay.example:8080/websocket",
            code: 2,
        })?;
    }
    let (links, link_events) = mpsc::channel(LINKS_WAITING_MAX);
    #[cfg(feature = "nats")]
    let (bus, bus_links) = (run.bus.engine()?, links.clone());
    let config = RelayerConfig {
        data: data.clone(),
        listen: run.listen,
        peers: run.peer,
        events: Some(events),
        links: Some(links),
    };
    let mut relayer = Relayer::start(config).await?;
    #[cfg(feature = "nats")]
    if let Some(bus) = bus {
        let notes = Notes::open(&data).map_err(RelayerError::from)?;
        tokio::spawn(backplane::keep(relayer.driver().clone(), bus, notes, bus_links));
    }
    let mut out = io::stdout();
    if run.json {
        let address = relayer.address().to_string();
        writeln!(out, "{}", json!({"event": "ready", "addr": address, "url": relayer.url()}))?;
    } else {
        writeln!(out, "relayer on {}   store in {}", relayer.url(), data.display())?;
    }
    out.flush()?;
    report::print(inbox, link_events, out, run.json);
    tokio::select! {
        failed = relayer.failed() => return Ok(failed?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    relayer.stop().await?;
    Ok(())
}
