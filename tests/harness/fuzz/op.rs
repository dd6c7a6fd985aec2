//! One op: nothing panics, nothing unsigned is accepted, and what is accepted reads back as itself.

use crdt_core::evidence::Evidence;
use crdt_core::head::Head;
use crdt_core::id::{DataHash, Seq};
use crdt_core::json::{Canonical, Value};
use crdt_core::key::PublicKey;
use crdt_core::limits;
use crdt_core::op::{EnvelopeError, HashedOp, Op, RawOp};
use crdt_core::rejection::Rejection;

use super::forge;
use super::tape::Tape;

/// First byte of an input that is a tape of changes to an op. JSON does not start with it.
const STRUCTURED: u8 = 0;

/// Takes an envelope or evidence as text, or a zero byte and a tape that says how to forge an op.
pub fn run(data: &[u8]) {
    if let Some((&STRUCTURED, tape)) = data.split_first() {
        return structured(&mut Tape::new(tape));
    }
    if let Ok(evidence) = Evidence::verify(data) {
        let text = data.strip_suffix(b"\n").unwrap_or(data);
        assert_eq!(text, evidence.to_string().as_bytes());
    }
    let taken_apart = Value::parse(data, limits::FRAME_DEPTH_MAX).map_err(EnvelopeError::from);
    let taken_apart = taken_apart.and_then(|value| Ok(RawOp::decode(&value)?));
    assert_eq!(RawOp::parse(data), taken_apart, "however it is read, it is the same op");
    if let Ok(raw) = taken_apart {
        check(raw);
    }
}

fn structured(tape: &mut Tape<'_>) {
    let author = tape.byte() % forge::AUTHORS;
    let data = forge::data(tape);
    let mut head = forge::first(forge::key(author).author(), forge::room(0).id(), &data);
    let known = [1, 2, 3].map(|byte| crdt_core::id::OpId::from_bytes([byte; 32]));
    for _ in 0..tape.below(8) {
        forge::bend(tape, &mut head, &known);
    }
    if !tape.byte().is_multiple_of(4) {
        head.preds.sort_unstable();
        head.preds.dedup();
        head.refs.sort_unstable();
        head.refs.dedup();
    }
    let (raw, honest) = forge::sign(tape, author, head, data);
    let sound = is_sound(&raw.head, raw.data.as_str());
    match check(raw) {
        Some(_) => assert!(honest && sound, "accepted what nobody signed or what is not sound"),
        None => assert!(!(honest && sound), "refused what is signed and sound"),
    }
}

/// The rules of the protocol that need nothing but the op, written anew.
fn is_sound(head: &Head, data: &str) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(data) else { return false };
    let entries = value.as_array().map_or(0, Vec::len);
    let mut text = String::new();
    head.write(&mut text);
    let mut dependencies: Vec<_> = head.dependencies().collect();
    let named = dependencies.len();
    dependencies.sort_unstable();
    dependencies.dedup();
    let ascending = |ids: &[_]| ids.windows(2).all(|pair| pair[0] < pair[1]);
    head.prev.is_none() == (head.seq == Seq::FIRST)
        && head.preds.len() <= 16
        && head.refs.len() <= 128
        && ascending(&head.preds)
        && ascending(&head.refs)
        && dependencies.len() == named
        && (0..=limits::INTEGER_MAX).contains(&head.ts.as_ms())
        && text.len() <= 16 * 1024
        && data.len() <= 64 * 1024
        && head.data_hash == DataHash::of(data)
        && usize::try_from(head.data_len) == Ok(data.len())
        && (!head.kind.is_entry() || (1..=256).contains(&entries))
}

/// Checks an op by every rule. Returns it if it is accepted; panics if it should not have been.
pub fn check(raw: RawOp) -> Option<Op> {
    let kept = raw.clone();
    let op = match raw.check_hash() {
        Ok(hashed) => verified(hashed)?,
        Err(rejection) => return refused(rejection),
    };
    assert_eq!((op.id(), op.head()), (kept.id, &kept.head));
    assert_eq!((op.data(), op.sig()), (kept.data.as_str(), &kept.sig));
    Some(op)
}

/// The same for one whose hash was checked.
pub fn verified(hashed: HashedOp) -> Option<Op> {
    let op = match hashed.verify() {
        Ok(op) => op,
        Err(rejection) => return refused(rejection),
    };
    assert_eq!(op.id(), op.head().id());
    let author = PublicKey::of(op.head().author).expect("the author is a key");
    assert_eq!(author.verify(op.id(), op.sig()), Ok(()));
    assert!(is_sound(op.head(), op.data()));

    let entries = op.entries();
    assert_eq!(entries.len(), op.entry_count());
    let joined: Vec<&str> = entries.iter().map(Canonical::as_str).collect();
    if op.head().kind.is_entry() {
        assert_eq!(format!("[{}]", joined.join(",")), op.data());
    }
    let text = op.to_string();
    let value = Value::parse(text.as_bytes(), limits::FRAME_DEPTH_MAX).expect("JSON");
    assert_eq!(Canonical::of(&value).as_str(), text, "the envelope is canonical");
    let again = RawOp::parse(text.as_bytes());
    assert_eq!(again, RawOp::decode(&value).map_err(EnvelopeError::from));
    let again = again.expect("an envelope").check_hash().and_then(HashedOp::verify);
    let again = again.expect("a signed op");
    assert_eq!((again.id(), again.head()), (op.id(), op.head()), "an op reads back as itself");
    assert_eq!((again.data(), again.sig()), (op.data(), op.sig()), "an op reads back as itself");
    Some(op)
}

fn refused(rejection: Rejection) -> Option<Op> {
    assert!(!rejection.code().is_empty() && !rejection.to_string().is_empty());
    None
}
