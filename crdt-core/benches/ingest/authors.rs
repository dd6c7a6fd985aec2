//! Those who write the ops that are fed in, and who can check their signatures alone.

use std::fmt::{self, Write as _};

use crdt_core::head::Kind;
use crdt_core::id::{Depth, OpId, RoomId, Seq};
use crdt_core::json::Canonical;
use crdt_core::key::{PublicKey, SecretKey, Signature};
use crdt_core::limits;
use crdt_core::message::encode_ops;
use crdt_core::op::{Draft, Op};
use ed25519_dalek::VerifyingKey;

use crate::{Failure, NOW};

/// What an id is signed behind. Source: `docs/PROTOCOL.md`, "Hashes and signatures".
const SIGNED: &[u8] = b"bft-crdt/v1/sig\0";

/// Who writes what, and how it comes.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Transactions in an op.
    pub(crate) entries: u32,
    /// Authors of the room, who write in turn.
    pub(crate) authors: u16,
    /// How many of them write at the same time: each names the ops written before by the others,
    /// or as many as it may.
    pub(crate) at_once: u16,
    /// Whether the ops of each piece come last first.
    pub(crate) reversed: bool,
}

/// One frame, and what it takes to check its signatures alone.
pub(crate) struct Page {
    pub(crate) frame: Vec<u8>,
    /// The index of each op's author, its id and signature.
    pub(crate) signed: Vec<(usize, OpId, Signature)>,
}

struct Author {
    key: SecretKey,
    public: PublicKey,
    /// The same key, as the library has it.
    verifying: VerifyingKey,
    tip: Option<(Seq, OpId)>,
}

/// Makes the ops of a room.
pub(crate) struct Authors {
    shape: Shape,
    room: RoomId,
    all: Vec<Author>,
    /// Index of the one who writes next.
    next: usize,
    /// The ops written last at the same time, sorted.
    heads: Vec<OpId>,
    depth: Depth,
    made: u32,
}

impl Authors {
    pub(crate) fn new(shape: Shape, room: RoomId) -> Result<Self, Failure> {
        let author = |number: u16| {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            let key = SecretKey::from_seed(&seed);
            let public = PublicKey::of(key.author())?;
            let verifying = VerifyingKey::from_bytes(key.author().as_bytes())?;
            Ok(Author { key, public, verifying, tip: None })
        };
        let all = (0..shape.authors).map(author).collect::<Result<_, Failure>>()?;
        let (heads, depth) = (Vec::new(), Depth::FIRST);
        Ok(Self { shape, room, all, next: 0, heads, depth, made: 0 })
    }

    /// Makes the next piece of `count` ops and the frames that carry it.
    pub(crate) fn pages(&mut self, count: u32) -> Result<Vec<Page>, Failure> {
        let mut piece = self.piece(count)?;
        if self.shape.reversed {
            piece.reverse();
        }
        let (mut pages, mut ops, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (author, op) in piece {
            bytes += op.weight();
            ops.push((author, op));
            if bytes >= limits::BATCH_BYTES || ops.len() == limits::BATCH_OPS_MAX {
                pages.push(self.page(&std::mem::take(&mut ops)));
                bytes = 0;
            }
        }
        if !ops.is_empty() {
            pages.push(self.page(&ops));
        }
        Ok(pages)
    }

    /// Makes the next `count` ops, dependencies first.
    fn piece(&mut self, count: u32) -> Result<Vec<(usize, Op)>, Failure> {
        let mut piece = Vec::new();
        let end = self.made + count;
        while self.made < end {
            let start = piece.len();
            for _ in 0..u32::from(self.shape.at_once).min(end - self.made) {
                piece.push(self.op()?);
            }
            self.heads = piece.iter().skip(start).map(|(_, op)| op.id()).collect();
            self.heads.sort_unstable();
            self.depth = self.depth.next();
        }
        Ok(piece)
    }

    fn op(&mut self) -> Result<(usize, Op), Failure> {
        let index = self.next;
        let author = self.all.get_mut(index).ok_or("a room needs an author")?;
        let own = author.tip.map(|(_, id)| id);
        let others = self.heads.iter().copied().filter(|id| own != Some(*id));
        let draft = Draft {
            room: self.room,
            tip: author.tip,
            preds: others.take(limits::PREDS_MAX).collect(),
            refs: Vec::new(),
            depth: self.depth,
            ts: NOW,
            kind: Kind::entry(),
            data: transfers(self.shape.entries, index, self.made)?,
        };
        let op = draft.sign(&author.key)?;
        author.tip = Some((op.head().seq, op.id()));
        self.next = (index + 1) % self.all.len();
        self.made += 1;
        Ok((index, op))
    }

    fn page(&self, ops: &[(usize, Op)]) -> Page {
        let frame = encode_ops(self.room, ops.iter().map(|(_, op)| op), None, &[]);
        let signed = ops.iter().map(|(author, op)| (*author, op.id(), *op.sig())).collect();
        Page { frame: frame.as_bytes().to_vec(), signed }
    }

    /// Checks the signatures of a frame, as the library does it strictly, and does nothing else.
    pub(crate) fn verify(&self, page: &Page) -> bool {
        page.signed.iter().all(|(author, id, signature)| {
            let author = self.all.get(*author);
            let signed = [SIGNED, id.as_bytes()].concat();
            let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
            author.is_some_and(|author| author.verifying.verify_strict(&signed, &signature).is_ok())
        })
    }

    /// Checks the signatures of a frame as a replica does.
    pub(crate) fn check(&self, page: &Page) -> bool {
        page.signed.iter().all(|(author, id, signature)| {
            let author = self.all.get(*author);
            author.is_some_and(|author| author.public.verify(*id, signature).is_ok())
        })
    }
}

/// The data of an op: transfers of about 60 bytes each.
fn transfers(count: u32, author: usize, op: u32) -> Result<Canonical, fmt::Error> {
    let mut text = String::from("[");
    for index in 0..count {
        let comma = if index > 0 { "," } else { "" };
        let amount = op % 1_000 + 1;
        write!(text, "{comma}{{\"amount\":{amount},\"from\":\"account-{author}\",")?;
        write!(text, "\"note\":\"{op}.{index}\",\"to\":\"bob\"}}")?;
    }
    text.push(']');
    Ok(Canonical::trusted(text))
}
