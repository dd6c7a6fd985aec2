//! Text that is canonical as it stands, recognised in one pass that builds nothing. What is not, or
//! is not known to be without more work, goes the long way through the parser, which alone says why
//! a text is refused.
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use crate::limits;

/// Digits of [`limits::INTEGER_MAX`].
const DIGITS_MAX: usize = 16;

/// A value whose text is its canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// How deep arrays and objects nest: 0 for a scalar.
    pub(super) depth: usize,
    /// Elements, if it is an array.
    pub(super) elements: Option<usize>,
}

/// The value at the start of a text, nested at most `depth_max` deep.
pub(super) fn scan(text: &str, depth_max: usize) -> Option<Scanned<'_>> {
    let mut scanner = Scanner { rest: text.as_bytes() };
    let (depth, elements) = scanner.value(depth_max)?;
    let len = text.len().checked_sub(scanner.rest.len())?;
    Some(Scanned { text: text.get(..len)?, depth, elements })
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn eat(&mut self, token: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    /// Its depth, and its elements if it is an array. Recursion is bounded by `depth_left`.
    fn value(&mut self, depth_left: usize) -> Option<(usize, Option<usize>)> {
        match self.rest.first()? {
            b'"' => self.string().map(|_| (0, None)),
            b'{' => self.object(depth_left.checked_sub(1)?).map(|depth| (depth, None)),
            b'[' => {
                self.array(depth_left.checked_sub(1)?).map(|(depth, count)| (depth, Some(count)))
            }
            b't' => self.eat(b"true").map(|()| (0, None)),
            b'f' => self.eat(b"false").map(|()| (0, None)),
            b'n' => self.eat(b"null").map(|()| (0, None)),
            _ => self.int().map(|()| (0, None)),
        }
    }

    fn array(&mut self, depth_left: usize) -> Option<(usize, usize)> {
        self.eat(b"[")?;
        let (mut deepest, mut count) = (0, 0_usize);
        if self.eat(b"]").is_some() {
            return Some((1, 0));
        }
        loop {
            deepest = deepest.max(self.value(depth_left)?.0);
            count = count.checked_add(1)?;
            if self.eat(b",").is_none() {
                self.eat(b"]")?;
                return Some((deepest.checked_add(1)?, count));
            }
        }
    }

    fn object(&mut self, depth_left: usize) -> Option<usize> {
        self.eat(b"{")?;
        let mut deepest = 0;
        if self.eat(b"}").is_some() {
            return Some(1);
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let key = self.string().filter(|key| key.is_plain)?.bytes;
            // Plain keys are in the order of UTF-16 units if their bytes are.
            if before.is_some_and(|before| before >= key) {
                return None;
            }
            before = Some(key);
            self.eat(b":")?;
            deepest = deepest.max(self.value(depth_left)?.0);
            if self.eat(b",").is_none() {
                self.eat(b"}")?;
                return deepest.checked_add(1);
            }
        }
    }

    fn int(&mut self) -> Option<()> {
        let digits = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        let count = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
        let (number, rest) = digits.split_at_checked(count)?;
        let is_short = (1..=DIGITS_MAX).contains(&count);
        let is_zero = number == b"0";
        if !is_short || (number.first() == Some(&b'0') && !is_zero) {
            return None;
        }
        if is_zero && digits.len() != self.rest.len() {
            return None;
        }
        // With a fraction or an exponent it is no integer.
        if matches!(rest.first(), Some(b'.' | b'e' | b'E' | b'+' | b'-')) {
            return None;
        }
        let value = number.iter().fold(0_i64, |value, digit| {
            let digit = i64::from(digit.wrapping_sub(b'0'));
            value.saturating_mul(10).saturating_add(digit)
        });
        self.rest = rest;
        (value <= limits::INTEGER_MAX).then_some(())
    }

    fn string(&mut self) -> Option<Text<'a>> {
        self.eat(b"\"")?;
        let whole = self.rest;
        let mut is_plain = true;
        loop {
            let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..=0x1f);
            let (plain, rest) = self.rest.split_at_checked(self.rest.iter().position(special)?)?;
            is_plain &= plain.is_ascii();
            self.rest = rest;
            if self.eat(b"\"").is_some() {
                let bytes = whole.get(..whole.len().checked_sub(rest.len())?)?;
                return Some(Text { bytes, is_plain });
            }
            is_plain = false;
            self.escape()?;
        }
    }

    /// An escape in its one canonical spelling.
    fn escape(&mut self) -> Option<()> {
        self.eat(b"\\")?;
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        match kind {
            b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r' => Some(()),
            b'u' => {
                let (digits, rest) = self.rest.split_at_checked(4)?;
                self.rest = rest;
                let has_no_letter = |low: u8| !matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
                match digits {
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

/// What stands between two quotes.
struct Text<'a> {
    bytes: &'a [u8],
    /// ASCII without escapes.
    is_plain: bool,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;
    use crate::json::{Canonical, JsonError, Value};

    fn is_recognised(text: &str) -> bool {
        scan(text, limits::DATA_DEPTH_MAX).is_some_and(|scanned| scanned.text == text)
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
            r#""\/""#,
            r#""\u0041""#,
            r#""\u0008""#,
            r#""\u001F""#,
            r#""\u00e9""#,
            r#""\x""#,
            r#"{"b":1,"a":1}"#,
            r#"{"a":1,"a":1}"#,
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
        assert_eq!(scan(&nested(5), 5).map(|scanned| scanned.depth), Some(5));
        assert_eq!(scan(&nested(5), 4), None);
        assert_eq!(scan(r#"{"a":[{}]}"#, 3).map(|scanned| scanned.depth), Some(3));
        assert_eq!(scan(r#"{"a":[{}]}"#, 2), None);
    }

    /// Its text, depth and elements.
    type Member = (Canonical, usize, Option<usize>);

    /// What becomes of a member, read with the short way and without.
    fn both_ways(text: &str) -> [Result<Member, JsonError>; 2] {
        let wrapped = format!("{{\"data\":{text},\"e\":[]}}");
        let depth_max = limits::DATA_DEPTH_MAX;
        let short = Value::parse_keeping(wrapped.as_bytes(), depth_max, "data");
        let long = Value::parse(wrapped.as_bytes(), depth_max);
        [short, long].map(|value| {
            let value = value?;
            let member = value.member("data").unwrap();
            let canonical = Canonical::of(member);
            let counted = Canonical::trusted(canonical.to_string()).elements();
            assert_eq!(canonical.elements(), counted, "{canonical}");
            Ok((canonical, member.depth(), counted))
        })
    }

    fn agree(text: &str) {
        let [short, long] = both_ways(text);
        assert_eq!(short, long, "{text}");
    }

    proptest! {
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
                let plain = |key: &String| key.is_ascii() && !key.contains(['"', '\\']) && !key.contains(char::is_control);
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
