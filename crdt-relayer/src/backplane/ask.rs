//! What one relayer asks of the others over the bus: to post ops that it lacks.

use crdt_core::id::{OpId, RoomId, StoreId};
use crdt_core::json::Value;
use crdt_core::limits;
use serde_json::json;

/// Ops that a relayer lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The relayer's store.
    pub(crate) from: StoreId,
    pub(crate) room: RoomId,
    /// At most [`limits::GET_IDS_MAX`].
    pub(crate) ids: Vec<OpId>,
}

impl Ask {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let ids: Vec<String> = self.ids.iter().map(OpId::to_string).collect();
        let (from, room) = (self.from.to_string(), self.room.to_string());
        json!({"from": from, "ids": ids, "room": room}).to_string().into_bytes()
    }

    /// Reads what anybody on the bus may have written; `None` if it is no such question.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let value = Value::parse(text, 2).ok()?;
        let text = |name| value.member(name).and_then(Value::as_str);
        let ids = value.member("ids").and_then(Value::as_array)?;
        if ids.is_empty() || ids.len() > limits::GET_IDS_MAX {
            return None;
        }
        let id = |value: &Value<'_>| OpId::parse(value.as_str()?).ok();
        Some(Self {
            from: StoreId::parse(text("from")?).ok()?,
            room: RoomId::parse(text("room")?).ok()?,
            ids: ids.iter().map(id).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_and_anything_else_is_none() {
        let ids = vec![OpId::from_bytes([1; 32]), OpId::from_bytes([2; 32])];
        let room = RoomId::from_bytes([3; 32]);
        let ask = Ask { from: StoreId::from_bytes([4; 32]), room, ids };
        assert_eq!(Ask::decode(&ask.encode()), Some(ask.clone()));
        let none = Ask { ids: Vec::new(), ..ask.clone() };
        let many = Ask { ids: vec![ask.ids[0]; limits::GET_IDS_MAX + 1], ..ask };
        for text in [none.encode(), many.encode(), b"{}".to_vec(), b"[".repeat(9), Vec::new()] {
            assert_eq!(Ask::decode(&text), None);
        }
    }
}
