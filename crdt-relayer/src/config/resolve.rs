//! Which of flag, environment, file and default counts for each setting.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::setting::{SETTINGS, Setting};
use super::value::{Kind, Value};
use super::{ConfigError, file};

/// What the names of the environment's variables start with.
pub const ENVIRONMENT: &str = "CRDT_RELAYER_";

/// The variable that names the configuration file.
const CONFIG: &str = "CRDT_RELAYER_CONFIG";

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was not given.
    Default,
    /// This file and line.
    File(String, usize),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name, line) => write!(f, "{name}, line {line}"),
            Self::Environment(name) => write!(f, "environment, {name}"),
            Self::Flag(flag) => write!(f, "flag, --{flag}"),
        }
    }
}

/// Every setting, what it is and where it comes from.
#[derive(Clone, Debug)]
pub struct Resolved(BTreeMap<&'static str, (Value, Origin)>);

/// Gathers all settings. `flags` and `environment` hold what was written there; `file` is the
/// configuration file's name and text, if there is one.
///
/// # Errors
/// A setting that does not exist or cannot be read.
pub fn resolve(
    flags: &BTreeMap<&'static str, Vec<String>>,
    environment: &BTreeMap<String, String>,
    file: Option<(&str, &str)>,
) -> Result<Resolved, ConfigError> {
    let mut settings = BTreeMap::new();
    for setting in SETTINGS {
        let value = parse(setting, &Origin::Default, setting.default)?;
        settings.insert(setting.key, (value, Origin::Default));
    }
    if let Some((name, text)) = file {
        for file::Given { setting, value, line } in file::read(name, text)? {
            settings.insert(setting.key, (value, Origin::File(name.to_owned(), line)));
        }
    }
    let own = environment.iter().filter(|(name, _)| name.starts_with(ENVIRONMENT));
    for (name, text) in own.filter(|(name, _)| *name != CONFIG) {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == *name) else {
            return Err(unknown_variable(name));
        };
        let origin = Origin::Environment(name.clone());
        settings.insert(setting.key, (parse(setting, &origin, text)?, origin));
    }
    for setting in SETTINGS {
        if let Some(given) = flags.get(setting.flag).filter(|given| !given.is_empty()) {
            let origin = Origin::Flag(setting.flag);
            let value = if setting.kind == Kind::List {
                Value::List(given.clone())
            } else {
                parse(setting, &origin, &given.join(","))?
            };
            settings.insert(setting.key, (value, origin));
        }
    }
    Ok(Resolved(settings))
}

fn parse(setting: &Setting, origin: &Origin, text: &str) -> Result<Value, ConfigError> {
    setting.parse(text).map_err(|problem| {
        ConfigError::new(origin.to_string(), format!("{}: {problem}", setting.key), setting.hint())
    })
}

fn unknown_variable(name: &str) -> ConfigError {
    let variables: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let hint = nearest(name, variables.iter().map(String::as_str)).map_or_else(
        || "crdt-relayer check-config lists every setting".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    ConfigError::new(format!("environment, {name}"), "there is no such setting", hint)
}

/// The known name that is most like another, if at least what follows its section is rather like
/// it.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let last = |name: &'k str| name.rsplit('.').next().unwrap_or(name);
    let wanted = name.rsplit('.').next().unwrap_or(name);
    let whole = |known: &str| strsim::jaro_winkler(name, known);
    known
        .filter(|known| strsim::jaro_winkler(wanted, last(known)) > 0.8)
        .max_by(|a, b| whole(a).total_cmp(&whole(b)))
}

impl Resolved {
    /// Every setting with its value and where it comes from.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Value, &Origin)> {
        SETTINGS.iter().filter_map(|setting| {
            let (value, origin) = self.0.get(setting.key)?;
            Some((setting, value, origin))
        })
    }

    /// A word of a choice, and whether anybody chose it.
    pub fn choice(&self, key: &str) -> (String, bool) {
        let given = self.0.get(key).is_some_and(|(_, origin)| *origin != Origin::Default);
        (self.text(key).unwrap_or_default(), given)
    }

    /// Where the relayer listens.
    pub fn listen(&self) -> SocketAddr {
        self.address("server.listen")
    }

    /// Whether what it serves is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.path("tls.cert").is_some()
    }

    /// The folder of its state, if one was given.
    pub fn data(&self) -> Option<PathBuf> {
        self.path("server.data")
    }

    fn value(&self, key: &str) -> &Value {
        debug_assert!(self.0.contains_key(key), "{key} is a setting");
        self.0.get(key).map_or(&Value::None, |(value, _)| value)
    }

    /// Where a setting comes from, for an error.
    pub(crate) fn place(&self, key: &str) -> String {
        self.0.get(key).map(|(_, origin)| origin.to_string()).unwrap_or_default()
    }

    /// An address.
    pub(super) fn address(&self, key: &str) -> SocketAddr {
        if let Value::Address(address) = self.value(key) {
            *address
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        }
    }

    /// Words, if set.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        if let Value::Text(text) = self.value(key) { Some(text.clone()) } else { None }
    }

    /// A path, if set.
    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A list.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        if let Value::List(words) = self.value(key) { words.clone() } else { Vec::new() }
    }

    /// Whether a switch is on.
    pub(crate) fn switch(&self, key: &str) -> bool {
        *self.value(key) == Value::Switch(true)
    }

    /// A number, if set.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        if let Value::Number(number) = self.value(key) { Some(*number) } else { None }
    }
}
