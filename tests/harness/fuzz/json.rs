//! Canonical JSON: no bytes panic; what is accepted means what another parser reads, and has the
//! one encoding that a naive writer gives it; what is refused for its grammar is no JSON at all.

use std::fmt::Write;

use crdt_core::json::{Canonical, JsonError, Value};
use crdt_core::limits;

/// Separates two texts that are compared; in no UTF-8 text.
const SEPARATOR: u8 = 0xff;

/// Takes one text, or two to compare.
pub fn run(data: &[u8]) {
    let mut texts = data.splitn(2, |byte| *byte == SEPARATOR);
    let first = texts.next().and_then(check);
    let second = texts.next().and_then(check);
    if let (Some((first, a)), Some((second, b))) = (first, second) {
        assert_eq!(first == second, a == b, "two values share bytes, or one has two texts");
    }
}

/// Checks one text. Returns what it means and its canonical text, if it has one.
fn check(text: &[u8]) -> Option<(serde_json::Value, Canonical)> {
    let known = serde_json::from_slice::<serde_json::Value>(text);
    let value = match Value::parse(text, limits::DATA_DEPTH_MAX) {
        Ok(value) => value,
        Err(error) => {
            if let JsonError::Syntax { .. } | JsonError::Utf8 { .. } | JsonError::Surrogate { .. } =
                error
            {
                assert!(known.is_err(), "refused with {error}, and is JSON");
            }
            assert_eq!(Canonical::parse(text).err(), Some(error));
            return None;
        }
    };
    let known = known.expect("what is accepted is JSON");
    let canonical = Canonical::of(&value);
    assert_eq!(Canonical::parse(text).as_ref(), Ok(&canonical));
    assert_eq!(canonical.as_str(), naive(&known), "the naive writer writes the same");
    assert_eq!(canonical.depth(), value.depth());
    assert!(canonical.as_str().len() <= text.len(), "no text is shorter than the canonical one");

    let again = Value::parse(canonical.as_str().as_bytes(), limits::DATA_DEPTH_MAX);
    assert_eq!(again.as_ref(), Ok(&value), "the canonical text means the same");
    assert_eq!(Canonical::parse(canonical.as_str().as_bytes()).as_ref(), Ok(&canonical));
    if let Some(shallower) = value.depth().checked_sub(1) {
        let refused = Value::parse(text, shallower);
        assert!(matches!(refused, Err(JsonError::Depth { .. })), "{refused:?}");
    }
    Some((known, canonical))
}

/// RFC 8785 for a value whose numbers are integers, by the letter and with no thought of speed.
fn naive(value: &serde_json::Value) -> String {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match value {
        Null | Bool(_) | Number(_) => value.to_string(),
        String(text) => quoted(text),
        Array(values) => {
            format!("[{}]", values.iter().map(naive).collect::<Vec<_>>().join(","))
        }
        Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
            let members: Vec<_> = members
                .into_iter()
                .map(|(key, value)| format!("{}:{}", quoted(key), naive(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = std::string::String::from('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => write!(out, "\\u{:04x}", u32::from(char)).unwrap(),
            _ => out.push(char),
        }
    }
    out + "\""
}
