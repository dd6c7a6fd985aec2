//! What a setting can be, as it is written and as it is used.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use bytesize::ByteSize;
use jiff::SignedDuration;

use crate::address::holds_credentials;

/// What an address to listen on is.
const ADDRESS: &str = "an IP address with a port, as 127.0.0.1:8080; names are not looked up";

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ADDRESS:PORT`.
    Address,
    /// A file or folder.
    Path,
    /// Words.
    Text,
    /// Words that must not be shown.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several words; with commas in one line.
    List,
    /// `true` or `false`.
    Switch,
    /// A number.
    Count,
    /// A number of bytes, as `64KiB`.
    Bytes,
    /// A time, as `30s`.
    Span,
    /// So many a second, as `50/s`.
    Rate,
}

/// A setting as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not set.
    None,
    /// An address.
    Address(SocketAddr),
    /// Words or a path.
    Text(String),
    /// Several words.
    List(Vec<String>),
    /// On or off.
    Switch(bool),
    /// A count, bytes, milliseconds, or so many a second.
    Number(u64),
}

impl Kind {
    /// Reads what was written. Nothing written means not set.
    ///
    /// # Errors
    /// What is expected instead.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(if self == Self::List { Value::List(Vec::new()) } else { Value::None });
        }
        let expected = |what: &str| format!("{text:?} is not {what}");
        match self {
            Self::Address => {
                SocketAddr::from_str(text).map(Value::Address).map_err(|_| expected(ADDRESS))
            }
            Self::Path | Self::Text | Self::Secret => Ok(Value::Text(text.to_owned())),
            Self::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(words) => Err(expected(&format!("one of {}", words.join(", ")))),
            Self::List => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Ok(Value::List(words.map(str::to_owned).collect()))
            }
            Self::Switch => match text {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err(expected("true or false")),
            },
            Self::Count => {
                text.parse().map(Value::Number).map_err(|_| expected("a number, as 4096"))
            }
            Self::Bytes => ByteSize::from_str(text)
                .map(|size| Value::Number(size.as_u64()))
                .map_err(|_| expected("a number of bytes, as 64KiB")),
            Self::Span => SignedDuration::from_str(text)
                .ok()
                .and_then(|span| u64::try_from(span.as_millis()).ok())
                .filter(|ms| *ms > 0)
                .map(Value::Number)
                .ok_or_else(|| expected("a time, as 30s")),
            Self::Rate => text
                .strip_suffix("/s")
                .unwrap_or(text)
                .parse()
                .map(Value::Number)
                .map_err(|_| expected("so many a second, as 50/s")),
        }
    }

    /// What was written, for people: in the unit it is written in, and nothing that is secret.
    pub fn show(self, value: &Value) -> Shown<'_> {
        Shown { kind: self, value }
    }
}

/// What stands for a value that is secret.
const NOT_SHOWN: &str = "(not shown)";

/// A value that can be shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'v> {
    kind: Kind,
    value: &'v Value,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::None => f.write_str("-"),
            Value::Text(_) if self.kind == Kind::Secret => f.write_str(NOT_SHOWN),
            Value::Text(text) => f.write_str(text),
            Value::Address(address) => write!(f, "{address}"),
            Value::List(words) if words.is_empty() => f.write_str("-"),
            Value::List(words) => {
                let shown =
                    words.iter().map(|word| if holds_credentials(word) { NOT_SHOWN } else { word });
                f.write_str(&shown.collect::<Vec<_>>().join(","))
            }
            Value::Switch(on) => write!(f, "{on}"),
            Value::Number(number) => match self.kind {
                Kind::Bytes => write!(f, "{}", ByteSize(*number).display().iec()),
                Kind::Span => {
                    let ms = i64::try_from(*number).unwrap_or(i64::MAX);
                    write!(f, "{:#}", SignedDuration::from_millis(ms))
                }
                Kind::Rate => write!(f, "{number}/s"),
                Kind::Address
                | Kind::Path
                | Kind::Text
                | Kind::Secret
                | Kind::Choice(_)
                | Kind::List
                | Kind::Switch
                | Kind::Count => write!(f, "{number}"),
            },
        }
    }
}
