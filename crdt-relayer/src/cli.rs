//! Commands and flags. The flags of settings come from their table, so that none is without its
//! variable and its key in the file.

mod operator;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use crdt_relayer::backup::Occupied;
use crdt_relayer::config::{Kind, SETTINGS, Setting};
use crdt_relayer::verify::Forks;

use crate::operate::{Folder, Target};

const EXAMPLES: &str = "Examples:
  crdt-relayer                                  listen on 127.0.0.1:8080
  crdt-relayer --listen 127.0.0.1:0 --json      any free port, one event per line
  crdt-relayer --config relayer.toml            settings from a file; flags count before it
  crdt-relayer check-config --config relayer.toml
                                                each setting and where it comes from
  crdt-relayer --backplane nats --nats-url nats://127.0.0.1:4222
                                                one of several relayers with the same rooms
  crdt-relayer health                           does it take ops?
  crdt-relayer backup -o copy.sqlite            a copy of the store, while it runs

Every setting is also an environment variable, as CRDT_RELAYER_SERVER_LISTEN for server.listen.";

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Serve until told to stop.
    Run,
    /// Show the settings.
    CheckConfig,
    /// Print a configuration file with every default.
    InitConfig,
    /// Print what completes commands in a shell.
    Completions(Shell),
    /// Write the manual's pages into a folder.
    Man(PathBuf),
    /// Ask a relayer whether it takes ops.
    Health(Target),
    /// List a relayer's rooms.
    Rooms(Target),
    /// Show a relayer's numbers.
    Stats(Target),
    /// Check a store, or a copy of one.
    Verify(Folder, Option<PathBuf>, Forks),
    /// Copy a store.
    Backup(Folder, PathBuf),
    /// Put a copy back.
    Restore(Folder, PathBuf, Occupied),
    /// Make a store's file smaller.
    Compact(Folder),
}

/// A command line.
#[derive(Debug)]
pub(crate) struct Cli {
    pub(crate) wanted: Wanted,
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    /// One JSON object per line.
    pub(crate) json: bool,
    /// What was given for each flag of a setting.
    pub(crate) flags: BTreeMap<&'static str, Vec<String>>,
}

impl Cli {
    /// Reads the command line; ends the process where it is wrong, or where help was asked for.
    pub(crate) fn parse() -> Self {
        let matches = command().get_matches();
        match matches.subcommand() {
            Some(("check-config", matches)) => Self::of(Wanted::CheckConfig, matches),
            Some(("init-config", _)) => Self::plain(Wanted::InitConfig),
            Some(("completions", matches)) => {
                let shell = matches.get_one("shell").copied().unwrap_or(Shell::Bash);
                Self::plain(Wanted::Completions(shell))
            }
            Some(("man", matches)) => {
                let folder = matches.get_one("output").cloned().unwrap_or_default();
                Self::plain(Wanted::Man(folder))
            }
            Some((name, matches)) => match operator::wanted(name, matches) {
                Some(wanted) => Self { json: matches.get_flag("json"), ..Self::plain(wanted) },
                None => Self::of(Wanted::Run, matches),
            },
            None => Self::of(Wanted::Run, &matches),
        }
    }

    /// A command that no setting changes.
    fn plain(wanted: Wanted) -> Self {
        Self { wanted, config: None, json: false, flags: BTreeMap::new() }
    }

    fn of(wanted: Wanted, matches: &ArgMatches) -> Self {
        let given = |setting: &Setting| {
            let words = matches.get_many::<String>(setting.flag);
            words.unwrap_or_default().cloned().collect::<Vec<_>>()
        };
        Self {
            wanted,
            config: matches.get_one("config").cloned(),
            json: matches.get_flag("json"),
            flags: SETTINGS.iter().map(|setting| (setting.flag, given(setting))).collect(),
        }
    }
}

/// The commands and their flags.
pub(crate) fn command() -> Command {
    let run = Command::new("run").about("Run until SIGTERM or SIGINT (the default)");
    let check = Command::new("check-config")
        .about("Show each setting and where it comes from, and whether they go together");
    let init = Command::new("init-config")
        .about("Print a configuration file with every setting and its default");
    let shell = Arg::new("shell")
        .required(true)
        .value_parser(value_parser!(Shell))
        .help("Whose completions");
    let completions =
        Command::new("completions").about("Print what completes commands in a shell").arg(shell);
    let output = Arg::new("output")
        .short('o')
        .long("output")
        .required(true)
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("The folder; made if it is not there");
    let man = Command::new("man").about("Write the manual's pages into a folder").arg(output);
    with_flags(Command::new("crdt-relayer"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Stores a room's signed operations and passes them on; can forge none")
        .after_help(EXAMPLES)
        .args_conflicts_with_subcommands(true)
        .subcommand(with_flags(run))
        .subcommand(with_flags(check))
        .subcommands(operator::commands())
        .subcommands([init, completions, man])
}

fn with_flags(command: Command) -> Command {
    command.args([config(), json()]).args(SETTINGS.iter().map(flag))
}

fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("CRDT_RELAYER_CONFIG")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file (TOML)")
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object per line")
}

fn flag(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        "" | "false" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let arg = Arg::new(setting.flag).long(setting.flag).help(format!("{}{default}", setting.help));
    match setting.kind {
        Kind::List => arg.value_name("WORD").action(ArgAction::Append),
        // On its own it means on.
        Kind::Switch => arg
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Choice(words) => arg.value_name("WORD").value_parser(words.to_vec()),
        Kind::Address => arg.value_name("ADDR"),
        Kind::Path => arg.value_name("PATH"),
        Kind::Text | Kind::Secret => arg.value_name("TEXT"),
        Kind::Count => arg.value_name("N"),
        Kind::Bytes => arg.value_name("BYTES"),
        Kind::Span => arg.value_name("TIME"),
        Kind::Rate => arg.value_name("N/s"),
    }
}
