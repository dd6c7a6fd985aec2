//! The node's command line.

mod cli;
mod launch;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command, EvidenceCommand, Key};
use crdt_core::id::{AuthorId, RoomName, StoreId};
use crdt_node::doctor::{self, Mend, Patient};
use crdt_node::error::NodeError;
use crdt_node::home::{DEFAULT_RELAY, DEFAULT_ROOM, Home, Settings};
use crdt_node::identity::{self, Passphrase};
use crdt_node::import::{Readings, Source};
use crdt_node::keyless::Keyless;
use crdt_node::marks::{self, Marks};
use crdt_node::report::{self, Wanted};
use crdt_node::screen::Format;
use crdt_node::security::{Security, check_address};
use crdt_node::sync;
use crdt_node::verify::{self, Forks};
use crdt_node::{control, demo, evidence, routes, show};
use crdt_relayer::relayer::random;
use crdt_relayer::store::Store;
use serde_json::json;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let as_json = cli.global.json;
    match carry_out(cli).await {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {}", show::safe(&error.to_string()));
            eprintln!("Hint: {}  [{}]", show::safe(&error.hint()), error.code());
            if as_json && !error.is_reported() {
                report_error(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn report_error(error: &NodeError) {
    let line = json!({
        "schema": "crdt-node/error/1",
        "ok": false,
        "code": error.exit_code(),
        "error": error.code(),
        "message": error.to_string(),
        "hint": error.hint(),
    });
    // Standard output may be what failed.
    let _told = writeln!(io::stdout(), "{}", show::safe_json(&line.to_string()));
}

async fn carry_out(cli: Cli) -> Result<ExitCode, NodeError> {
    let format = if cli.global.json { Format::Json } else { Format::Text };
    let folder = cli.global.home.as_deref();
    let done = match cli.command {
        Command::Init(init) => initialise(init, folder, format),
        Command::Run(run) => launch::run(run, folder, format).await,
        Command::Send(send) => launch::send(send, folder, format).await,
        Command::Log(log) => {
            let home = Home::of(&log.name, folder)?;
            let room = home.room(log.room.as_deref())?;
            let author = log.author.as_deref().map(AuthorId::parse).transpose();
            let author = author.map_err(|error| NodeError::Usage(format!("--author: {error}")))?;
            let mut out = BufWriter::new(io::stdout());
            let (store, own) = (home.open_store()?, home.author()?);
            let wanted = Wanted { last: log.last, author };
            report::log(&store, room.id(), wanted, format, own, &mut out)
                .map_err(|error| error.in_room(&room))
        }
        Command::Status(status) => {
            let home = Home::of(&status.name, folder)?;
            let author = home.author()?;
            if let Some(answer) = control::ask(home.path(), "status", format) {
                return print(answer.trim_end()).map(|()| ExitCode::SUCCESS);
            }
            let reports = report::stored_rooms(&home.open_store()?, author)?;
            print(&match format {
                Format::Json => report::status_json(author, &reports).to_string(),
                Format::Text => {
                    format!("{}not running: as stored", report::status_text(author, &reports))
                }
            })
        }
        Command::Peers(peers) => {
            let home = Home::of(&peers.name, folder)?;
            let settings = home.settings()?;
            let answer = control::ask(home.path(), "peers", format);
            print(&answer.map_or_else(|| routes::configured(&settings, format), Ok)?)
        }
        Command::Verify(verify) => verified(&verify, folder, format),
        Command::Evidence(evidence) => show_evidence(evidence, folder, format),
        Command::Export(export) => exported(&export, folder, format),
        Command::Doctor(doctor) => return examined(doctor, folder, format).await,
        Command::Import(import) => imported(import, folder, format).await,
        Command::Sync(sync) => synced(sync, folder, format).await,
        Command::Key(Key::Show { name, public_pem }) => {
            let author = Home::of(&name, folder)?.author()?;
            let pem = identity::public_pem(author)?;
            print(&match (format, public_pem) {
                (Format::Text, true) => pem.trim_end().to_owned(),
                (Format::Text, false) => author.to_string(),
                (Format::Json, _) => json!({
                    "schema": "crdt-node/key/1", "ok": true, "code": 0,
                    "author": author.to_string(), "public_pem": pem,
                })
                .to_string(),
            })
        }
        Command::Demo(demo) => {
            demo::run(&demo::Options { keep: demo.keep, seed: demo.seed, format }).await
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "crdt-node", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
        Command::Man { output } => std::fs::create_dir_all(&output)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &output))
            .map_err(|source| NodeError::File { path: output, source }),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn print(line: &str) -> Result<(), NodeError> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// The first configuration of a home: what can be used, as it was given.
fn first_settings(init: &cli::Init) -> Result<Settings, NodeError> {
    let or = |given: &[String], default: &str| {
        if given.is_empty() { vec![default.to_owned()] } else { given.to_vec() }
    };
    // A file is named from where the user is, and read from wherever the node is run.
    let absolute = |file: &Option<PathBuf>| {
        let file = file.as_ref().map(|file| (file, std::path::absolute(file)));
        file.map(|(file, found)| found.map_err(|source| NodeError::file(file, source))).transpose()
    };
    // Who names another way wants no relay that was not asked for.
    let alone = init.peer.is_empty() && init.listen.is_none();
    let settings = Settings {
        name: init.name.clone(),
        relays: if alone { or(&init.relay, DEFAULT_RELAY) } else { init.relay.clone() },
        peers: init.peer.clone(),
        listen: init.listen,
        allow: Vec::new(),
        tls_cert: absolute(&init.certificate.tls_cert)?,
        tls_key: absolute(&init.certificate.tls_key)?,
        ca_file: absolute(&init.ca_file)?,
        insecure_plain: init.insecure_plain,
        rooms: or(&init.room, DEFAULT_ROOM),
    };
    Ok(settings)
}

/// Whether a run would take these settings.
fn check_settings(home: &Home, settings: &Settings) -> Result<(), NodeError> {
    let security = Security::default().or(home, settings);
    let dialer = security.dialer()?;
    let mut addresses = settings.relays.iter().chain(&settings.peers);
    addresses.try_for_each(|url| check_address(&dialer, url))?;
    drop(security.certificates(settings.listen, home.tls_files(settings)?.as_ref())?);
    settings.rooms.iter().try_for_each(|room| Ok(RoomName::parse(room).map(drop)?))
}

fn initialise(init: cli::Init, folder: Option<&Path>, format: Format) -> Result<(), NodeError> {
    let home = Home::of(&init.name, folder)?;
    let settings = first_settings(&init)?;
    check_settings(&home, &settings)?;
    let marks = marks::folder()?;
    crdt_relayer::home::make(&marks)?;
    crdt_relayer::home::make(home.path())?;
    let _lock = crdt_relayer::home::lock(home.path())?;
    let passphrase = match (init.passphrase, init.passphrase_file) {
        (_, Some(file)) => Some(Passphrase::File(file)),
        (true, None) => Some(Passphrase::Ask),
        (false, None) => None,
    };
    if home.key().exists() {
        return Err(NodeError::KeyExists { key: home.key(), name: init.name });
    }
    home.write_settings(&settings)?;
    drop(Store::open(&home.store(), StoreId::from_bytes(random()?))?);
    let author = identity::create(&home.key(), passphrase.as_ref())?;
    Marks::create(&marks, author)?;
    print(&match format {
        Format::Json => json!({
            "schema": "crdt-node/init/1", "ok": true, "code": 0,
            "name": init.name,
            "author": author.to_string(),
            "home": home.path(),
            "key_file": home.key(),
        })
        .to_string(),
        Format::Text => format!(
            "{} is {author}\nkey    {}   (back it up; whoever has it can sign as you)\nnext   crdt-node run {}",
            init.name,
            home.key().display(),
            init.name
        ),
    })
}

fn verified(asked: &cli::Verify, folder: Option<&Path>, format: Format) -> Result<(), NodeError> {
    let forks = if asked.allow_forks { Forks::Allowed } else { Forks::Reported };
    let file = PathBuf::from(&asked.subject);
    let found = if file.is_file() {
        verify::file(&file)?
    } else {
        let subject = asked.subject.clone();
        let home = Home::of(&asked.subject, folder);
        let home = home.ok().filter(|home| home.path().exists());
        let home = home.ok_or(NodeError::NoSubject { subject })?;
        home.settings()?;
        verify::store(&home.store())?
    };
    let printed = print(&match format {
        Format::Json => found.json(forks).to_string(),
        Format::Text => found.text(),
    });
    // The verdict counts also where nobody reads the report.
    found.outcome(forks).and(printed)
}

fn show_evidence(
    asked: cli::Evidence,
    folder: Option<&Path>,
    format: Format,
) -> Result<(), NodeError> {
    let store = Home::of(&asked.name, folder)?.open_store()?;
    match asked.what.unwrap_or(EvidenceCommand::List) {
        EvidenceCommand::List => {
            let found = evidence::all(&report::restored(&store)?);
            print(&match format {
                Format::Json => evidence::list_json(&found).to_string(),
                Format::Text => evidence::list_text(&found),
            })
        }
        EvidenceCommand::Show { id } => {
            let proof = evidence::proof(&store, &id)?;
            print(&match format {
                Format::Json => show::safe_json(&proof.json().to_string()),
                Format::Text => proof.text(),
            })
        }
        EvidenceCommand::Export { id, output } => {
            let proof = evidence::proof(&store, &id)?;
            let Some(path) = output else { return print(proof.file().trim_end()) };
            proof.export(&path)?;
            print(&match format {
                Format::Json => json!({
                    "schema": "crdt-node/export/1", "ok": true, "code": 0, "file": path,
                })
                .to_string(),
                Format::Text => {
                    format!("written; anyone can check it: crdt-node verify {}", path.display())
                }
            })
        }
    }
}

async fn examined(
    asked: cli::Doctor,
    folder: Option<&Path>,
    format: Format,
) -> Result<ExitCode, NodeError> {
    let home = Home::of(&asked.name, folder)?;
    let (marks, security) = (marks::folder()?, asked.reach.security());
    let patient = Patient { home, marks, passphrase: asked.passphrase_file, security };
    let mend = if asked.fix { Mend::Permissions } else { Mend::Nothing };
    let report = doctor::examine(&patient, mend).await;
    let printed = print(&match format {
        Format::Json => show::safe_json(&report.json().to_string()),
        Format::Text => report.text(),
    });
    // The verdict counts also where nobody reads the report.
    let code = ExitCode::from(report.exit_code());
    if report.exit_code() == 0 { printed.map(|()| code) } else { Ok(code) }
}

fn exported(export: &cli::Export, folder: Option<&Path>, format: Format) -> Result<(), NodeError> {
    let home = Home::of(&export.name, folder)?;
    let room = home.room(export.room.as_deref())?;
    let store = home.open_store()?;
    let missing = |error: NodeError| error.in_room(&room);
    let Some(path) = &export.output else {
        let mut out = BufWriter::new(io::stdout());
        if io::stdout().is_terminal() {
            let mut lines = Vec::new();
            report::export(&store, room.id(), &mut lines).map_err(missing)?;
            out.write_all(show::safe_json(&String::from_utf8_lossy(&lines)).as_bytes())?;
        } else {
            report::export(&store, room.id(), &mut out).map_err(missing)?;
        }
        return Ok(out.flush()?);
    };
    let ops = report::export_to(&store, room.id(), path).map_err(missing)?;
    print(&match format {
        Format::Json => json!({
            "schema": "crdt-node/export/1", "ok": true, "code": 0, "file": path, "ops": ops,
        })
        .to_string(),
        Format::Text => format!("{ops} ops written to {}", path.display()),
    })
}

/// Hands a file's ops to the node that runs in the home, or takes them in its place.
async fn imported(
    import: cli::Import,
    folder: Option<&Path>,
    format: Format,
) -> Result<(), NodeError> {
    let home = Home::of(&import.name, folder)?;
    home.settings()?;
    let source = Source::of(import.file);
    let rooms = import.room.iter().map(|room| RoomName::parse(room));
    let rooms: Vec<RoomName> = rooms.collect::<Result<_, _>>()?;
    let mut readings = Readings::of(source);
    if control::is_running(home.path()) {
        while let Some(bytes) = readings.open()? {
            readings.took(control::import(home.path(), &rooms, bytes))?;
        }
    } else {
        // Before anything changes.
        let mut bytes = readings.open()?;
        let mut node = Keyless::start(&home, rooms, 0).await?;
        while let Some(taken) = bytes {
            readings.took(node.import(taken).await)?;
            bytes = readings.open()?;
        }
        node.stop().await?;
    }
    let report = readings.report();
    let printed = print(&match format {
        Format::Json => show::safe_json(&report.json().to_string()),
        Format::Text => report.text(),
    });
    report.outcome().and(printed)
}

async fn synced(asked: cli::Sync, folder: Option<&Path>, format: Format) -> Result<(), NodeError> {
    let home = Home::of(&asked.name, folder)?;
    let dialer = asked.reach.security().or(&home, &home.settings()?).dialer()?;
    asked.routes.iter().try_for_each(|url| check_address(&dialer, url))?;
    let room = asked.room.as_deref().map(RoomName::parse).transpose()?;
    let timeout = Duration::from_secs(asked.timeout);
    let wanted = sync::Wanted { routes: asked.routes, room, timeout, dialer };
    if asked.dry_run {
        let preview = sync::preview(&home, wanted).await?;
        let printed = print(&match format {
            Format::Json => show::safe_json(&preview.json().to_string()),
            Format::Text => preview.text(),
        });
        return preview.outcome().and(printed);
    }
    let report = sync::run(&home, wanted).await?;
    let printed = print(&match format {
        Format::Json => show::safe_json(&report.json().to_string()),
        Format::Text => report.text(),
    });
    report.outcome().and(printed)
}
