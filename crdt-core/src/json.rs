//! Canonical JSON: a strict parser and one encoding per value.
//!
//! The profile is RFC 8785 with integers only. This parser decides which bytes are an op, so it is
//! part of the protocol: it must not change when a library does
//! (`docs/adr/0003-canonical-json.md`). Source: `docs/PROTOCOL.md`, "Canonical JSON".
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

mod parser;
mod scan;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::limits;

pub(crate) use scan::Scanner;

/// A text is not JSON of the canonical profile. Positions are bytes from the start of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// Valid up to here.
        at: usize,
    },
    /// The text does not follow the JSON grammar.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// The first byte that does not fit.
        at: usize,
    },
    /// Arrays and objects are nested deeper than allowed.
    #[error("nested deeper than {max} at byte {at}")]
    Depth {
        /// The deepest nesting allowed.
        max: usize,
        /// Where it went deeper.
        at: usize,
    },
    /// A fraction, an exponent, `-0`, or an integer beyond ±(2^53 − 1).
    #[error(
        "number that is no integer within ±9007199254740991 at byte {at}; write it as a string"
    )]
    Number {
        /// Where the number starts.
        at: usize,
    },
    /// Half of a surrogate pair.
    #[error("half of a surrogate pair at byte {at}")]
    Surrogate {
        /// Where the escape starts.
        at: usize,
    },
    /// One object has one key twice.
    #[error("duplicate key in the object that ends at byte {at}")]
    DuplicateKey {
        /// Where the object ends.
        at: usize,
    },
}

/// A JSON value of the profile, borrowing what it can from the text it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer within ±(2^53 − 1).
    Int(i64),
    /// A string of Unicode scalar values.
    Str(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object: its members in canonical order, no key twice.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Parses one value that fills `bytes`, nested at most `depth_max` deep.
    ///
    /// # Errors
    /// Whatever is not JSON of the profile.
    pub fn parse(bytes: &'a [u8], depth_max: usize) -> Result<Self, JsonError> {
        parser::parse(utf8(bytes)?, depth_max)
    }

    /// Appends the canonical encoding.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(number) => write_int(*number, out),
            Self::Str(text) => write_string(text, out),
            Self::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// How deep arrays and objects nest: 0 for a scalar.
    pub fn depth(&self) -> usize {
        let deepest = match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Str(_) => return 0,
            Self::Array(values) => values.iter().map(Self::depth).max(),
            Self::Object(members) => members.iter().map(|(_, value)| value.depth()).max(),
        };
        deepest.unwrap_or(0).saturating_add(1)
    }

    /// The value of a member, if this is an object that has it.
    pub fn member(&self, name: &str) -> Option<&Value<'a>> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The number, if this is an integer.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The number, if this is an integer of at least 0.
    pub fn as_count(&self) -> Option<u64> {
        self.as_int().and_then(|number| u64::try_from(number).ok())
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        if let Self::Array(values) = self { Some(values) } else { None }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, JsonError> {
    core::str::from_utf8(bytes).map_err(|error| JsonError::Utf8 { at: error.valid_up_to() })
}

/// One JSON value as canonical text.
#[derive(Clone, Debug)]
pub struct Canonical {
    text: String,
    /// Elements, where they were counted already.
    counted: Option<usize>,
}

impl PartialEq for Canonical {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Canonical {}

impl Canonical {
    /// Parses a value nested at most [`limits::DATA_DEPTH_MAX`] deep and encodes it canonically.
    ///
    /// # Errors
    /// Whatever is not JSON of the profile.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        Ok(Self::of(&Value::parse(bytes, limits::DATA_DEPTH_MAX)?))
    }

    /// The canonical encoding of a value.
    pub fn of(value: &Value<'_>) -> Self {
        let mut text = String::new();
        value.write(&mut text);
        // It may be kept for long.
        text.shrink_to_fit();
        let counted = match value {
            Value::Array(values) => Some(values.len()),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::Object(_) => None,
        };
        Self { text, counted }
    }

    /// Takes text on trust: put together from canonical values, or read back from this node's own
    /// store. What depends on it being canonical checks a hash over it.
    pub fn trusted(text: String) -> Self {
        Self { text, counted: None }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Elements, if it is an array.
    pub fn elements(&self) -> Option<usize> {
        self.counted.or_else(|| count_elements(&self.text))
    }

    /// How deep arrays and objects nest: 0 for a scalar, the largest number if deeper than a frame.
    pub fn depth(&self) -> usize {
        let parsed = Value::parse(self.text.as_bytes(), limits::FRAME_DEPTH_MAX);
        parsed.map_or(usize::MAX, |value| value.depth())
    }
}

impl fmt::Display for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Elements of a canonical array, found without parsing them: commas at nesting 1 outside strings.
fn count_elements(array: &str) -> Option<usize> {
    let inner = array.strip_prefix('[')?.strip_suffix(']')?;
    let (mut commas, mut nesting, mut in_string, mut escaped) = (0_usize, 0_i32, false, false);
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => nesting = nesting.saturating_add(1),
            b']' | b'}' => nesting = nesting.saturating_sub(1),
            b',' if nesting == 0 => commas = commas.saturating_add(1),
            _ => {}
        }
    }
    Some(if inner.is_empty() { 0 } else { commas.saturating_add(1) })
}

