//! Why a connection ended, in words, and whether dialling again soon is of any use.

use crdt_core::effect::{CloseReason, PeerId};
use crdt_core::intake::Shortage;

/// The websocket close code for what a rule forbids (RFC 6455, section 7.4).
const POLICY: u16 = 1008;

/// Said of one of two connections; which one is not part of it.
const TWIN: CloseReason = CloseReason::Twin(PeerId(0));

/// What kind of end it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The network or a process failed, or somebody left.
    Lost,
    /// Another connection to the same peer is kept.
    Twin,
    /// One of the two sides does not want the other. That seldom changes within seconds.
    Refused,
    /// The other side lets in only keys it knows, and this side's is none of them.
    UnknownKey,
}

impl Cause {
    /// Whether dialling again soon is of no use.
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Refused | Self::UnknownKey => true,
            Self::Lost | Self::Twin => false,
        }
    }
}

/// How a connection ended, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// In words.
    pub why: String,
    /// In kind.
    pub cause: Cause,
}

impl Ended {
    /// The network or a process failed, or somebody left.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self { why: why.into(), cause: Cause::Lost }
    }

    /// One side does not want the other.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), cause: Cause::Refused }
    }

    /// This side closed it.
    pub(crate) fn by_this_side(code: u16, word: &str) -> Self {
        match sentence(code, word) {
            Some(why) => Self::refused(why),
            None if is_policy(code, word, CloseReason::Strikes) => {
                Self::refused("refused: the other side broke the protocol too often")
            }
            None if is_policy(code, word, CloseReason::Auth) => {
                Self::refused("refused: the other side has not proved a key that is let in")
            }
            None => Self::lost(format!("ended by this side: {word}")),
        }
    }

    /// The peer closed it.
    pub(crate) fn by_the_peer(code: u16, word: &str) -> Self {
        match sentence(code, word) {
            Some(why) => Self::refused(why),
            None if is_policy(code, word, CloseReason::Strikes) => {
                Self::refused("the other side says that this one broke the protocol too often")
            }
            None if is_policy(code, word, CloseReason::Auth) => {
                let why = "the peer lets in only keys it knows".to_owned();
                Self { why, cause: Cause::UnknownKey }
            }
            None if code == TWIN.code() && word == TWIN.as_str() => {
                Self { why: "another connection to it is kept".to_owned(), cause: Cause::Twin }
            }
            None if word == Shortage::Disk.code() => {
                Self::lost("its disk is full; what it has not acknowledged is sent again")
            }
            // Too slow a reader may be faster next time.
            None if code == POLICY && word != "slow" => {
                Self::refused(format!("the other side refuses: {word}"))
            }
            None => Self::lost(format!("closed by the peer: {word}")),
        }
    }
}

fn is_policy(code: u16, word: &str, reason: CloseReason) -> bool {
    code == reason.code() && word == reason.as_str()
}

/// What a refusal means that is the same whoever says it.
fn sentence(code: u16, word: &str) -> Option<&'static str> {
    [
        (CloseReason::OwnStore, "this address leads to this very store, or to a copy of it"),
        (CloseReason::Version, "the other side speaks another version of the protocol"),
        (CloseReason::Hello, "one of the two sides does not speak this protocol"),
    ]
    .into_iter()
    .find(|(reason, _)| is_policy(code, word, *reason))
    .map(|(_, sentence)| sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_forbids_is_a_refusal_and_nothing_else_is() {
        for word in ["own-store", "version", "hello", "strikes", "auth"] {
            assert!(Ended::by_this_side(1008, word).cause.is_refusal(), "{word}");
            assert!(Ended::by_the_peer(1008, word).cause.is_refusal(), "{word}");
        }
        assert!(
            Ended::by_the_peer(1008, "quota").cause.is_refusal(),
            "a reason of a later version"
        );
        for (code, word) in
            [(1008, "slow"), (1001, "going-away"), (1000, "bye"), (1009, "size"), (1000, "twin")]
        {
            assert!(!Ended::by_this_side(code, word).cause.is_refusal(), "{word}");
            assert!(!Ended::by_the_peer(code, word).cause.is_refusal(), "{word}");
        }
    }
}
