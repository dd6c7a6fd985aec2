//! What frames say, read without the core's decoder. Only for frames that an honest replica wrote:
//! those are in the core's own spelling.

use crdt_core::id::{OpId, RoomId};

/// A frame, as far as the checks need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Ops, by their ids.
    Ops { room: RoomId, ids: Vec<OpId> },
    /// An answer to ops: which of them, by index, are not stored.
    Ack { room: RoomId, except: Vec<usize> },
    /// Heads, with the position of the sender's last op.
    Heads { room: RoomId, cursor: u64 },
    /// Something else.
    Other,
}

impl Said {
    pub(super) fn read(frame: &str) -> Self {
        let kind = frame.strip_prefix("{\"type\":\"").unwrap_or_default();
        let room = || {
            let hex = after(frame, "\"room\":\"")?.get(..64)?;
            RoomId::parse(hex).ok()
        };
        let read = if kind.starts_with("ops\"") {
            room().map(|room| Self::Ops { room, ids: op_ids(frame) })
        } else if kind.starts_with("ack\"") {
            let except = frame.match_indices("{\"index\":").filter_map(|(at, word)| {
                let rest = frame.get(at + word.len()..)?;
                number(rest).and_then(|index| usize::try_from(index).ok())
            });
            room().map(|room| Self::Ack { room, except: except.collect() })
        } else if kind.starts_with("heads\"") {
            let cursor = after(frame, "\"cursor\":").and_then(number);
            room().zip(cursor).map(|(room, cursor)| Self::Heads { room, cursor })
        } else {
            None
        };
        read.unwrap_or(Self::Other)
    }

    /// What it is, for people.
    pub(super) fn in_words(frame: &str) -> String {
        let short = |id: &OpId| id.to_string().chars().take(6).collect::<String>();
        match Self::read(frame) {
            Self::Ops { ids, .. } => {
                let ids: Vec<String> = ids.iter().map(short).collect();
                let cursor = after(frame, "\"cursor\":").and_then(number);
                format!("ops cursor {cursor:?} [{}]", ids.join(" "))
            }
            Self::Ack { except, .. } if except.is_empty() => "ack".to_owned(),
            Self::Ack { except, .. } => format!("ack, but not {except:?}"),
            Self::Heads { cursor, .. } => {
                let heads = after(frame, "\"heads\":[").unwrap_or_default();
                let heads = heads.split(']').next().unwrap_or_default().split(',');
                let heads: Vec<&str> = heads.filter_map(|id| id.get(1..7)).collect();
                format!("heads cursor {cursor} [{}]", heads.join(" "))
            }
            Self::Other => frame.chars().take(150).collect(),
        }
    }
}

fn after<'f>(frame: &'f str, word: &str) -> Option<&'f str> {
    frame.split_once(word).map(|(_, rest)| rest)
}

fn number(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..digits)?.parse().ok()
}

/// The ids of the ops in a frame: each stands right before its signature.
fn op_ids(frame: &str) -> Vec<OpId> {
    frame
        .match_indices("\",\"sig\":\"")
        .filter_map(|(at, _)| OpId::parse(frame.get(at.checked_sub(64)?..at)?).ok())
        .collect()
}
