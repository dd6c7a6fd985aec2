//! Text that is written exactly as this crate writes it, read in one pass that builds nothing else.
//! What is not, or is not known to be without more work, goes the long way through the parser, which
//! alone says why a text is refused: no function here tells more than `None`.
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;

use super::Canonical;
use super::parser::key_order;
use crate::id::{OpId, parse_hex};
use crate::limits;

/// Digits of [`limits::INTEGER_MAX`].
const DIGITS_MAX: usize = 16;

/// Reads a text from its start to its end. Once something does not fit, the rest means nothing.
pub(crate) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// What `read` makes of a text, if that leaves nothing over.
    pub(crate) fn all<T>(text: &'a str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut scanner = Self { rest: text };
        let found = read(&mut scanner)?;
        scanner.rest.is_empty().then_some(found)
    }

    pub(crate) fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    /// A string of lower-case hexadecimal digits, two for each byte.
    pub(crate) fn hex<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.eat("\"")?;
        let digits = self.take(N.checked_mul(2)?)?;
        self.eat("\"")?;
        parse_hex(digits).ok()
    }

    /// An array of at most `max` ids of ops.
    pub(crate) fn ids(&mut self, max: usize) -> Option<Vec<OpId>> {
        self.list(max, |scanner| scanner.hex().map(OpId::from_bytes))
    }

    /// An integer of at least 0.
    pub(crate) fn count(&mut self) -> Option<u64> {
        u64::try_from(self.int()?).ok()
    }

    /// A string without escapes.
    pub(crate) fn plain(&mut self) -> Option<&'a str> {
        self.eat("\"")?;
        let text = self.take(plain_len(self.rest))?;
        self.eat("\"")?;
        Some(text)
    }

    /// An array of at most `max` elements.
    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut elements = Vec::new();
        self.eat("[")?;
        if self.eat("]").is_some() {
            return Some(elements);
        }
        loop {
            if elements.len() == max {
                return None;
            }
            elements.push(element(self)?);
            if self.eat(",").is_none() {
                self.eat("]")?;
                return Some(elements);
            }
        }
    }

    /// A value whose text is its canonical encoding, nested at most `depth_max` deep.
    pub(crate) fn canonical(&mut self, depth_max: usize) -> Option<Canonical> {
        let whole = self.rest;
        let counted = if whole.starts_with('[') {
            Some(self.array(depth_max.checked_sub(1)?)?)
        } else {
            self.value(depth_max)?;
            None
        };
        let text = whole.get(..whole.len().checked_sub(self.rest.len())?)?;
        Some(Canonical { text: String::from(text), counted })
    }

    /// The next `len` bytes; they must end between characters.
    fn take(&mut self, len: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Recursion is bounded by `depth_left`.
    fn value(&mut self, depth_left: usize) -> Option<()> {
        match self.rest.as_bytes().first()? {
            b'"' => self.string(),
            b'{' => self.object(depth_left.checked_sub(1)?),
            b'[' => self.array(depth_left.checked_sub(1)?).map(drop),
            b't' => self.eat("true"),
            b'f' => self.eat("false"),
            b'n' => self.eat("null"),
            _ => self.int().map(drop),
        }
    }

    /// Its elements.
    fn array(&mut self, depth_left: usize) -> Option<usize> {
        self.eat("[")?;
        if self.eat("]").is_some() {
            return Some(0);
        }
        let mut count = 0_usize;
        loop {
            self.value(depth_left)?;
            count = count.checked_add(1)?;
            if self.eat(",").is_none() {
                self.eat("]")?;
                return Some(count);
            }
        }
    }

    fn object(&mut self, depth_left: usize) -> Option<()> {
        self.eat("{")?;
        if self.eat("}").is_some() {
            return Some(());
        }
        let mut before: Option<&str> = None;
        loop {
            let key = self.plain()?;
            if before.is_some_and(|before| key_order(before, key).is_ge()) {
                return None;
            }
            before = Some(key);
            self.eat(":")?;
            self.value(depth_left)?;
            if self.eat(",").is_none() {
                return self.eat("}");
            }
        }
    }

    fn int(&mut self) -> Option<i64> {
        let digits = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let is_negative = digits.len() != self.rest.len();
        let count = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
        let (number, rest) = digits.split_at_checked(count)?;
        let is_short = (1..=DIGITS_MAX).contains(&count);
        let is_zero = number == "0";
        if !is_short || (number.starts_with('0') && !is_zero) || (is_zero && is_negative) {
            return None;
        }
        self.rest = rest;
        let size = number.bytes().fold(0_i64, |size, digit| {
            let digit = i64::from(digit.wrapping_sub(b'0'));
            size.saturating_mul(10).saturating_add(digit)
        });
        let value = if is_negative { size.saturating_neg() } else { size };
        (size <= limits::INTEGER_MAX).then_some(value)
    }

    fn string(&mut self) -> Option<()> {
        self.eat("\"")?;
        loop {
            self.take(plain_len(self.rest))?;
            if self.eat("\"").is_some() {
                return Some(());
            }
            self.escape()?;
        }
    }

    /// An escape in its one canonical spelling.
    fn escape(&mut self) -> Option<()> {
        self.eat("\\")?;
        match self.take(1)? {
            "\"" | "\\" | "b" | "t" | "n" | "f" | "r" => Some(()),
            "u" => {
                let has_no_letter = |low: u8| !matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
                match self.take(4)?.as_bytes() {
                    [b'0', b'0', b'0', low @ (b'0'..=b'9' | b'a'..=b'f')] => {
                        has_no_letter(*low).then_some(())
                    }
                    [b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f'] => Some(()),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Bytes up to the next quote, escape or control character, or all.
pub(super) fn plain_len(text: &str) -> usize {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut len = 0_usize;
    for word in words {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            let plain = usize::try_from(special.trailing_zeros() / 8).unwrap_or(0);
            return len.saturating_add(plain);
        }
        len = len.saturating_add(8);
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    len.saturating_add(rest.iter().position(is_special).unwrap_or(rest.len()))
}

/// Nothing if none of eight bytes is a quote, escape or control character; or else the lowest bit is
/// the highest of the first that is. Source: H. S. Warren, Hacker's Delight, section 6-1.
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
    const ESCAPES: u64 = u64::from_le_bytes([b'\\'; 8]);
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    let (quotes, escapes) = (word ^ QUOTES, word ^ ESCAPES);
    // A byte that is less than what is taken from it borrows, which sets its highest bit, and may
    // set that of bytes after it.
    let borrowed = (quotes.wrapping_sub(ONES) & !quotes)
        | (escapes.wrapping_sub(ONES) & !escapes)
        | (word.wrapping_sub(SPACES) & !word);
    borrowed & HIGHEST
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    /// The whole text as one value.
    fn scanned(text: &str, depth_max: usize) -> Option<Canonical> {
        Scanner::all(text, |scanner| scanner.canonical(depth_max))
    }

    fn is_recognised(text: &str) -> bool {
        scanned(text, limits::DATA_DEPTH_MAX).is_some_and(|canonical| canonical.as_str() == text)
    }

    #[test]
    fn what_is_canonical_is_recognised() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-1",
            "9007199254740991",
            "-9007199254740991",
            "\"\"",
            r#""\"\\\b\t\n\f\r\u0000\u000b\u000e\u001f/""#,
            "\"é😀\u{7f}\"",
            "{\"Z\":1,\"é\":1,\"\u{1f600}\":1,\"\u{fb33}\":1}",
            "[]",
            "{}",
            r#"[{"":[],"a":{"b":-7},"aa":"x"},[[]],1]"#,
        ] {
            assert!(is_recognised(text), "{text}");
            assert_eq!(Canonical::parse(text.as_bytes()).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_not_canonical_goes_the_long_way() {
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "1.0",
            "1e3",
            "9007199254740992",
            "10000000000000000",
            "tru",
            "[1,]",
            "[1 ]",
            "[ 1]",
            "[1",
            "\"a",
            "\"\t\"",
            "\"more than eight\t\"",
            r#""\/""#,
            r#""\u0041""#,
            r#""\u0008""#,
            r#""\u0009""#,
            r#""\u000a""#,
            r#""\u000c""#,
            r#""\u000d""#,
            r#""\u001F""#,
            r#""\u00e9""#,
            r#""\x""#,
            r#"{"b":1,"a":1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"Z":1,"\n":1}"#,
            "{\"\u{fb33}\":1,\"\u{1f600}\":1}",
            r#"{"a" :1}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
        ] {
            assert!(!is_recognised(text), "{text}");
        }
    }

    #[test]
    fn nesting_stops_exactly_at_the_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (text, depth) in [(nested(5).as_str(), 5), (r#"{"a":[{}]}"#, 3)] {
            assert!(scanned(text, depth).is_some(), "{text}");
            assert_eq!(scanned(text, depth - 1), None, "{text}");
        }
    }

    /// What is recognised is what the parser makes of it.
    fn agree(text: &str) {
        let Some(short) = scanned(text, limits::DATA_DEPTH_MAX) else { return };
        let counted = Canonical::trusted(text.into()).elements();
        assert_eq!(short.elements(), counted, "{text}");
        assert_eq!(Canonical::parse(text.as_bytes()), Ok(short), "{text}");
    }

    proptest! {
        #[test]
        fn plain_text_ends_where_a_byte_by_byte_search_says(text in "[a-z\u{1}\u{1f} !\"#\\[\\\\\\]\u{7f}é\u{ff}]{0,20}") {
            let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
            let expected = text.bytes().position(is_special).unwrap_or(text.len());
            prop_assert_eq!(plain_len(&text), expected);
        }

        #[test]
        fn both_ways_agree_on_values(values in prop::collection::vec(any::<(String, i64, String)>(), 0..6)) {
            let members = values.iter().map(|(key, number, text)| {
                (key.clone(), serde_json::json!([number, { text.as_str(): text }, { key.as_str(): null_or(*number) }]))
            });
            let value = serde_json::Value::Object(members.collect());
            agree(&value.to_string());
            agree(&serde_json::to_string_pretty(&value).unwrap());
            if let Ok(canonical) = Canonical::parse(value.to_string().as_bytes()) {
                agree(canonical.as_str());
                let plain = |key: &String| !key.contains(['"', '\\']) && !key.contains(char::is_control);
                if values.iter().all(|(key, _, text)| plain(key) && plain(text)) {
                    prop_assert!(is_recognised(canonical.as_str()), "{}", canonical);
                }
            }
        }

        #[test]
        fn both_ways_agree_on_what_nearly_is_json(text in r#"[\[\]{}:,"\\udDeE0-9a-f.+\- ntrl]{0,40}"#) {
            agree(&text);
        }

        #[test]
        fn both_ways_agree_on_short_values(text in r#"(\[(-?[0-9]{1,2},){0,3}("[ab\\u0é]{0,3}"|\{\}|[0-9]{15,17})\]|\{"[ab]{0,2}":(0|\[\]),"[ab]{0,2}":-?[01]\})"#) {
            agree(&text);
        }
    }

    fn null_or(number: i64) -> serde_json::Value {
        if number % 2 == 0 { serde_json::Value::Null } else { number.into() }
    }
}
