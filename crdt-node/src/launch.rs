//! `run` and `send`: what a run is made with, from flags and configuration.

use std::path::Path;
use std::time::Duration;

use crdt_core::id::{AuthorId, RoomName};
use crdt_core::intake::Allowed;
use crdt_node::console::{Console, restore_terminal};
use crdt_node::error::NodeError;
use crdt_node::home::{Home, Settings};
use crdt_node::identity::{self, Passphrase};
use crdt_node::node::{NodeConfig, Signer, Trust};
use crdt_node::run::{LEAVE_MAX, Run, RunConfig, Until};
use crdt_node::screen::{Format, Screen, Shown};
use crdt_node::security::check_address;
use crdt_node::{input, marks, routes};
use crdt_relayer::config::TlsFiles;

use crate::cli::{self, Certificate, Connection};

/// What a run takes from the configuration where no flag says otherwise.
fn configured(
    name: &str,
    folder: Option<&Path>,
    rooms: &[String],
    connection: &Connection,
    until: Until,
) -> Result<(Home, RunConfig), NodeError> {
    let home = Home::of(name, folder)?;
    let settings = home.settings()?;
    let rooms = if rooms.is_empty() { &settings.rooms } else { rooms };
    let given = |flags: &[String], kept: Vec<String>| {
        if flags.is_empty() { kept } else { flags.to_vec() }
    };
    let security = connection.reach.security().or(&home, &settings);
    let (dialer, files) = (security.dialer()?, tls_files(&home, &settings, connection)?);
    let relays = given(&connection.relay, settings.relays);
    let relays = if connection.no_relay { Vec::new() } else { relays };
    let peers = given(&connection.peer, settings.peers);
    relays.iter().chain(&peers).try_for_each(|url| check_address(&dialer, url))?;
    let dialled = routes::once(relays, peers);
    let listen = connection.listen.or(settings.listen);
    let allowed = allowed(&given(&connection.allow, settings.allow))?;
    if allowed.is_some() && listen.is_none() {
        let message = "--allow is about those who connect: it needs --listen ADDR";
        return Err(NodeError::Usage(message.into()));
    }
    let certificates = security.certificates(listen, files.as_ref())?;
    let passphrase = connection.passphrase_file.clone().map_or(Passphrase::Ask, Passphrase::File);
    let key = identity::load(&home.key(), &passphrase)?;
    let node = NodeConfig {
        home: home.path().to_owned(),
        key: Signer::Key(key),
        rooms: rooms.iter().map(|room| RoomName::parse(room)).collect::<Result<_, _>>()?,
        marks: marks::folder()?,
        trust: if connection.trust_store { Trust::Store } else { Trust::Marks },
        routes: dialled.len(),
        listen,
        certificates,
        dialer,
        allowed,
    };
    Ok((home, RunConfig { node, dialled, until }))
}

/// What is encrypted with on the address that others connect to: the files of the flags, or else
/// those of the configuration.
fn tls_files(
    home: &Home,
    settings: &Settings,
    connection: &Connection,
) -> Result<Option<TlsFiles>, NodeError> {
    let Certificate { tls_cert, tls_key } = &connection.certificate;
    let (Some(cert), Some(key)) = (tls_cert, tls_key) else { return home.tls_files(settings) };
    if connection.listen.or(settings.listen).is_none() {
        let message = "--tls-cert is about those who connect: it needs --listen ADDR";
        return Err(NodeError::Usage(message.into()));
    }
    Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone() }))
}

/// The keys of those who may connect; `None` if everybody may.
fn allowed(keys: &[String]) -> Result<Option<Allowed>, NodeError> {
    let key = |text: &String| {
        AuthorId::parse(text).map_err(|error| NodeError::Usage(format!("allow {text}: {error}")))
    };
    let keys: Allowed = keys.iter().map(key).collect::<Result<_, _>>()?;
    Ok((!keys.is_empty()).then_some(keys))
}

/// `run`.
pub(crate) async fn run(
    run: cli::Run,
    folder: Option<&Path>,
    format: Format,
) -> Result<(), NodeError> {
    let interactive = Console::is_possible() && format == Format::Text && !run.headless;
    let until = if run.headless {
        Until::Stopped
    } else if interactive {
        Until::Left(LEAVE_MAX)
    } else {
        Until::Complete(Duration::from_secs(run.connection.timeout))
    };
    let (home, config) = configured(&run.name, folder, &run.room, &run.connection, until)?;
    if interactive {
        let mut console = Console::open(home.history())?;
        let (screen, shown) = console.screen()?;
        let started = Run::start(config, screen).await?;
        let lines = console.read(run.name, started.current());
        let outcome = finish(started.go(lines).await, shown);
        restore_terminal();
        return outcome;
    }
    let (screen, shown) = Screen::stdout(format);
    let started = Run::start(config, screen).await?;
    finish(started.go(input::read_stdin()).await, shown)
}

/// Waits until everything is shown.
fn finish(outcome: Result<(), NodeError>, shown: Shown) -> Result<(), NodeError> {
    // A screen that failed has nothing left to show.
    let _shown = shown.join();
    outcome
}

/// `send`.
pub(crate) async fn send(
    send: cli::Send,
    folder: Option<&Path>,
    format: Format,
) -> Result<(), NodeError> {
    let until = Until::Relayed(Duration::from_secs(send.connection.timeout));
    let rooms: Vec<String> = send.room.into_iter().collect();
    let (_, config) = configured(&send.name, folder, &rooms, &send.connection, until)?;
    let (screen, shown) = Screen::stdout(format);
    let started = Run::start(config, screen).await?;
    let from_stdin = send.transactions.is_empty() || send.transactions == ["-"];
    let lines = if from_stdin { input::read_stdin() } else { input::given(send.transactions) };
    finish(started.go(lines).await, shown)
}
