//! The strict parser: one pass over the text, recursion bounded by the nesting allowed.
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::scan::plain_len;
use super::{JsonError, Value};
use crate::limits;

pub(super) fn parse(text: &str, depth_max: usize) -> Result<Value<'_>, JsonError> {
    let mut parser = Parser { whole: text.len(), depth_max, rest: text };
    let value = parser.value(depth_max)?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err(parser.syntax()) }
}

/// The order of member names: by UTF-16 code units (RFC 8785, section 3.2.3).
pub(super) fn key_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

struct Parser<'a> {
    whole: usize,
    depth_max: usize,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn at(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at() }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn skip_space(&mut self) {
        // Canonical text has none.
        if matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn require(&mut self, token: &str) -> Result<(), JsonError> {
        if self.eat(token) { Ok(()) } else { Err(self.syntax()) }
    }

    /// The next `len` bytes; they must end between characters.
    fn take(&mut self, len: usize) -> Result<&'a str, JsonError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.syntax())?;
        self.rest = rest;
        Ok(taken)
    }

    /// Recursion is bounded by `depth_left`, at most [`limits::FRAME_DEPTH_MAX`].
    fn value(&mut self, depth_left: usize) -> Result<Value<'a>, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.string().map(Value::Str),
            Some(b'{') => self.object(self.deeper(depth_left)?),
            Some(b'[') => self.array(self.deeper(depth_left)?),
            Some(b'-' | b'0'..=b'9') => self.int().map(Value::Int),
            Some(b't') => self.require("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.require("false").map(|()| Value::Bool(false)),
            Some(b'n') => self.require("null").map(|()| Value::Null),
            Some(_) | None => Err(self.syntax()),
        }
    }

    fn deeper(&self, depth_left: usize) -> Result<usize, JsonError> {
        depth_left.checked_sub(1).ok_or(JsonError::Depth { max: self.depth_max, at: self.at() })
    }

    fn array(&mut self, depth_left: usize) -> Result<Value<'a>, JsonError> {
        self.require("[")?;
        let mut values = Vec::new();
        self.skip_space();
        if self.eat("]") {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth_left)?);
            self.skip_space();
            if self.eat("]") {
                return Ok(Value::Array(values));
            }
            self.require(",")?;
        }
    }

    fn object(&mut self, depth_left: usize) -> Result<Value<'a>, JsonError> {
        self.require("{")?;
        let mut members = Vec::new();
        self.skip_space();
        if self.eat("}") {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            self.require(":")?;
            members.push((key, self.value(depth_left)?));
            self.skip_space();
            if self.eat("}") {
                break;
            }
            self.require(",")?;
        }
        // Canonical text comes sorted, and then no key is there twice.
        if !members.is_sorted_by(|(a, _), (b, _)| key_order(a, b).is_lt()) {
            members.sort_by(|(a, _), (b, _)| key_order(a, b));
            if members.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
                return Err(JsonError::DuplicateKey { at: self.at() });
            }
        }
        Ok(Value::Object(members))
    }

    fn int(&mut self) -> Result<i64, JsonError> {
        let at = self.at();
        let is_number = |b: u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = self.rest.bytes().position(|b| !is_number(b)).unwrap_or(self.rest.len());
        let text = self.take(len)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(JsonError::Syntax { at });
        }
        let integer = digits.bytes().all(|b| b.is_ascii_digit());
        if integer && digits.len() > 1 && digits.starts_with('0') {
            return Err(JsonError::Syntax { at });
        }
        match text.parse::<i64>() {
            Ok(number)
                if integer
                    && text != "-0"
                    && (-limits::INTEGER_MAX..=limits::INTEGER_MAX).contains(&number) =>
            {
                Ok(number)
            }
            Ok(_) | Err(_) => Err(JsonError::Number { at }),
        }
    }

    /// Bytes up to the next quote, escape or control character.
    fn plain(&mut self) -> Result<&'a str, JsonError> {
        self.take(plain_len(self.rest))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.require("\"")?;
        let plain = self.plain()?;
        if self.eat("\"") {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = String::from(plain);
        loop {
            let at = self.at();
            self.require("\\")?;
            let escaped = match self.take(1)? {
                "\"" => '"',
                "\\" => '\\',
                "/" => '/',
                "b" => '\u{8}',
                "f" => '\u{c}',
                "n" => '\n',
                "r" => '\r',
                "t" => '\t',
                "u" => self.unicode_escape(at)?,
                _ => return Err(JsonError::Syntax { at }),
            };
            text.push(escaped);
            text.push_str(self.plain()?);
            if self.eat("\"") {
                return Ok(Cow::Owned(text));
            }
        }
    }

    fn unicode_escape(&mut self, at: usize) -> Result<char, JsonError> {
        let first = self.hex4()?;
        if char::from_u32(u32::from(first)).is_none() && !self.eat("\\u") {
            return Err(JsonError::Surrogate { at });
        }
        let second = if is_surrogate(first) { Some(self.hex4()?) } else { None };
        let mut decoded = char::decode_utf16(core::iter::once(first).chain(second));
        match (decoded.next(), decoded.next()) {
            (Some(Ok(char)), None) => Ok(char),
            _ => Err(JsonError::Surrogate { at }),
        }
    }

    fn hex4(&mut self) -> Result<u16, JsonError> {
        let at = self.at();
        let digits = self.take(4)?;
        if digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            u16::from_str_radix(digits, 16).map_err(|_| JsonError::Syntax { at })
        } else {
            Err(JsonError::Syntax { at })
        }
    }
}

const fn is_surrogate(unit: u16) -> bool {
    matches!(unit, 0xd800..=0xdfff)
}
