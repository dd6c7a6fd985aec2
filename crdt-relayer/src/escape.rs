//! Text from others, made safe for a terminal.

use std::fmt::Write;

/// Whether a terminal could act on a character instead of showing it, or show it out of place:
/// control characters, and those that change direction or take no room.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text made safe for a terminal: what could act is shown as an escape.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON text made safe for a terminal: the same value, with `\u` escapes.
pub fn safe_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown_instead() {
        assert_eq!(safe("a\u{1b}[2Jb\r\n\u{9b}5n"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9b}5n");
        assert_eq!(safe("\u{202e}evil\u{2066}\u{200b}"), "\\u{202e}evil\\u{2066}\\u{200b}");
        assert_eq!(safe("grüße 漢字 😀 \u{fe0f}"), "grüße 漢字 😀 \u{fe0f}");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let text = "{\"a\":\"\u{9b}\u{7f}\u{202e}\u{e0041}é\"}";
        let escaped = safe_json(text);
        assert_eq!(escaped, "{\"a\":\"\\u009b\\u007f\\u202e\\udb40\\udc41é\"}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(text), value(&escaped));
    }
}
