//! One client that says whatever it is told to, and what is said.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::net::{Disk, MAIN, Node};
use crate::effect::{Effect, Input, Link, PeerId};
use crate::fixtures::room;
use crate::id::{Position, StoreId};
use crate::limits;
use crate::message::{Frame, Hello, Message, Received, encode_ops};
use crate::op::Op;
use crate::replica::Replica;
use crate::time::Timestamp;

/// A peer that says whatever a test wants it to say to the relayer.
pub(super) struct Client {
    pub(super) replica: Replica,
    pub(super) peer: PeerId,
    pub(super) disk: Disk,
}

impl Client {
    pub(super) fn unknown() -> Self {
        let Node { mut replica, disk, .. } = Node::start(0, Disk::default());
        replica.handle(Timestamp::from_ms(0), Input::PeerUp(PeerId(1), Link::ACCEPTED));
        Self { replica, peer: PeerId(1), disk }
    }

    pub(super) fn new() -> Self {
        let mut client = Self::unknown();
        let hello = hello(9, limits::WINDOW_BYTES);
        client.say(&hello);
        client
    }

    /// Speaks on another connection from now on, as somebody else.
    pub(super) fn as_another(&mut self, number: u8, link: Link) {
        self.peer = PeerId(u64::from(number));
        self.input(Input::PeerUp(self.peer, link));
        self.say(&hello(number, limits::WINDOW_BYTES));
    }

    pub(super) fn say(&mut self, frame: &str) -> Vec<Effect> {
        self.input(Input::received(self.peer, frame.as_bytes()))
    }

    pub(super) fn say_at(&mut self, now: Timestamp, frame: &str) -> Vec<Effect> {
        let input = Input::received(self.peer, frame.as_bytes());
        let mut effects = self.replica.handle(now, input);
        effects.extend(self.replica.handle(now, Input::Flush));
        self.carry_out(effects)
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        let now = Timestamp::from_ms(0);
        let mut effects = self.replica.handle(now, input);
        effects.extend(self.replica.handle(now, Input::Flush));
        self.carry_out(effects)
    }

    /// Keeps and reads what the replica wants kept and read. Returns the other effects.
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let now = Timestamp::from_ms(0);
        let mut effects = VecDeque::from(effects);
        let mut visible = Vec::new();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(record) => self.disk.0.push(record),
                Effect::Load(load) => {
                    let loaded = self.disk.load(&load);
                    effects.extend(self.replica.handle(now, Input::Loaded(loaded)));
                }
                Effect::Send(..) | Effect::Close(..) | Effect::Notify(_) => visible.push(effect),
            }
        }
        visible
    }
}

/// The number of a question of a comparison, if a message is one.
pub(super) fn question(frame: &str) -> Option<u64> {
    match Received::decode(frame.as_bytes()) {
        Ok(Received::Message(Message::Reconcile { answer: false, number, .. })) => Some(number),
        _ => None,
    }
}

pub(super) fn hello(store: u8, window: u64) -> Frame {
    let store = StoreId::from_bytes([store; 32]);
    Message::Hello(Hello::new("test", store, window)).encode()
}

/// What an effect tells the peer, in one word or two.
pub(super) fn said(effects: &[Effect]) -> Vec<String> {
    let describe = |effect: &Effect| match effect {
        Effect::Send(_, frame) => match Received::decode(frame.as_bytes()).unwrap() {
            Received::Message(Message::Err { code, .. }) => Some(format!("err {code}")),
            Received::Message(_) => None,
            Received::Acked { .. } => frame.split("\"code\":\"").nth(1).map_or_else(
                || Some("ack".to_string()),
                |rest| Some(format!("ack {}", rest.split('"').next().unwrap())),
            ),
            Received::Ops(_) => Some("ops".into()),
        },
        Effect::Close(_, reason) => Some(format!("close {}", reason.as_str())),
        _ => None,
    };
    effects.iter().filter_map(describe).collect()
}

pub(super) fn ops(ops: &[&Op]) -> Frame {
    encode_ops(room(MAIN), ops.iter().copied(), None, &[])
}

pub(super) fn sub(cursor: u64) -> Frame {
    let cursor = Position::new(cursor).unwrap();
    Message::Sub { room: room(MAIN), name: None, cursor: Some(cursor) }.encode()
}
