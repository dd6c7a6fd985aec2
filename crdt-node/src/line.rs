//! The grammar of a line, the same at the console and in a pipe.
//! Source: `docs/PROTOCOL.md`, "Transactions of the console".

use std::borrow::Cow;

use crdt_core::json::{Canonical, JsonError, Value};
use crdt_core::limits;

/// Longest line in bytes; longer ones are refused unread.
pub const LINE_BYTES_MAX: usize = 128 * 1024;

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing but white space.
    Empty,
    /// A transaction.
    Entry(Canonical),
    /// A command: the word after `/` and the rest.
    Command(String, String),
}

/// Why a line is no transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It starts like a JSON object and is none that can be signed.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// It starts with `pay` and does not go on as a payment.
    #[error("a payment is: pay TO AMOUNT [MEMO], the amount a decimal number like 12.50")]
    Pay,
    /// It is longer than [`LINE_BYTES_MAX`].
    #[error("a line has at most 131072 bytes")]
    Size,
    /// It is not UTF-8.
    #[error("the line is not UTF-8")]
    Utf8,
}

impl LineError {
    /// The code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Pay => "pay",
            Self::Size => "size",
            Self::Utf8 => "utf8",
        }
    }
}

/// Reads a line.
///
/// # Errors
/// [`LineError`]; nothing is recorded then.
pub fn parse(line: &str) -> Result<Line, LineError> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Ok(Line::Empty);
    }
    if let Some(command) = trimmed.strip_prefix('/') {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        return Ok(Line::Command(word.to_owned(), rest.trim().to_owned()));
    }
    if trimmed.starts_with('{') {
        // In an op it stands in an array.
        let value = Value::parse(trimmed.as_bytes(), limits::DATA_DEPTH_MAX - 1)?;
        return Ok(Line::Entry(Canonical::of(&value)));
    }
    let mut words = trimmed.splitn(2, char::is_whitespace);
    match (words.next(), words.next()) {
        (Some("pay"), Some(rest)) => payment(rest.trim()).map(Line::Entry),
        _ => Ok(Line::Entry(object(&[("type", "note"), ("text", trimmed)]))),
    }
}

fn payment(rest: &str) -> Result<Canonical, LineError> {
    let (to, rest) = rest.split_once(char::is_whitespace).ok_or(LineError::Pay)?;
    let rest = rest.trim_start();
    let (amount, memo) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !is_amount(amount) {
        return Err(LineError::Pay);
    }
    let mut members = vec![("type", "pay"), ("to", to), ("amount", amount)];
    let memo = memo.trim();
    let quoted = memo.strip_prefix('"').and_then(|memo| memo.strip_suffix('"'));
    let memo = quoted.unwrap_or(memo);
    if !memo.is_empty() {
        members.push(("memo", memo));
    }
    Ok(object(&members))
}

/// Digits with at most one point between them.
fn is_amount(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// An object of strings, canonical: members sorted by name.
fn object(members: &[(&str, &str)]) -> Canonical {
    let mut members: Vec<(Cow<'_, str>, Value<'_>)> =
        members.iter().map(|(name, text)| ((*name).into(), Value::Str((*text).into()))).collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    Canonical::of(&Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> String {
        match parse(line) {
            Ok(Line::Entry(entry)) => entry.to_string(),
            other => panic!("{line:?} became {other:?}"),
        }
    }

    #[test]
    fn a_payment_keeps_its_amount_as_it_was_typed() {
        let paid = r#"{"amount":"12.50","memo":"for the rent","to":"bob","type":"pay"}"#;
        assert_eq!(entry("pay bob 12.50 for the rent"), paid);
        assert_eq!(entry("  pay  bob  12.50  \"for the rent\"  "), paid);
        assert_eq!(entry("pay bob 3"), r#"{"amount":"3","to":"bob","type":"pay"}"#);
        for bad in ["pay bob", "pay bob x", "pay bob -1", "pay bob 1.", "pay bob .5", "pay bob 1e3"]
        {
            assert_eq!(parse(bad), Err(LineError::Pay), "{bad}");
        }
    }

    #[test]
    fn an_object_is_recorded_as_it_stands() {
        assert_eq!(entry(r#"{"b":1, "a":[true]}"#), r#"{"a":[true],"b":1}"#);
        assert!(matches!(parse(r#"{"a":1.5}"#), Err(LineError::Json(JsonError::Number { .. }))));
        assert!(matches!(parse(r#"{"a":1"#), Err(LineError::Json(JsonError::Syntax { .. }))));
    }

    #[test]
    fn any_other_text_is_a_note() {
        assert_eq!(entry("hello \"you\""), r#"{"text":"hello \"you\"","type":"note"}"#);
        assert_eq!(entry("pay"), r#"{"text":"pay","type":"note"}"#);
        assert_eq!(entry("[1]"), r#"{"text":"[1]","type":"note"}"#);
        assert_eq!(entry("payday"), r#"{"text":"payday","type":"note"}"#);
        assert_eq!(parse(" \t"), Ok(Line::Empty));
    }

    #[test]
    fn a_slash_starts_a_command() {
        let command = |word: &str, rest: &str| Ok(Line::Command(word.into(), rest.into()));
        assert_eq!(parse("/log 5"), command("log", "5"));
        assert_eq!(parse("/quit"), command("quit", ""));
    }
}
