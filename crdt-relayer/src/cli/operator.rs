//! The commands of an operator, with examples.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use crdt_relayer::backup::Occupied;
use crdt_relayer::verify::Forks;

use super::{Wanted, config, json};
use crate::operate::{Folder, Target};
use crate::settings::Sources;

const DATA: &str = "data";

/// The commands.
pub(super) fn commands() -> Vec<Command> {
    let health = asking(
        "health",
        "Ask whether a relayer takes ops: exit code 0 if it does, 10 if not, 4 if none answers",
        "Examples:
  crdt-relayer health                           the relayer of this machine
  crdt-relayer health wss://relay.example/websocket
  crdt-relayer health --json https://relay.example --ca-file ca.pem",
    );
    let rooms = asking(
        "rooms",
        "List the rooms of a relayer",
        "Example:
  crdt-relayer rooms https://relay.example",
    );
    let stats = asking(
        "stats",
        "Show what a relayer holds, and what it has done since it started",
        "Example:
  crdt-relayer stats --json | jq .metrics",
    );
    let file = |help: &'static str| {
        Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let forks = Arg::new("allow-forks")
        .long("allow-forks")
        .action(ArgAction::SetTrue)
        .help("Exit with 0 also where authors have signed two different ops at one place");
    let verify = on_store(
        "verify",
        "Check every hash, link and signature again, also while a relayer runs; changes nothing",
        "Exit codes: 0 all good, 5 damaged, 6 good and with evidence of equivocation.

Examples:
  crdt-relayer verify --data /var/lib/crdt-relayer
  crdt-relayer verify backup.sqlite",
    )
    .args([file("A copy that backup wrote, instead of the store in the folder"), forks]);
    let output = Arg::new("output")
        .short('o')
        .long("output")
        .required(true)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The copy; a file that is there already is left alone");
    let backup = on_store(
        "backup",
        "Write a copy of the store as it is at one moment, also while a relayer runs",
        "Example:
  crdt-relayer backup --data /var/lib/crdt-relayer -o relayer-$(date +%F).sqlite",
    )
    .arg(output);
    let force = Arg::new("force")
        .long("force")
        .action(ArgAction::SetTrue)
        .help("Keep the store that is in the folder under another name");
    let restore = on_store(
        "restore",
        "Verify a copy and put it into the folder of a relayer that does not run",
        "Example:
  crdt-relayer restore relayer-2026-11-21.sqlite --data /var/lib/crdt-relayer",
    )
    .args([file("A copy that backup wrote").required(true), force]);
    let compact = on_store(
        "compact",
        "Give back to the file system what the store does not need; no relayer may run",
        "Example:
  crdt-relayer compact --data /var/lib/crdt-relayer",
    );
    vec![health, rooms, stats, verify, backup, restore, compact]
}

fn asking(name: &'static str, about: &'static str, examples: &'static str) -> Command {
    let url = Arg::new("url").value_name("URL").help(
        "Its address, as https://relay.example [default: where the settings make a relayer listen]",
    );
    let ca_file = Arg::new("ca-file")
        .long("ca-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Authorities to trust besides the system's (PEM)");
    Command::new(name).about(about).after_help(examples).args([url, ca_file, config(), json()])
}

fn on_store(name: &'static str, about: &'static str, examples: &'static str) -> Command {
    let data = Arg::new(DATA)
        .long(DATA)
        .value_name("DIR")
        .help("The relayer's folder [default: the one that the settings name]");
    Command::new(name).about(about).after_help(examples).args([data, config(), json()])
}

/// What one of these commands asks for; `None` if it is none of them.
pub(super) fn wanted(name: &str, matches: &ArgMatches) -> Option<Wanted> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let sources = |flags| Sources { flags, file: path("config") };
    let target = || Target {
        url: matches.get_one("url").cloned(),
        ca_file: path("ca-file"),
        sources: sources(BTreeMap::new()),
    };
    let folder = || {
        let data = matches.get_one::<String>(DATA).cloned();
        Folder(sources(data.map(|data| (DATA, vec![data])).into_iter().collect()))
    };
    Some(match name {
        "health" => Wanted::Health(target()),
        "rooms" => Wanted::Rooms(target()),
        "stats" => Wanted::Stats(target()),
        "verify" => {
            let allowed = matches.get_flag("allow-forks");
            let forks = if allowed { Forks::Allowed } else { Forks::Reported };
            Wanted::Verify(folder(), path("file"), forks)
        }
        "backup" => Wanted::Backup(folder(), path("output").unwrap_or_default()),
        "restore" => {
            let forced = matches.get_flag("force");
            let occupied = if forced { Occupied::PutAside } else { Occupied::Refuse };
            Wanted::Restore(folder(), path("file").unwrap_or_default(), occupied)
        }
        "compact" => Wanted::Compact(folder()),
        _ => return None,
    })
}
