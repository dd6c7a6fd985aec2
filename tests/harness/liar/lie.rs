//! What each lie makes of the frames that pass a lying relayer: no sockets, one connection.

use std::collections::{BTreeSet, VecDeque};

use crdt_core::id::{OpId, RoomId};
use crdt_core::message::Message;
use crdt_core::order::set_digest;
use serde_json::{Value, json};

use crate::client;

/// Frames of ops that a lie keeps; older ones go first.
const KEPT_MAX: usize = 1_000;

/// Frames of ops that [`Lie::Reorder`] holds back until it lets all go at once.
const HELD_MAX: usize = 8;

/// Ids of one invented announcement. Two of them are a peer's whole share of a node's want-list.
const PHANTOMS: u64 = 1_024;

/// How a relayer lies to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Not at all.
    None,
    /// It ends every connection at once.
    Absent,
    /// The ops of this author are left out; everything else, heads included, is true.
    WithholdAuthor(String),
    /// No op and no heads come; what the node sends is passed on and acknowledged.
    WithholdAll,
    /// The heads are true, and no op is ever served.
    Hollow,
    /// It agrees with whatever the node says it holds, claims that this is all it has, and serves
    /// no op.
    Echo,
    /// Ops come in reverse, and after the heads that name them.
    Reorder,
    /// Every `ops` and `heads` comes twice, in both directions.
    Duplicate,
    /// Its cursors are small, and at every announcement it sends all ops again.
    Rewind,
    /// Each connection is to another store, which is empty, acknowledges everything and keeps
    /// nothing.
    Forget,
    /// Its heads are ops that nobody has, others each time.
    Phantom,
    /// Between the ops come those of other rooms.
    OtherRooms,
    /// Ops are altered: their text, their author, or their signature.
    Forge,
    /// What it sends comes byte by byte.
    Trickle,
    /// It never reads what the node sends.
    Deaf,
}

/// Frames to send because of one that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) to_node: Vec<String>,
    pub(super) to_relayer: Vec<String>,
}

/// One connection of a node through the liar to the honest relayer.
#[derive(Debug)]
pub(super) struct Tongue {
    lie: Lie,
    /// The store the liar claims to be.
    store: String,
    /// For each `ops` frame the node or relayer was given and has not acknowledged: whether the
    /// other side waits for that `ack`.
    node_owes: VecDeque<bool>,
    relayer_owes: VecDeque<bool>,
    /// The honest relayer's last, for [`Lie::Echo`].
    cursor: Value,
    held: Vec<Value>,
    kept: VecDeque<Value>,
    invented: u64,
}

impl Tongue {
    /// `seed` makes what one connection invents different from what others do.
    pub(super) fn new(lie: Lie, store: String, seed: u64) -> Self {
        Self {
            lie,
            store,
            node_owes: VecDeque::new(),
            relayer_owes: VecDeque::new(),
            cursor: json!(0),
            held: Vec::new(),
            kept: VecDeque::new(),
            invented: seed << 32,
        }
    }

    pub(super) fn lie(&self) -> &Lie {
        &self.lie
    }

    /// Lies differently from now on. What was held back comes.
    pub(super) fn change(&mut self, lie: Lie) -> Turn {
        self.lie = lie;
        let mut turn = Turn::default();
        self.release(&mut turn);
        turn
    }

    /// A frame of the honest relayer.
    pub(super) fn relayer_says(&mut self, text: String) -> Turn {
        let mut turn = Turn::default();
        let message: Value = serde_json::from_str(&text).expect("an honest relayer sends JSON");
        match message["type"].as_str() {
            Some("hello") => turn.to_node.push(self.hello(message)),
            Some("ops") => self.ops_down(message, text, &mut turn),
            Some("heads") => self.heads_down(message, text, &mut turn),
            Some("sub") if matches!(self.lie, Lie::Rewind | Lie::Forget) => {
                turn.to_node.push(with(message, "cursor", json!(0)));
            }
            Some("get") if self.lie == Lie::Forget => {}
            Some("ack") => {
                if self.relayer_owes.pop_front().unwrap_or(true) {
                    turn.to_node.push(text);
                }
            }
            _ => turn.to_node.push(text),
        }
        turn
    }

