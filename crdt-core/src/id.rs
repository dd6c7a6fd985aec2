//! Identities: one type per meaning, 32 bytes or an integer each.

use alloc::string::String;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::limits;

/// Domain separation tags. Each hashed or signed thing starts with its own, so that bytes made for
/// one purpose are never valid for another. Source: `docs/PROTOCOL.md`, "Hashes and signatures".
pub(crate) mod tag {
    pub(crate) const ROOM: &[u8] = b"bft-crdt/v1/room\0";
    pub(crate) const OP: &[u8] = b"bft-crdt/v1/op\0";
    pub(crate) const DATA: &[u8] = b"bft-crdt/v1/data\0";
    pub(crate) const SIG: &[u8] = b"bft-crdt/v1/sig\0";
    pub(crate) const SET: &[u8] = b"bft-crdt/v1/set\0";
    pub(crate) const LOG: &[u8] = b"bft-crdt/v1/log\0";
    pub(crate) const FORK: &[u8] = b"bft-crdt/v1/fork\0";
    pub(crate) const AUTH: &[u8] = b"bft-crdt/v1/auth\0";
    /// Never leaves the replica.
    pub(crate) const NONCE: &[u8] = b"bft-crdt/v1/nonce\0";
}

#[cfg(test)]
thread_local! {
    /// How often this thread has hashed an op, data, or the name of a room.
    pub(crate) static HASHED: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

pub(crate) fn sha256(tag: &[u8], bytes: &[u8]) -> [u8; 32] {
    #[cfg(test)]
    HASHED.with(|hashed| hashed.set(hashed.get() + 1));
    Sha256::new().chain_update(tag).chain_update(bytes).finalize().into()
}

/// A text is not lower-case hexadecimal of the exact length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits")]
pub struct HexError {
    /// Digits the value has.
    pub expected: usize,
}

/// Has a bit that no nibble has.
const NO_NIBBLE: u8 = 0x80;

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = HexError { expected: N.saturating_mul(2) };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pairs: &[[u8; 2]; N] = pairs.try_into().map_err(|_| error)?;
    // Worked out rather than looked up, and refused at the end, so that the compiler does several
    // at a time.
    let nibble = |digit: u8| {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        if number < 10 {
            number
        } else if letter < 6 {
            letter.wrapping_add(10)
        } else {
            NO_NIBBLE
        }
    };
    let nibbles = pairs.map(|pair| pair.map(nibble));
    let strange = nibbles.as_flattened().iter().fold(0, |all, nibble| all | nibble);
    if !rest.is_empty() || strange & NO_NIBBLE == NO_NIBBLE {
        return Err(error);
    }
    Ok(nibbles.map(|[high, low]| (high << 4) | low))
}

pub(crate) fn push_hex<const N: usize>(bytes: &[u8; N], out: &mut String) {
    // Added to rather than looked up, so that the compiler does several at a time.
    let digit = |nibble: u8| nibble.wrapping_add(if nibble < 10 { b'0' } else { b'a' - 10 });
    let pairs = bytes.map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]);
    let digits = core::str::from_utf8(pairs.as_flattened());
    debug_assert!(digits.is_ok(), "digits are ASCII");
    out.push_str(digits.unwrap_or_default());
}

macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The identity made of these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Reads 64 lower-case hexadecimal digits.
            ///
            /// # Errors
            /// Anything else, upper case included.
            pub fn parse(text: &str) -> Result<Self, HexError> {
                parse_hex(text).map(Self)
            }

            pub(crate) fn push_to(self, out: &mut String) {
                push_hex(&self.0, out);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = String::with_capacity(64);
                self.push_to(&mut text);
                f.pad(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:.8})"), self)
            }
        }
    };
}

id32! {
    /// SHA-256 over the canonical head of an op. Source: `docs/PROTOCOL.md`, "Op".
    OpId
}
id32! {
    /// The Ed25519 public key of an op's author, as its 32 bytes. Whether they are a valid key is
    /// decided when a signature is checked.
    AuthorId
}
id32! {
    /// A room: SHA-256 over its name. Source: `docs/PROTOCOL.md`, "Rooms".
    RoomId
}
id32! {
    /// SHA-256 over a room's sorted heads: equal digests mean equal sets of ops.
    /// Source: `docs/PROTOCOL.md`, "Digests".
    SetDigest
}
id32! {
    /// SHA-256 over a room's entries in log order. Source: `docs/PROTOCOL.md`, "Digests".
    LogDigest
}
id32! {
    /// SHA-256 over an op's canonical data.
    DataHash
}
id32! {
    /// The point at which an author's chain forks: SHA-256 over room, grant, author and previous
    /// op. Source: `docs/PROTOCOL.md`, "Equivocation".
    ForkId
}
id32! {
    /// A store: 32 random bytes drawn when it was made. A cursor is a place in one store.
    StoreId
}

