//! The relayer's program: settings, then serving until it is told to stop.

mod cli;
mod failure;
mod operate;
mod report;
mod settings;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crdt_relayer::access::Access;
#[cfg(feature = "nats")]
use crdt_relayer::backplane::{
    self,
    nats::{Nats, NatsError},
    notes::Notes,
};
use crdt_relayer::browsers::Browsers;
#[cfg(feature = "nats")]
use crdt_relayer::config::NatsConfig;
use crdt_relayer::config::{self, Config, Resolved};
use crdt_relayer::dial::Dialer;
use crdt_relayer::driver::{Events, WhenFull};
use crdt_relayer::escape::safe;
use crdt_relayer::limits::Limits;
use crdt_relayer::relayer::{Relayer, RelayerConfig, RelayerError};
use crdt_relayer::roots::Roots;
use crdt_relayer::tls::{Certificates, TlsError};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use cli::{Cli, Wanted};
use failure::Failure;
use operate::Format;
use report::{Heard, Level, Said, Voice};
use settings::{Sources, default_data};

/// Batches whose events may wait to be printed.
const BATCHES_WAITING_MAX: usize = 1_024;

/// Ended connections that may wait to be printed.
const ENDS_WAITING_MAX: usize = 1_024;

/// How often it is told how many were turned away.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Link events that may wait to be printed.
const LINKS_WAITING_MAX: usize = 64;

/// Time for reading that is under way to end when the relayer has stopped; nothing is lost by it.
const READING_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: this system lets no threads be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(program());
    runtime.shutdown_timeout(READING_MAX);
    code
}

async fn program() -> ExitCode {
    let Cli { wanted, config: file, json, flags } = Cli::parse();
    let sources = Sources { flags, file };
    let format = Format::of(json);
    let ended = match wanted {
        Wanted::Run => serve(&sources, json).await,
        Wanted::CheckConfig => check_config(&sources, json),
        Wanted::InitConfig => show(&config::template()),
        Wanted::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::command(), "crdt-relayer", &mut script);
            io::stdout().write_all(&script).map_err(Failure::from)
        }
        Wanted::Man(folder) => {
            let made = std::fs::create_dir_all(&folder);
            made.and_then(|()| clap_mangen::generate_to(cli::command(), folder))
                .map_err(Failure::from)
        }
        Wanted::Health(target) => operate::health(&target, format).await,
        Wanted::Rooms(target) => operate::rooms(&target, format).await,
        Wanted::Stats(target) => operate::stats(&target, format).await,
        Wanted::Verify(folder, file, forks) => {
            operate::verify(&folder, file.as_deref(), forks, format)
        }
        Wanted::Backup(folder, file) => operate::backup(&folder, &file, format),
        Wanted::Restore(folder, file, occupied) => {
            operate::restore(&folder, &file, occupied, format)
        }
        Wanted::Compact(folder) => operate::compact(&folder, format),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("Error: {}", safe(&failure.sentence));
            eprintln!("Hint: {}", safe(&failure.hint));
            ExitCode::from(failure.code)
        }
    }
}

fn show(text: &str) -> Result<(), Failure> {
    Ok(write!(io::stdout(), "{text}")?)
}

fn check_config(sources: &Sources, json: bool) -> Result<(), Failure> {
    let settings = sources.gather()?;
    let usable = Config::of(&settings);
    let mut out = io::stdout();
    if json {
        writeln!(out, "{}", settings::report(&settings, &usable))?;
    } else {
        writeln!(out, "{}", safe_lines(&settings::table(&settings)))?;
    }
    let config = usable?;
    if let Some(files) = &config.tls {
        Certificates::read(files).map_err(RelayerError::from)?;
    }
    #[cfg(feature = "nats")]
    config.nats.as_ref().map(engine).transpose()?;
    dialer(&config).map(drop)
}

/// How peers are dialled.
fn dialer(config: &Config) -> Result<Dialer, Failure> {
    let roots = Roots::read(config.ca_file.as_deref()).map_err(RelayerError::from)?;
    Ok(Dialer::new(roots, config.plain))
}

/// What a file or variable holds cannot act on the terminal.
fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