    /// A frame of the node.
    pub(super) fn node_says(&mut self, text: String) -> Turn {
        let mut turn = Turn::default();
        let message: Value = serde_json::from_str(&text).expect("an honest node sends JSON");
        match message["type"].as_str() {
            Some("ops") => self.ops_up(message, text, &mut turn),
            Some("heads" | "get") if self.lie == Lie::Forget => {}
            Some("heads") if self.lie == Lie::Echo => {
                turn.to_node.push(with(message, "cursor", self.cursor.clone()));
            }
            Some("heads") if self.lie == Lie::Duplicate => {
                turn.to_relayer.extend([text.clone(), text]);
            }
            Some("ack") => {
                if self.node_owes.pop_front().unwrap_or(true) {
                    turn.to_relayer.push(text);
                }
            }
            _ => turn.to_relayer.push(text),
        }
        turn
    }

    fn hello(&mut self, message: Value) -> String {
        let store = if self.lie == Lie::Forget { self.invent() } else { self.store.clone() };
        with(message, "store", json!(store))
    }

    fn ops_up(&mut self, message: Value, text: String, turn: &mut Turn) {
        match self.lie {
            Lie::Forget => {
                turn.to_node.push(ack(&message));
                turn.to_node.push(credit(text.len()));
            }
            Lie::Duplicate => {
                turn.to_relayer.extend([text.clone(), text]);
                self.relayer_owes.extend([true, false]);
            }
            Lie::Reorder => {
                turn.to_relayer.push(reversed(message).to_string());
                self.relayer_owes.push_back(true);
            }
            Lie::None
            | Lie::Absent
            | Lie::WithholdAuthor(_)
            | Lie::WithholdAll
            | Lie::Hollow
            | Lie::Echo
            | Lie::Rewind
            | Lie::Phantom
            | Lie::OtherRooms
            | Lie::Forge
            | Lie::Trickle
            | Lie::Deaf => {
                turn.to_relayer.push(text);
                self.relayer_owes.push_back(true);
            }
        }
    }

    fn ops_down(&mut self, message: Value, text: String, turn: &mut Turn) {
        match &self.lie {
            Lie::None | Lie::Absent | Lie::Trickle | Lie::Deaf | Lie::Phantom => {
                turn.to_node.push(text);
                self.node_owes.push_back(true);
            }
            Lie::WithholdAuthor(author) => {
                let author = author.clone();
                let kept = only(message.clone(), |op| op["head"]["author"] != author.as_str());
                self.instead(&message, text.len(), [kept], turn);
            }
            Lie::WithholdAll | Lie::Hollow | Lie::Echo | Lie::Forget => {
                self.instead(&message, text.len(), [], turn);
            }
            Lie::Reorder => {
                self.instead(&message, text.len(), [], turn);
                self.held.push(reversed(message));
                if self.held.len() >= HELD_MAX {
                    self.release(turn);
                }
            }
            Lie::Duplicate => self.instead(&message, 0, [message.clone(), message.clone()], turn),
            Lie::Rewind => {
                let small = rewound(message.clone());
                if self.kept.len() >= KEPT_MAX {
                    self.kept.pop_front();
                }
                self.kept.push_back(small.clone());
                self.instead(&message, 0, [small], turn);
            }
            Lie::OtherRooms => {
                let foreign = foreign(&message);
                self.instead(&message, 0, foreign.into_iter().chain([message.clone()]), turn);
            }
            Lie::Forge => {
                let forged = self.forged(message.clone());
                self.instead(&message, 0, [forged], turn);
            }
        }
    }

    /// Takes a relayer's `ops` frame as if it were stored, and gives the node these instead. Credit
    /// for `lost` bytes is granted here, as the node will not grant it.
    fn instead(
        &mut self,
        message: &Value,
        lost: usize,
        told: impl IntoIterator<Item = Value>,
        turn: &mut Turn,
    ) {
        turn.to_relayer.push(ack(message));
        if lost > 0 {
            turn.to_relayer.push(credit(lost));
        }
        for message in told {
            turn.to_node.push(message.to_string());
            self.node_owes.push_back(false);
        }
    }