id32! {
    /// 32 bytes that are new for each connection and cannot be guessed.
    Nonce
}

impl DataHash {
    /// The hash of canonical data.
    pub fn of(data: &str) -> Self {
        Self(sha256(tag::DATA, data.as_bytes()))
    }
}

/// An op's place in its author's chain, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// The place of an author's first op.
    pub const FIRST: Self = Self(0);

    /// The place with this number; none above 2^53 − 1.
    pub const fn new(number: u64) -> Option<Self> {
        if number <= limits::INTEGER_MAX.cast_unsigned() { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The place after this one; none after the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0.saturating_add(1))
    }
}

/// Length of the longest path from an op back to the start of its room, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Depth(u64);

impl Depth {
    /// The depth of an op without dependencies.
    pub const FIRST: Self = Self(1);

    /// The depth with this number: from 1 to 2^53 − 1.
    pub const fn new(number: u64) -> Option<Self> {
        if number >= 1 && number <= limits::INTEGER_MAX.cast_unsigned() {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// One deeper.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A place in one replica's order of arrival, counted from 1; 0 is before the first op. Means
/// nothing on another replica except as a cursor handed back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before the first op.
    pub const START: Self = Self(0);

    /// The place with this number; none above 2^53 − 1.
    pub const fn new(number: u64) -> Option<Self> {
        if number <= limits::INTEGER_MAX.cast_unsigned() { Some(Self(number)) } else { None }
    }

    pub(crate) fn of_len(len: usize) -> Self {
        Self(u64::try_from(len).unwrap_or(u64::MAX))
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The name of an open room: 1 to 64 bytes of `a-z 0-9 . _ -`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomName(String);

/// A text is not a room name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a room name is 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit")]
pub struct RoomNameError;

impl RoomName {
    /// Reads a name.
    ///
    /// # Errors
    /// A length or character that is not allowed.
    pub fn parse(text: &str) -> Result<Self, RoomNameError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= limits::ROOM_NAME_BYTES_MAX && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(RoomNameError)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the open room with this name.
    pub fn id(&self) -> RoomId {
        RoomId(sha256(tag::ROOM, self.0.as_bytes()))
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn hex_is_lower_case_and_of_exact_length() {
        let id = OpId::from_bytes([0xab; 32]);
        let text = id.to_string();
        assert_eq!(text, "ab".repeat(32));
        assert_eq!(OpId::parse(&text), Ok(id));
        let refused = HexError { expected: 64 };
        for bad in [text.to_uppercase(), "ab".repeat(31), text.clone() + "0", String::new()] {
            assert_eq!(OpId::parse(&bad), Err(refused), "{bad}");
        }
        assert_eq!(OpId::parse(&text.replace('a', "g")), Err(refused));
    }

    #[test]
    fn digits_mean_what_another_reader_says() {
        let digits =
            ('\0'..='\u{ff}').flat_map(|high| ('\0'..='\u{ff}').map(move |low| [high, low]));
        for digits in digits.map(String::from_iter) {
            let mut byte = [0];
            let theirs = base16ct::lower::decode(&digits, &mut byte).ok().map(<[u8]>::to_vec);
            assert_eq!(parse_hex::<1>(&digits).ok().map(Vec::from), theirs, "{digits:?}");
        }
    }

    #[test]
    fn room_names_have_one_spelling() {
        for good in ["main", "a", "0", "a.b_c-d", &"x".repeat(64)] {
            assert!(RoomName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Main", ".a", "-a", "_a", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert_eq!(RoomName::parse(bad), Err(RoomNameError), "{bad}");
        }
    }

    #[test]
    fn a_room_id_is_the_tagged_hash_of_its_name() {
        let id = RoomName::parse("main").unwrap().id();
        assert_eq!(
            id.to_string(),
            base16ct::lower::encode_string(&Sha256::digest(b"bft-crdt/v1/room\0main"))
        );
    }

    #[test]
    fn numbers_stop_where_json_integers_do() {
        let limit = limits::INTEGER_MAX.cast_unsigned();
        assert!(Seq::new(limit).is_some() && Seq::new(limit + 1).is_none());
        assert!(Depth::new(limit).is_some() && Depth::new(limit + 1).is_none());
        assert!(Depth::new(0).is_none());
        assert!(Position::new(limit).is_some() && Position::new(limit + 1).is_none());
    }
}