async fn serve(sources: &Sources, json: bool) -> Result<(), Failure> {
    // From here on a signal ends or changes nothing half done.
    let mut signals = Signals::listen()?;
    let settings = sources.gather()?;
    let config = Config::of(&settings)?;
    let data = config.data.clone().map_or_else(default_data, Ok)?;
    let dialer = dialer(&config)?;
    let (sender, inbox) = mpsc::channel(BATCHES_WAITING_MAX);
    let (links, link_events) = mpsc::channel(LINKS_WAITING_MAX);
    #[cfg(feature = "nats")]
    let (bus, bus_links) = (config.nats.as_ref().map(engine).transpose()?, links.clone());
    let certificates = config.tls.as_ref().map(Certificates::read).transpose();
    let certificates = certificates.map_err(RelayerError::from)?;
    let (limits, watched_limits) = watch::channel(config.limits.clone());
    let (browsers, watched_browsers) = watch::channel(config.browsers.clone());
    let (access, watched_access) = watch::channel(config.access.clone());
    let (as_json, level) = voice(&settings, json);
    let voice = Voice::new(as_json, level);
    let live = Live { certificates: certificates.clone(), limits, browsers, access, voice };
    let (left, ends) = mpsc::channel(ENDS_WAITING_MAX);
    let mut relayer = Relayer::start(RelayerConfig {
        data: data.clone(),
        listen: config.listen,
        certificates,
        peers: config.peers.clone(),
        dialer,
        limits: watched_limits,
        browsers: watched_browsers,
        access: watched_access,
        events: Some(Events { sender, wanted: report::is_told, when_full: WhenFull::Drop }),
        links: Some(links),
        left: Some(left),
        space: None,
    })
    .await?;
    #[cfg(feature = "nats")]
    if let Some(bus) = bus {
        let notes = Notes::open(&data).map_err(RelayerError::from)?;
        tokio::spawn(backplane::keep(relayer.driver().clone(), bus, notes, bus_links));
    }
    let (address, url) = (relayer.address().to_string(), relayer.url());
    let ready = Said::new(
        Level::Info,
        json!({"event": "ready", "addr": address, "url": url}),
        format!("relayer on {url}   store in {}", data.display()),
    );
    let storage = relayer.storage();
    let heard = Heard { events: inbox, links: link_events, left: ends, storage };
    let printer = report::print(live.voice.clone(), ready, heard, io::stdout());
    let mut refusals = tokio::time::interval(REFUSALS_TOLD_EVERY);
    let ended = loop {
        tokio::select! {
            failed = relayer.failed() => break failed,
            _ = refusals.tick() => printer.turned_away(&relayer.metrics().take_refusals()),
            told = signals.next() => match told {
                Told::Stop => {
                    printer.say(stopping("stopping"));
                    let stopped = relayer.stop().await;
                    printer.say(stopping("stopped"));
                    break stopped;
                }
                // What cannot be read leaves everything as it was.
                Told::Reread => {
                    let read = live.reread(sources, json).map_err(|failure| failure.sentence);
                    printer.reread(&read);
                }
            }
        }
    };
    printer.finish().await;
    Ok(ended?)
}

fn stopping(event: &str) -> Said {
    Said::new(Level::Info, json!({"event": event}), event)
}

/// How it is told what happens, and how much of it. Programs are told everything unless they want
/// less.
fn voice(settings: &Resolved, json: bool) -> (bool, Level) {
    let (format, _) = settings.choice("log.format");
    let (level, chosen) = settings.choice("log.level");
    let level =
        if json && !chosen { Level::Debug } else { Level::named(&level).unwrap_or(Level::Info) };
    (json || format == "json", level)
}

/// What may change while the relayer runs.
struct Live {
    certificates: Option<Certificates>,
    limits: watch::Sender<Limits>,
    browsers: watch::Sender<Browsers>,
    access: watch::Sender<Access>,
    voice: Voice,
}

impl Live {
    fn reread(&self, sources: &Sources, json: bool) -> Result<(), Failure> {
        let settings = sources.gather()?;
        let config = Config::of(&settings)?;
        match (&self.certificates, &config.tls) {
            (Some(certificates), Some(files)) => {
                certificates.reread(files).map_err(RelayerError::from)?;
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure {
                    sentence: "encryption is turned on and off at a start only; a certificate may \
                               change while the relayer runs"
                        .into(),
                    hint: "start the relayer again".into(),
                    code: 3,
                });
            }
        }
        self.limits.send_replace(config.limits);
        self.browsers.send_replace(config.browsers);
        self.access.send_replace(config.access);
        self.voice.set_level(voice(&settings, json).1);
        Ok(())
    }
}

/// What a signal asks for.
enum Told {
    Stop,
    Reread,
}

/// The signals that this program minds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reread,
        }
    }
}

/// The bus that was asked for.
#[cfg(feature = "nats")]
fn engine(nats: &NatsConfig) -> Result<Nats, Failure> {
    Nats::new(&nats.url, &nats.stream, nats.max_bytes).map_err(|error| {
        let (key, hint) = match error {
            NatsError::Url => ("nats_url", "an address looks like nats://bus.example:4222"),
            NatsError::Name => ("nats_stream", "a name looks like crdt-log"),
        };
        Failure { sentence: format!("cluster.{key}: {error}"), hint: hint.into(), code: 3 }
    })
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        RelayerError::from(error).into()
    }
}