    fn heads_down(&mut self, message: Value, text: String, turn: &mut Turn) {
        match self.lie {
            Lie::WithholdAll => {}
            Lie::Echo => self.cursor = message["cursor"].clone(),
            Lie::Reorder => {
                turn.to_node.push(text);
                self.release(turn);
            }
            Lie::Duplicate => turn.to_node.extend([text.clone(), text]),
            Lie::Rewind => {
                let again: Vec<Value> = self.kept.iter().cloned().collect();
                for frame in again {
                    turn.to_node.push(frame.to_string());
                    self.node_owes.push_back(false);
                }
                turn.to_node.push(rewound(message).to_string());
            }
            Lie::Forget => turn.to_node.push(nothing(&message)),
            Lie::Phantom => {
                for _ in 0..2 {
                    let frame = self.phantoms(&message);
                    turn.to_node.push(frame);
                }
            }
            Lie::None
            | Lie::Absent
            | Lie::WithholdAuthor(_)
            | Lie::Hollow
            | Lie::OtherRooms
            | Lie::Forge
            | Lie::Trickle
            | Lie::Deaf => turn.to_node.push(text),
        }
    }

    /// Lets go what was held back, the last first.
    fn release(&mut self, turn: &mut Turn) {
        while let Some(frame) = self.held.pop() {
            turn.to_node.push(frame.to_string());
            self.node_owes.push_back(false);
        }
    }

    fn phantoms(&mut self, heads: &Value) -> String {
        let mut ids: Vec<String> = (0..PHANTOMS).map(|_| self.invent()).collect();
        ids.sort_unstable();
        let set = self.invent();
        let message = with_value(heads.clone(), "heads", json!(ids));
        with(message, "set", json!(set))
    }

    /// Every op altered, each in another way than the one before.
    fn forged(&mut self, mut message: Value) -> Value {
        for op in message["ops"].as_array_mut().into_iter().flatten() {
            self.invented += 1;
            match self.invented % 3 {
                0 => op["data"] = json!([{"text": "forged", "type": "note"}]),
                1 => op["head"]["author"] = json!("0".repeat(64)),
                _ => op["sig"] = json!("0".repeat(128)),
            }
        }
        message
    }

    /// An id that nothing has.
    fn invent(&mut self) -> String {
        self.invented += 1;
        let mut bytes = [0xee; 32];
        bytes[8..16].copy_from_slice(&self.invented.to_be_bytes());
        OpId::from_bytes(bytes).to_string()
    }
}

fn with_value(mut message: Value, member: &str, value: Value) -> Value {
    message[member] = value;
    message
}

fn with(message: Value, member: &str, value: Value) -> String {
    with_value(message, member, value).to_string()
}

/// The `ack` of one who stored everything.
fn ack(ops: &Value) -> String {
    let stored = ops["ops"].as_array().map_or(0, Vec::len);
    json!({"type": "ack", "room": ops["room"], "stored": stored, "except": []}).to_string()
}

fn credit(bytes: usize) -> String {
    Message::Credit { bytes: bytes as u64 }.encode().to_string()
}

/// The `heads` of an empty room.
fn nothing(heads: &Value) -> String {
    let room = RoomId::parse(heads["room"].as_str().unwrap_or_default()).unwrap();
    let set = set_digest(&BTreeSet::new());
    json!({
        "type": "heads", "room": room.to_string(), "set": set.to_string(),
        "count": 0, "heads": [], "cursor": 0,
    })
    .to_string()
}

fn only(mut message: Value, keep: impl Fn(&Value) -> bool) -> Value {
    if let Some(ops) = message["ops"].as_array_mut() {
        ops.retain(|op| keep(op));
    }
    message
}

fn reversed(mut message: Value) -> Value {
    if let Some(ops) = message["ops"].as_array_mut() {
        ops.reverse();
    }
    message
}

fn rewound(mut message: Value) -> Value {
    if message["cursor"].is_u64() {
        message["cursor"] = json!(1);
    }
    message
}

/// A good op of a room the node is not in: once said to be of this room, once of its own.
fn foreign(ops: &Value) -> Vec<Value> {
    let op = client::op(250, "elsewhere", "not for you").to_string();
    let op: Value = serde_json::from_str(&op).unwrap();
    let elsewhere = client::room_id("elsewhere").to_string();
    [ops["room"].clone(), json!(elsewhere)]
        .map(|room| json!({"type": "ops", "room": room, "ops": [op]}))
        .into()
}
