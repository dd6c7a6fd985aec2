//! Ops put together by hand, each member as JSON text, so that wrong ones can be written too.
//! Nothing here uses the library: it is the protocol a second time.

use std::collections::BTreeMap;

use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha256};

use super::curve::{Key, signed_bytes};

pub(crate) fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

pub(crate) fn quoted(text: impl std::fmt::Display) -> String {
    format!("\"{text}\"")
}

pub(crate) fn tagged(tag: &str, bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(format!("bft-crdt/v1/{tag}\0")).chain_update(bytes).finalize().into()
}

/// The room of every op that does not say otherwise.
pub(crate) const ROOM: &str = "main";

pub(crate) const ALICE: u8 = 1;
pub(crate) const BOB: u8 = 2;
pub(crate) const CAROL: u8 = 3;

/// The key of author number so and so.
pub(crate) fn key(author: u8) -> Key {
    Key::from_seed([author; 32])
}

type Members = BTreeMap<&'static str, String>;

/// An op in the making. Its hashes and its signature are right unless a member is set to be wrong.
#[derive(Clone)]
pub(crate) struct Made {
    author: u8,
    head: Members,
    data: String,
    envelope: BTreeMap<&'static str, Option<String>>,
}

impl Made {
    /// An author's first op, without dependencies.
    pub(crate) fn first(author: u8, data: &str) -> Self {
        let room = quoted(hex(&tagged("room", ROOM.as_bytes())));
        let head = Members::from([
            ("author", quoted(hex(&key(author).public))),
            ("depth", "1".into()),
            ("grant", room.clone()),
            ("kind", "\"entry\"".into()),
            ("preds", "[]".into()),
            ("prev", "null".into()),
            ("refs", "[]".into()),
            ("room", room),
            ("seq", "0".into()),
            ("ts", "1".into()),
            ("v", "1".into()),
        ]);
        Self { author, head, data: String::new(), envelope: BTreeMap::new() }.data(data)
    }

    /// The author's op after this one.
    pub(crate) fn then(&self, data: &str) -> Self {
        let (seq, depth) = (self.number("seq") + 1, self.number("depth") + 1);
        let next = Self::first(self.author, data).head("prev", quoted(self.hex_id()));
        next.head("seq", seq).head("depth", depth).head("ts", self.number("ts"))
    }

    /// The same with other heads named.
    pub(crate) fn preds(self, ops: &[&Self]) -> Self {
        self.depending("preds", ops)
    }

    /// The same with other ops referred to.
    pub(crate) fn refs(self, ops: &[&Self]) -> Self {
        self.depending("refs", ops)
    }

    fn depending(self, member: &'static str, ops: &[&Self]) -> Self {
        let mut ids: Vec<String> = ops.iter().map(|op| op.hex_id()).collect();
        ids.sort();
        let deepest = ops.iter().map(|op| op.number("depth") + 1).max();
        let depth = deepest.unwrap_or(1).max(self.number("depth"));
        self.head(member, list(&ids)).head("depth", depth)
    }

    /// The same with this data, its hash and its length.
    pub(crate) fn data(mut self, data: &str) -> Self {
        self.data = data.into();
        let hash = quoted(hex(&tagged("data", data.as_bytes())));
        self.head("dh", hash).head("dl", data.len())
    }

    /// The same with one member of the head set to this JSON text.
    pub(crate) fn head(mut self, member: &'static str, json: impl ToString) -> Self {
        self.head.insert(member, json.to_string());
        self
    }

    /// The same without one member of the head.
    pub(crate) fn head_without(mut self, member: &'static str) -> Self {
        self.head.remove(member);
        self
    }

    /// The same with one member of the envelope set to this JSON text.
    pub(crate) fn envelope(mut self, member: &'static str, json: impl ToString) -> Self {
        self.envelope.insert(member, Some(json.to_string()));
        self
    }

    /// The same without one member of the envelope.
    pub(crate) fn envelope_without(mut self, member: &'static str) -> Self {
        self.envelope.insert(member, None);
        self
    }

    /// The same, signed by the same key with another nonce.
    pub(crate) fn signed_again(self) -> Self {
        let again = self.key().sign_with(Scalar::from(7_u8), &signed_bytes(&self.id()));
        self.envelope("sig", quoted(hex(&again)))
    }

    pub(crate) fn author(&self) -> u8 {
        self.author
    }

    pub(crate) fn key(&self) -> Key {
        key(self.author)
    }

    pub(crate) fn number(&self, member: &str) -> u64 {
        self.head[member].parse().unwrap()
    }

    pub(crate) fn head_text(&self) -> String {
        object(&self.head)
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        tagged("op", self.head_text().as_bytes())
    }

    pub(crate) fn hex_id(&self) -> String {
        hex(&self.id())
    }

    pub(crate) fn sig(&self) -> [u8; 64] {
        self.key().sign(&signed_bytes(&self.id()))
    }

    /// How many transactions it holds.
    pub(crate) fn entries(&self) -> usize {
        let data: serde_json::Value = serde_json::from_str(&self.data).unwrap();
        let is_entry = self.head["kind"] == "\"entry\"";
        data.as_array().filter(|_| is_entry).map_or(0, Vec::len)
    }

    /// The envelope.
    pub(crate) fn text(&self) -> String {
        let mut members = Members::from([
            ("data", self.data.clone()),
            ("head", self.head_text()),
            ("id", quoted(self.hex_id())),
            ("sig", quoted(hex(&self.sig()))),
        ]);
        for (member, json) in &self.envelope {
            match json {
                Some(json) => members.insert(member, json.clone()),
                None => members.remove(member),
            };
        }
        object(&members)
    }
}

/// The two ops of the worked example in `docs/PROTOCOL.md`.
pub(crate) fn worked_example() -> [Made; 2] {
    let first = Made::first(ALICE, "[1]");
    let second = first.then("[{\"a\":\"\u{e9}\\u0007\",\"b\":1}]").head("ts", 5);
    [first, second]
}

/// An array of strings.
pub(crate) fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(quoted).collect();
    format!("[{}]", quoted.join(","))
}

/// The names are ASCII, so their order by bytes is the canonical one.
fn object(members: &Members) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}
