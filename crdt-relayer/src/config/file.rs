//! The configuration file: TOML, in which every key is known.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::setting::{SETTINGS, Setting};
use super::value::{Kind, Value};
use super::{ConfigError, resolve};

/// A setting that a file holds.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) line: usize,
}

/// Reads a file's text. `name` is the file's, for errors.
pub(super) fn read(name: &str, text: &str) -> Result<Vec<Given>, ConfigError> {
    let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let place = |at: usize| format!("{name}, line {}", line(at));
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let hint = "a section is [limits], a setting is connections = 4096";
        ConfigError::new(place(at), error.message(), hint)
    })?;
    let mut given = Vec::new();
    for (section, settings) in table.get_ref() {
        let Some(settings) = settings.get_ref().as_table() else {
            return Err(unknown(place(section.span().start), section.get_ref(), ""));
        };
        for (key, value) in settings {
            let (name, at) = (format!("{}.{}", section.get_ref(), key.get_ref()), key.span().start);
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == name) else {
                return Err(unknown(place(at), &name, section.get_ref()));
            };
            let value = value_of(setting, value).map_err(|problem| {
                ConfigError::new(place(at), format!("{name}: {problem}"), setting.hint())
            })?;
            given.push(Given { setting, value, line: line(at) });
        }
    }
    Ok(given)
}

fn unknown(place: String, name: &str, section: &str) -> ConfigError {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    let of_section = keys().filter(|key| key.split('.').next() == Some(section));
    let hint = match resolve::nearest(name, keys()) {
        Some(near) => format!("did you mean {near}?"),
        None if section.is_empty() => "crdt-relayer check-config lists every setting".to_owned(),
        None => format!("this section has {}", of_section.collect::<Vec<_>>().join(", ")),
    };
    ConfigError::new(place, format!("there is no setting {name}"), hint)
}

fn value_of(setting: &Setting, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let kind = setting.kind;
    let word = |value: &Spanned<DeValue<'_>>| {
        let value = value.get_ref();
        let wrong = || format!("{} where words are expected", with_article(value.type_str()));
        value.as_str().map(str::to_owned).ok_or_else(wrong)
    };
    match (kind, value.get_ref()) {
        (Kind::List, DeValue::Array(words)) => {
            words.iter().map(word).collect::<Result<_, _>>().map(Value::List)
        }
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
        (Kind::Count | Kind::Bytes | Kind::Rate, DeValue::Integer(number)) => {
            setting.parse(number.as_str())
        }
        (Kind::Switch | Kind::Count, DeValue::String(text)) => Err(quoted(text)),
        (_, DeValue::String(text)) => setting.parse(text),
        (_, other) => Err(format!("{} is not expected here", with_article(other.type_str()))),
    }
}

/// The name of a kind of TOML value, as it stands in a sentence.
fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn quoted(text: &DeString<'_>) -> String {
    format!("write {text} without the quotes")
}
