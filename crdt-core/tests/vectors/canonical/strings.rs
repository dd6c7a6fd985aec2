//! What is in strings, and bytes that are no text.

use super::{Case, bad, bad_bytes, good};

pub(super) fn cases() -> Vec<Case> {
    [strings(), control_characters(), surrogates(), bytes()].into_iter().flatten().collect()
}

fn strings() -> Vec<Case> {
    let mut cases = vec![
        good("escapes that are not needed", r#""\u0041\/\u00e9\u00E9""#, "\"A/\u{e9}\u{e9}\""),
        good("quote and backslash", r#""\"\\\u0022\u005c\u005C""#, r#""\"\\\"\\\\""#),
        good("a backslash before u is not an escape", r#""\\u0041""#, r#""\\u0041""#),
        good("a solidus stays bare", r#""/""#, r#""/""#),
        good("markup stays bare", r#""<a href='x'>&</a>""#, r#""<a href='x'>&</a>""#),
        good("DEL stays bare", r#""\u007f""#, "\"\u{7f}\""),
        good("C1 control characters stay bare", r#""\u0080\u009f""#, "\"\u{80}\u{9f}\""),
        good("line separators stay bare", r#""\u2028\u2029""#, "\"\u{2028}\u{2029}\""),
        good("noncharacters stay bare", r#""\ufffe\uffff\ufdd0""#, "\"\u{fffe}\u{ffff}\u{fdd0}\""),
        good("two to four bytes", "\"\u{e9}\u{20ac}\u{1f600}\"", "\"\u{e9}\u{20ac}\u{1f600}\""),
        good("no normalisation", "\"e\u{301}\u{e9}\"", "\"e\u{301}\u{e9}\""),
    ];
    for (name, text) in [
        ("unknown escape", r#""\x41""#),
        ("upper case U", r#""\U0041""#),
        ("escaped apostrophe", r#""\'""#),
        ("escaped line feed", "\"\\\n\""),
        ("escape of a character beyond ASCII", "\"\\\u{e9}\""),
        ("short escape", r#""\u12""#),
        ("escape without digits", r#""\u""#),
        ("escape that is not hexadecimal", r#""\u12g4""#),
        ("escape with a sign", r#""\u+123""#),
        ("escape with a space", r#""\u 123""#),
        ("escape with full-width digits", "\"\\u\u{ff11}2\""),
        ("string without end", r#""a"#),
        ("string that ends in an escape", r#""a\"#),
        ("escaped end", r#""a\""#),
        ("apostrophes", "'a'"),
        ("typographic quotes", "\u{201c}a\u{201d}"),
    ] {
        cases.push(bad(name, text, "syntax"));
    }
    cases
}

fn control_characters() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in 0..0x20_u8 {
        let encoded = match code {
            0x08 => r#""\b""#.into(),
            0x09 => r#""\t""#.into(),
            0x0a => r#""\n""#.into(),
            0x0c => r#""\f""#.into(),
            0x0d => r#""\r""#.into(),
            _ => format!("\"\\u{code:04x}\""),
        };
        let name = format!("control character {code:02x}");
        cases.push(good(format!("{name} escaped"), format!("\"\\u{code:04X}\""), encoded));
        cases.push(bad(format!("{name} bare"), format!("\"{}\"", char::from(code)), "syntax"));
    }
    cases.push(good("short escapes", r#""\b\t\n\f\r""#, r#""\b\t\n\f\r""#));
    cases
}

fn surrogates() -> Vec<Case> {
    let mut cases = vec![
        good("a pair", r#""\ud83d\ude00""#, "\"\u{1f600}\""),
        good("a pair in upper case", r#""\uD83D\uDE00""#, "\"\u{1f600}\""),
        good("the first pair", r#""\ud800\udc00""#, "\"\u{10000}\""),
        good("the last pair", r#""\udbff\udfff""#, "\"\u{10ffff}\""),
        good("neighbours of the surrogates", r#""\ud7ff\ue000""#, "\"\u{d7ff}\u{e000}\""),
    ];
    for (name, text) in [
        ("first half alone", r#""\ud800""#),
        ("second half alone", r#""\udc00""#),
        ("first half before a character", r#""\ud83dx""#),
        ("first half before a short escape", r#""\ud83d\n""#),
        ("first half before another character's escape", r#""\ud83d\u0041""#),
        ("two first halves", r#""\ud83d\ud83d""#),
        ("halves in the wrong order", r#""\ude00\ud83d""#),
        ("a pair and a half", r#""\ud83d\ude00\ud83d""#),
        ("half a pair in a key", r#"{"\ud800":1}"#),
    ] {
        cases.push(bad(name, text, "surrogate"));
    }
    cases
}

fn bytes() -> Vec<Case> {
    vec![
        bad_bytes("a byte that starts nothing", b"\"\xff\""),
        bad_bytes("a byte that continues nothing", b"\"\x80\""),
        bad_bytes("two bytes cut short", b"\"\xc3\""),
        bad_bytes("three bytes cut short", b"\"\xe2\x82\""),
        bad_bytes("NUL in two bytes", b"\"\xc0\x80\""),
        bad_bytes("solidus in three bytes", b"\"\xe0\x80\xaf\""),
        bad_bytes("a surrogate in three bytes", b"\"\xed\xa0\x80\""),
        bad_bytes("a pair in six bytes", b"\"\xed\xa0\xbd\xed\xb8\x80\""),
        bad_bytes("beyond U+10FFFF", b"\"\xf4\x90\x80\x80\""),
        bad_bytes("five bytes", b"\"\xf8\x88\x80\x80\x80\""),
        bad_bytes("UTF-16 with its BOM", b"\xff\xfe1\x00"),
        bad_bytes("after the end of the value", b"1\xff"),
    ]
}
