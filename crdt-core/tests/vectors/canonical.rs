//! `canonical.json`: texts and the one encoding of what they say, or why they are refused.

use std::collections::BTreeSet;

use crdt_core::json::{Canonical, JsonError};
use serde::{Deserialize, Serialize};

use crate::Vectors;

mod strings;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn good(name: impl Into<String>, input: impl Into<String>, canonical: impl Into<String>) -> Case {
    let (input, canonical) = (Some(input.into()), Some(canonical.into()));
    Case { name: name.into(), input, input_hex: None, canonical, error: None }
}

fn bad(name: impl Into<String>, input: impl Into<String>, error: &str) -> Case {
    let (input, error) = (Some(input.into()), Some(error.into()));
    Case { name: name.into(), input, input_hex: None, canonical: None, error }
}

fn bad_bytes(name: &str, input: &[u8]) -> Case {
    let input_hex = Some(base16ct::lower::encode_string(input));
    Case { name: name.into(), input: None, input_hex, canonical: None, error: Some("utf8".into()) }
}

fn name_of(error: JsonError) -> &'static str {
    match error {
        JsonError::Utf8 { .. } => "utf8",
        JsonError::Syntax { .. } => "syntax",
        JsonError::Depth { .. } => "depth",
        JsonError::Number { .. } => "number",
        JsonError::Surrogate { .. } => "surrogate",
        JsonError::DuplicateKey { .. } => "duplicate-key",
    }
}

impl Vectors for File {
    const FILE: &str = "canonical.json";

    fn make() -> Self {
        let parts = [
            values(),
            white_space(),
            keys(),
            duplicate_keys(),
            numbers(),
            nesting(),
            grammar(),
            strings::cases(),
        ];
        Self { cases: parts.into_iter().flatten().collect() }
    }

    fn check(&self) {
        let mut errors = BTreeSet::new();
        for case in &self.cases {
            let text = case.input.as_ref().map(|text| text.clone().into_bytes());
            let hex = case.input_hex.as_ref().map(|hex| base16ct::lower::decode_vec(hex).unwrap());
            let bytes = text.xor(hex).expect("a case has one input");
            match Canonical::parse(&bytes) {
                Ok(canonical) => {
                    assert_eq!(
                        Some(canonical.as_str()),
                        case.canonical.as_deref(),
                        "{}",
                        case.name
                    );
                    let again = Canonical::parse(canonical.as_str().as_bytes());
                    assert_eq!(again.as_ref(), Ok(&canonical), "{}: encoded again", case.name);
                }
                Err(error) => {
                    assert_eq!(Some(name_of(error)), case.error.as_deref(), "{}", case.name);
                    errors.insert(name_of(error));
                }
            }
        }
        assert_eq!(errors.len(), 6, "every error has a case");
    }
}

