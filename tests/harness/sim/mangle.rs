//! A relayer that lies: an honest replica whose frames pass through here on their way out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crdt_core::effect::PeerId;
use crdt_core::id::AuthorId;
use crdt_core::message::Frame;
use serde_json::{Value, json};

use super::options::Lie;
use super::tape::Tape;

/// How a relayer lies.
#[derive(Clone, Debug)]
pub(super) struct Mangler {
    pub(super) lies: BTreeSet<Lie>,
    /// Whose ops it keeps back.
    pub(super) victim: Option<AuthorId>,
    /// The room it passes things on under.
    pub(super) other_room: String,
}

impl Mangler {
    fn does(&self, lie: Lie, tape: &mut Tape, per_mille: u32) -> bool {
        self.lies.contains(&lie) && tape.chance(per_mille)
    }

    /// Whether a frame that came is answered and thrown away; the answer.
    pub(super) fn swallow(&self, frame: &str, tape: &mut Tape) -> Option<Frame> {
        let ops = frame.starts_with("{\"type\":\"ops\"") && self.does(Lie::FalseAcks, tape, 300);
        let room = frame.split_once("\"room\":\"").and_then(|(_, rest)| rest.get(..64));
        let room = room.filter(|_| ops)?;
        Some(format!("{{\"type\":\"ack\",\"room\":\"{room}\",\"stored\":1,\"except\":[]}}").into())
    }

    /// What is sent instead of a frame.
    pub(super) fn mangle(&self, peer: PeerId, frame: &Frame, tape: &mut Tape) -> Vec<Frame> {
        if self.does(Lie::Drop, tape, 30) {
            return Vec::new();
        }
        let ops = frame.starts_with("{\"type\":\"ops\"");
        let heads = frame.starts_with("{\"type\":\"heads\"");
        let mut sent = frame.clone();
        if (ops || heads)
            && let Ok(mut value) = serde_json::from_str::<Value>(frame)
        {
            let before = value.clone();
            if ops {
                self.mangle_ops(peer, &mut value, tape);
            }
            if heads && self.does(Lie::PhantomHeads, tape, 300) {
                let phantom = hex(&tape.bytes());
                value["heads"] = json!([phantom]);
                value["set"] = json!(hex(&tape.bytes()));
            }
            if self.does(Lie::Rewind, tape, 200)
                && let Some(cursor) = value["cursor"].as_u64()
            {
                value["cursor"] = json!(tape.between(0, cursor * 2));
            }
            if value != before {
                sent = value.to_string().into();
            }
        }
        if self.does(Lie::Corrupt, tape, 30) {
            let at = tape.below(sent.len());
            let flip = |(index, c): (usize, char)| if index == at { '7' } else { c };
            sent = sent.char_indices().map(flip).collect::<String>().into();
        }
        if self.does(Lie::Duplicate, tape, 100) {
            return vec![sent.clone(), sent];
        }
        vec![sent]
    }

    fn mangle_ops(&self, peer: PeerId, value: &mut Value, tape: &mut Tape) {
        if self.does(Lie::OtherRooms, tape, 50) {
            value["room"] = json!(self.other_room);
        }
        let (withhold_all, reorder) =
            (self.lies.contains(&Lie::WithholdAll), self.does(Lie::Reorder, tape, 400));
        let victim = self.victim.filter(|_| self.lies.contains(&Lie::WithholdAuthor));
        let victim = victim.map(|author| author.to_string());
        // Half of the peers see the even half of the ops, the others the odd one.
        let split = self.lies.contains(&Lie::SplitViews).then_some((peer.0 / 2).is_multiple_of(2));
        let Some(ops) = value["ops"].as_array_mut() else { return };
        ops.retain(|op| {
            let id = op["id"].as_str().unwrap_or_default();
            let even = id.bytes().last().is_some_and(|digit| digit % 2 == 0);
            let of_victim = op["head"]["author"].as_str() == victim.as_deref();
            !withhold_all && !of_victim && split.is_none_or(|half| half == even)
        });
        if reorder {
            let turn = tape.below(ops.len());
            ops.rotate_left(turn);
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