pub(crate) fn write_int(number: i64, out: &mut String) {
    let written = write!(out, "{number}");
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)) {
        let Some((plain, tail)) = rest.split_at_checked(at) else { break };
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\t') => out.push_str("\\t"),
            Some('\n') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\r') => out.push_str("\\r"),
            Some(control) => {
                let written = write!(out, "\\u{:04x}", u32::from(control));
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Result<String, JsonError> {
        Canonical::parse(text.as_bytes()).map(|canonical| canonical.to_string())
    }

    #[test]
    fn key_order_and_white_space_do_not_matter() {
        let text = canonical("{ \"b\" : [ 1 , null ] ,\r\n\t\"a\" : true }").unwrap();
        assert_eq!(text, r#"{"a":true,"b":[1,null]}"#);
    }

    #[test]
    fn keys_sort_by_utf16_units() {
        let text = canonical("{\"\u{fb33}\":1,\"\u{1f600}\":2,\"a\":3}").unwrap();
        assert_eq!(text, "{\"a\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    #[test]
    fn escapes_have_one_spelling() {
        let text = canonical(r#""\u0041\/\u00e9\ud83d\ude00\u001f\b\f\n\r\t\"\\\u007f""#).unwrap();
        assert_eq!(text, "\"A/é😀\\u001f\\b\\f\\n\\r\\t\\\"\\\\\u{7f}\"");
    }

    #[test]
    fn only_exact_integers_are_numbers() {
        for good in ["0", "-1", "9007199254740991", "-9007199254740991"] {
            assert_eq!(canonical(good).as_deref(), Ok(good));
        }
        for bad in ["-0", "1.0", "1e3", "1E3", "9007199254740992", "-9007199254740992", "1e999"] {
            assert_eq!(canonical(bad), Err(JsonError::Number { at: 0 }), "{bad}");
        }
        let huge = "9".repeat(400);
        assert_eq!(canonical(&huge), Err(JsonError::Number { at: 0 }));
        for bad in ["01", "-", "+1", "-a", ".5", "--1"] {
            assert!(matches!(canonical(bad), Err(JsonError::Syntax { .. })), "{bad}");
        }
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_level_and_spelling() {
        for bad in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"\u0061":2}}]"#] {
            assert!(matches!(canonical(bad), Err(JsonError::DuplicateKey { .. })), "{bad}");
        }
    }

    #[test]
    fn half_surrogates_are_refused() {
        for bad in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\udc00\ud800""#] {
            assert_eq!(canonical(bad), Err(JsonError::Surrogate { at: 1 }), "{bad}");
        }
        assert_eq!(
            Canonical::parse(b"\"\xed\xa0\x80\""),
            Err(JsonError::Utf8 { at: 1 }),
            "a surrogate as raw bytes is not UTF-8"
        );
    }

    #[test]
    fn grammar_is_strict() {
        for bad in [
            "",
            " ",
            "nul",
            "True",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "[1 2]",
            "\"a",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "{\"a\"}",
            "1 2",
            "\u{feff}1",
            "[",
            "{",
            "[1",
            "\"\\u00é1\"",
            "// a\n1",
            "NaN",
            "\u{a0}1",
        ] {
            assert!(matches!(canonical(bad), Err(JsonError::Syntax { .. })), "{bad:?}");
        }
    }

    #[test]
    fn nesting_stops_exactly_at_the_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let max = limits::DATA_DEPTH_MAX;
        assert!(canonical(&nested(max)).is_ok());
        assert_eq!(canonical(&nested(max + 1)), Err(JsonError::Depth { max, at: max }));
        assert_eq!(canonical(&"[".repeat(1_000_000)), Err(JsonError::Depth { max, at: max }));
        let parsed = nested(7);
        assert_eq!(Value::parse(parsed.as_bytes(), 7).unwrap().depth(), 7);
    }

    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-limits::INTEGER_MAX..=limits::INTEGER_MAX).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_text_means_the_same_and_is_a_fixpoint(value in any_value()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let once = canonical(&pretty).unwrap();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&once).unwrap(), &value);
            prop_assert_eq!(canonical(&once).unwrap(), once);
        }

        #[test]
        fn values_that_differ_never_share_bytes(a in any_value(), b in any_value()) {
            let text = |value: &serde_json::Value| canonical(&value.to_string()).unwrap();
            prop_assert_eq!(a == b, text(&a) == text(&b));
        }

        #[test]
        fn no_bytes_panic_and_what_parses_is_json(bytes in any::<Vec<u8>>()) {
            if Canonical::parse(&bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            }
        }

        #[test]
        fn nothing_that_nearly_is_json_panics(text in r#"[\[\]{}:,"\\udDeE0-9a-f.+\- ntrl]{0,40}"#) {
            if canonical(&text).is_ok() {
                let known = serde_json::from_str::<serde_json::Value>(&text);
                prop_assert!(known.is_ok(), "{}", format!("{text:?}"));
            }
        }
    }
}
