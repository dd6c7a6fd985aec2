//! The settings of this process: gathered when it starts, and once more when it is told to.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crdt_relayer::config::{self, Config, ConfigError, Resolved, Setting, resolve};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Where this process's settings come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) flags: BTreeMap<&'static str, Vec<String>>,
    pub(crate) file: Option<PathBuf>,
}

impl Sources {
    /// Gathers all settings as they are now.
    pub(crate) fn gather(&self) -> Result<Resolved, Failure> {
        let file = match &self.file {
            None => None,
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| Failure {
                    sentence: format!("the configuration {}: {error}", path.display()),
                    hint: "name a file that can be read, or leave --config out".into(),
                    code: 3,
                })?;
                Some((path.display().to_string(), text))
            }
        };
        // A variable that is not UTF-8 is none of ours.
        let environment = env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        resolve(&self.flags, &environment.collect(), file).map_err(Failure::from)
    }
}

/// The folder of a relayer to which none was given.
pub(crate) fn default_data() -> Result<PathBuf, Failure> {
    dirs::data_dir().map(|dir| dir.join("crdt-relayer")).ok_or_else(|| Failure {
        sentence: "this user has no data folder".into(),
        hint: "name a folder with --data DIR".into(),
        code: 3,
    })
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { sentence: error.to_string(), hint: error.hint, code: 3 }
    }
}

/// What counts for a setting, for people: of the folder also where nobody named one.
fn shown(setting: &Setting, value: &config::Value) -> String {
    match (setting.key, value, default_data()) {
        ("server.data", config::Value::None, Ok(folder)) => folder.display().to_string(),
        _ => setting.kind.show(value).to_string(),
    }
}

/// Every setting as a table, then whether they go together.
pub(crate) fn table(settings: &Resolved) -> String {
    let rows = settings
        .iter()
        .map(|(setting, value, origin)| (setting.key, shown(setting, value), origin.to_string()));
    let rows: Vec<_> = rows.collect();
    let keys = rows.iter().map(|(key, ..)| key.len()).max().unwrap_or_default();
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or_default();
    rows.iter().fold(String::new(), |mut text, (key, value, origin)| {
        // Writing to a string cannot fail.
        let _ok = writeln!(text, "{key:keys$}  {value:values$}  {origin}");
        text
    })
}

/// The same for programs.
pub(crate) fn report(settings: &Resolved, usable: &Result<Config, ConfigError>) -> Value {
    let settings = settings.iter().map(|(setting, value, origin)| {
        json!({
            "key": setting.key,
            "value": shown(setting, value),
            "origin": origin.to_string(),
            "variable": setting.variable(),
            "flag": format!("--{}", setting.flag),
            "live": setting.live,
        })
    });
    let problem = usable.as_ref().err();
    json!({
        "schema": "crdt-relayer/config/1",
        "ok": problem.is_none(),
        "code": if problem.is_none() { 0 } else { 3 },
        "problem": problem.map(|problem| json!({
            "place": problem.place, "problem": problem.problem, "hint": problem.hint,
        })),
        "settings": settings.collect::<Vec<_>>(),
    })
}