fn values() -> Vec<Case> {
    vec![
        good("null", "null", "null"),
        good("true", "true", "true"),
        good("false", "false", "false"),
        good("empty array", "[]", "[]"),
        good("empty object", "{}", "{}"),
        good("empty string", r#""""#, r#""""#),
        good("order of elements is kept", "[3,1,2]", "[3,1,2]"),
        good("one element twice", "[1,1]", "[1,1]"),
        good("null is a value", r#"{"a":null}"#, r#"{"a":null}"#),
        good("all types", r#"[null,true,false,0,"",[],{}]"#, r#"[null,true,false,0,"",[],{}]"#),
    ]
}

fn white_space() -> Vec<Case> {
    let mut cases = vec![
        good(
            "white space around every token",
            " \t\n\r[ 1 ,\t{ \"a\"\n:\r2 , \"b\" : [ ] } , { } ]\n",
            r#"[1,{"a":2,"b":[]},{}]"#,
        ),
        good("white space in strings is kept", r#"[" a  b "]"#, r#"[" a  b "]"#),
        good("NBSP in a string is kept", "\"\u{a0}\"", "\"\u{a0}\""),
        good("BOM in a string is kept", "\"\u{feff}\"", "\"\u{feff}\""),
    ];
    for (name, space) in [
        ("BOM", '\u{feff}'),
        ("NBSP", '\u{a0}'),
        ("NUL", '\0'),
        ("vertical tab", '\u{b}'),
        ("form feed", '\u{c}'),
        ("next line", '\u{85}'),
        ("line separator", '\u{2028}'),
        ("ideographic space", '\u{3000}'),
        ("zero width space", '\u{200b}'),
    ] {
        cases.push(bad(format!("{name} before a value"), format!("{space}1"), "syntax"));
        cases.push(bad(format!("{name} after a value"), format!("1{space}"), "syntax"));
    }
    cases
}

fn keys() -> Vec<Case> {
    vec![
        good("keys are sorted", r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        good(
            "keys are sorted at every level",
            r#"[{"b":{"d":1,"c":2},"a":[{"f":3,"e":4}]}]"#,
            r#"[{"a":[{"e":4,"f":3}],"b":{"c":2,"d":1}}]"#,
        ),
        good(
            "a prefix sorts first, upper case before lower",
            r#"{"b":1,"aa":2,"a":3,"":4,"B":5}"#,
            r#"{"":4,"B":5,"a":3,"aa":2,"b":1}"#,
        ),
        good("digits sort as text", r#"{"9":1,"10":2,"1":3}"#, r#"{"1":3,"10":2,"9":1}"#),
        good("keys are sorted after decoding", r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        good(
            "the example of RFC 8785",
            concat!(
                r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter "#,
                r#"Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","#,
                r#""\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
            ),
            concat!(
                r#"{"\r":"Carriage Return","1":"One","#,
                "\"\u{80}\":\"Control\",\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",",
                "\"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Emoji: Grinning Face\",",
                "\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
            ),
        ),
        good(
            "UTF-16 order: a pair sorts before U+E000, by code point it would be after",
            "{\"\u{e000}\":1,\"\u{10ffff}\":2,\"\u{d7ff}\":3}",
            "{\"\u{d7ff}\":3,\"\u{10ffff}\":2,\"\u{e000}\":1}",
        ),
        good(
            "UTF-16 order after a common start",
            "{\"a\u{ffff}\":1,\"a\u{10000}\":2,\"a\":3}",
            "{\"a\":3,\"a\u{10000}\":2,\"a\u{ffff}\":1}",
        ),
        good(
            "pairs that differ in the second half",
            "{\"\u{1f601}\":1,\"\u{1f600}\":2}",
            "{\"\u{1f600}\":2,\"\u{1f601}\":1}",
        ),
        good(
            "no normalisation: composed and decomposed are two keys",
            "{\"\u{e9}\":1,\"e\u{301}\":2}",
            "{\"e\u{301}\":2,\"\u{e9}\":1}",
        ),
        good(
            "keys that mean something to JavaScript",
            r#"{"constructor":1,"__proto__":2}"#,
            r#"{"__proto__":2,"constructor":1}"#,
        ),
        good("control character in a key", r#"{"\u0000":1}"#, r#"{"\u0000":1}"#),
    ]
}

fn duplicate_keys() -> Vec<Case> {
    let error = "duplicate-key";
    vec![
        bad("one key twice", r#"{"a":1,"a":2}"#, error),
        bad("one key twice with one value", r#"{"a":1,"a":1}"#, error),
        bad("one key twice, another between", r#"{"a":1,"b":2,"a":3}"#, error),
        bad("the empty key twice", r#"{"":1,"":2}"#, error),
        bad("one key in two spellings", r#"{"a":1,"\u0061":2}"#, error),
        bad("a pair and its escapes", "{\"\u{1f600}\":1,\"\\ud83d\\ude00\":2}", error),
        bad("one key twice below", r#"[{"x":{"a":1,"a":2}}]"#, error),
        good("one key at two levels", r#"{"a":{"a":1}}"#, r#"{"a":{"a":1}}"#),
        good("keys that differ in case", r#"{"a":1,"A":2}"#, r#"{"A":2,"a":1}"#),
    ]
}

fn numbers() -> Vec<Case> {
    let mut cases: Vec<Case> = ["0", "1", "-1", "10", "9007199254740991", "-9007199254740991"]
        .map(|text| good(format!("integer {text}"), text, text))
        .into();
    for text in [
        "9007199254740992",
        "-9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551616",
        "-0",
        "0.0",
        "-0.0",
        "1.0",
        "1.5",
        "1e0",
        "1E3",
        "1e+3",
        "1e-3",
        "0e0",
        "-1e3",
        "1e400",
        "9007199254740991.0",
        "1.",
        "1e",
        "1.e3",
    ] {
        cases.push(bad(format!("number {text}"), text, "number"));
    }
    cases.push(bad("number of 400 digits", "9".repeat(400), "number"));
    for text in [
        "01",
        "-01",
        "00",
        "-00",
        "+1",
        "-",
        "--1",
        "- 1",
        ".5",
        "-.5",
        "0x10",
        "1_000",
        "1,5",
        "1n",
        "NaN",
        "Infinity",
        "-Infinity",
        "\u{661}",
        "\u{ff11}",
    ] {
        cases.push(bad(format!("no number: {text}"), text, "syntax"));
    }
    cases
}

fn nesting() -> Vec<Case> {
    let arrays = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
    let mixed = |pairs: usize| "[{\"a\":".repeat(pairs) + "1" + &"}]".repeat(pairs);
    let wide = format!("[{}]", vec!["[[]]"; 40].join(","));
    vec![
        good("32 arrays", arrays(32), arrays(32)),
        good("32 objects", objects(32), objects(32)),
        good("16 arrays and 16 objects", mixed(16), mixed(16)),
        good(
            "brackets in a string do not nest",
            r#""[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[""#,
            r#""[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[""#,
        ),
        good("siblings do not nest", wide.as_str(), wide.as_str()),
        bad("33 arrays", arrays(33), "depth"),
        bad("33 objects", objects(33), "depth"),
        bad("33 arrays without end", "[".repeat(33), "depth"),
        bad("10000 arrays without end", "[".repeat(10_000), "depth"),
        bad("an array in 16 arrays and 16 objects", mixed(16).replace('1', "[]"), "depth"),
    ]
}

fn grammar() -> Vec<Case> {
    [
        ("nothing", ""),
        ("only white space", " \n"),
        ("two values", "1 2"),
        ("two objects", "{}{}"),
        ("text after a value", "null x"),
        ("a comma after a value", "1,"),
        ("a closing bracket", "]"),
        ("an open array", "["),
        ("an open array with an element", "[1"),
        ("an open array after a comma", "[1,"),
        ("a comma at the end of an array", "[1,]"),
        ("a comma at the start of an array", "[,1]"),
        ("two commas", "[1,,2]"),
        ("only a comma", "[,]"),
        ("no comma", "[1 2]"),
        ("a colon in an array", "[1:2]"),
        ("an array closed as an object", "[1}"),
        ("an open object", "{"),
        ("an open object after a key", r#"{"a""#),
        ("an open object after a value", r#"{"a":1"#),
        ("an object closed as an array", r#"{"a":1]"#),
        ("a comma at the end of an object", r#"{"a":1,}"#),
        ("a comma at the start of an object", r#"{,"a":1}"#),
        ("a key without a value", r#"{"a"}"#),
        ("a key without a value after the colon", r#"{"a":}"#),
        ("two colons", r#"{"a"::1}"#),
        ("a key that is no string", "{1:2}"),
        ("a key without quotes", "{a:1}"),
        ("half a literal", "nul"),
        ("a literal and more", "nullx"),
        ("a literal in upper case", "True"),
        ("undefined", "undefined"),
        ("a comment", "1 // x"),
        ("a comment before", "/* x */1"),
        ("a hash comment", "# x\n1"),
        ("a record separator", "\u{1e}1"),
    ]
    .map(|(name, text)| bad(name, text, "syntax"))
    .into()
}
