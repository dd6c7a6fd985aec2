use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::id::AuthorId;
use crate::id::RoomName;
use crate::limits::{DATA_BYTES_MAX, DATA_DEPTH_MAX, ENTRIES_MAX, FRAME_DEPTH_MAX};

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn draft(data: &str) -> Draft {
    Draft {
        room: RoomName::parse("main").unwrap().id(),
        tip: None,
        preds: vec![],
        refs: vec![],
        depth: Depth::FIRST,
        ts: Timestamp::from_ms(1),
        kind: Kind::entry(),
        data: Canonical::parse(data.as_bytes()).unwrap(),
    }
}

fn ids(bytes: &[u8]) -> Vec<OpId> {
    bytes.iter().map(|byte| OpId::from_bytes([*byte; 32])).collect()
}

/// A head changed after the fact, then hashed and signed again: only head rules can object.
fn resigned(change: impl FnOnce(&mut RawOp)) -> Result<Op, Rejection> {
    let mut raw = draft("[1]").sign(&key()).unwrap().raw;
    raw.head.prev = Some(OpId::from_bytes([9; 32]));
    raw.head.seq = Seq::new(1).unwrap();
    change(&mut raw);
    raw.id = raw.head.id();
    raw.sig = key().sign(raw.id);
    check(&envelope(&raw))
}

fn envelope(raw: &RawOp) -> String {
    Op { raw: raw.clone(), entries: 0 }.to_string()
}

/// What becomes of an envelope, whichever way it is read.
fn check(text: &str) -> Result<Op, Rejection> {
    let taken_apart = RawOp::decode(&Value::parse(text.as_bytes(), FRAME_DEPTH_MAX).unwrap());
    assert_eq!(RawOp::parse(text.as_bytes()), taken_apart.clone().map_err(Into::into), "{text}");
    taken_apart?.check_hash()?.verify()
}

fn is_read_in_one_pass(text: &str) -> bool {
    Scanner::all(text, RawOp::scan).is_some()
}

#[test]
fn what_is_signed_reads_back_the_same() {
    let op = Draft { preds: ids(&[1, 2]), refs: ids(&[3]), ..draft(r#"[{"b":1,"a":"é"}]"#) };
    let op = op.sign(&key()).unwrap();
    let text = op.to_string();
    assert_eq!(Canonical::parse(text.as_bytes()).unwrap().as_str(), text, "written canonically");
    assert!(is_read_in_one_pass(&text), "{text}");
    let read = check(&text).unwrap();
    assert_eq!(read.raw, op.raw);
    assert_eq!(read.entries()[0].as_str(), r#"{"a":"é","b":1}"#);
}

#[test]
fn order_of_fields_and_white_space_on_the_wire_do_not_matter() {
    let op = draft(r#"[{"a":1,"b":2}]"#).sign(&key()).unwrap();
    let mut raw = op.to_string();
    raw = raw.replace(r#"{"a":1,"b":2}"#, "{ \"b\": 2,\n\"a\":1 }");
    let fields = format!("{{\"sig\":{}", raw.split("\"sig\":").nth(1).unwrap());
    let rest = raw.split(",\"sig\":").next().unwrap().trim_start_matches('{');
    let shuffled = format!("{}, {rest}}}", fields.trim_end_matches('}'));
    assert_eq!(check(&shuffled).unwrap().id(), op.id());
}

#[test]
fn the_field_set_is_exact() {
    let text = draft("[1]").sign(&key()).unwrap().to_string();
    for name in ["data", "head", "id", "sig", "author", "depth", "dh", "dl", "grant", "kind"] {
        let renamed = text.replace(&format!("\"{name}\":"), &format!("\"{name}x\":"));
        assert!(matches!(check(&renamed), Err(Rejection::Field(_))), "{name}");
    }
    for name in ["preds", "prev", "refs", "room", "seq", "ts", "v"] {
        let renamed = text.replace(&format!("\"{name}\":"), &format!("\"{name}x\":"));
        assert!(matches!(check(&renamed), Err(Rejection::Field(_))), "{name}");
    }
    let extra = text.replacen('{', "{\"zz\":1,", 1);
    assert_eq!(check(&extra).err(), Some(Rejection::Field("unknown")));
    let extra = text.replace("\"head\":{", "\"head\":{\"zz\":1,");
    assert_eq!(check(&extra).err(), Some(Rejection::Field("unknown")));
}

#[test]
fn types_and_spellings_are_exact() {
    let text = draft("[1]").sign(&key()).unwrap().to_string();
    for (from, to) in [
        ("\"depth\":1", "\"depth\":0"),
        ("\"depth\":1", "\"depth\":\"1\""),
        ("\"seq\":0", "\"seq\":-1"),
        ("\"ts\":1", "\"ts\":-1"),
        ("\"kind\":\"entry\"", "\"kind\":\"\""),
        ("\"kind\":\"entry\"", "\"kind\":\"Entry\""),
        ("\"kind\":\"entry\"", "\"kind\":\"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\""),
        ("\"prev\":null", "\"prev\":\"\""),
        ("\"preds\":[]", "\"preds\":[1]"),
        ("\"refs\":[]", "\"refs\":null"),
        ("\"dl\":3", "\"dl\":-3"),
    ] {
        assert!(text.contains(from), "{from}");
        let refused = check(&text.replace(from, to));
        assert!(matches!(refused, Err(Rejection::Field(_))), "{to}: {refused:?}");
    }
    let id = check(&text).unwrap().id().to_string();
    let upper = text.replace(&id, &id.to_uppercase());
    assert_eq!(check(&upper).err(), Some(Rejection::Field("id")));
    assert_eq!(check(&text.replace("\"v\":1", "\"v\":2")).err(), Some(Rejection::Version));
    assert_eq!(check("[]").err(), Some(Rejection::Field("object")));
}

#[test]
fn heads_that_contradict_themselves_are_refused() {
    let refused = |change: fn(&mut Head)| resigned(|raw| change(&mut raw.head)).err();
    assert_eq!(refused(|_| ()), None, "unchanged it is good");
    assert_eq!(refused(|head| head.prev = None), Some(Rejection::Head("prev")));
    assert_eq!(refused(|head| head.seq = Seq::FIRST), Some(Rejection::Head("prev")));
    assert_eq!(refused(|head| head.preds = ids(&[2, 1])), Some(Rejection::Head("preds")));
    assert_eq!(refused(|head| head.preds = ids(&[1, 1])), Some(Rejection::Head("preds")));
    assert_eq!(refused(|head| head.preds = ids(&[9])), Some(Rejection::Head("preds")));
    assert_eq!(refused(|head| head.refs = ids(&[2, 1])), Some(Rejection::Head("refs")));
    assert_eq!(refused(|head| head.refs = ids(&[9])), Some(Rejection::Head("refs")));
    let both = |head: &mut Head| {
        head.preds = ids(&[1]);
        head.refs = ids(&[1]);
    };
    assert_eq!(refused(both), Some(Rejection::Head("refs")));
}

#[test]
fn lists_stop_exactly_at_their_limits() {
    let many = |count: u8| (1..=count).map(|byte| OpId::from_bytes([byte; 32])).collect();
    let with = |preds: u8, refs: u8| {
        resigned(|raw| {
            raw.head.prev = Some(OpId::from_bytes([255; 32]));
            raw.head.preds = many(preds);
            raw.head.refs = many(refs);
        })
        .err()
    };
    assert_eq!(with(16, 0), None);
    assert_eq!(with(17, 0), Some(Rejection::Size("preds")));
    assert_eq!(with(0, 128), None);
    assert_eq!(with(0, 129), Some(Rejection::Size("refs")));
}

#[test]
fn data_must_match_its_hash_and_length() {
    let wrong_len = resigned(|raw| raw.head.data_len += 1);
    assert_eq!(wrong_len.err(), Some(Rejection::Data));
    let wrong_hash = resigned(|raw| raw.head.data_hash = DataHash::of("[2]"));
    assert_eq!(wrong_hash.err(), Some(Rejection::Data));
    let swapped = resigned(|raw| raw.data = Canonical::parse(b"[2]").unwrap());
    assert_eq!(swapped.err(), Some(Rejection::Data));
}

#[test]
fn data_stops_exactly_at_its_limits() {
    let text = |len: usize| format!("[\"{}\"]", "x".repeat(len - 4));
    assert!(draft(&text(DATA_BYTES_MAX)).sign(&key()).is_ok());
    let long = draft(&text(DATA_BYTES_MAX + 1)).sign(&key());
    assert_eq!(long.err(), Some(Rejection::Size("data")));
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let envelope = draft(&nested(DATA_DEPTH_MAX)).sign(&key()).unwrap().to_string();
    assert!(check(&envelope).is_ok());
    let deeper = envelope.replace(&nested(DATA_DEPTH_MAX), &nested(DATA_DEPTH_MAX + 1));
    assert_eq!(check(&deeper).err(), Some(Rejection::Size("data")));
    let longer = envelope.replace(&nested(DATA_DEPTH_MAX), &text(DATA_BYTES_MAX + 1));
    assert_eq!(check(&longer).err(), Some(Rejection::Size("data")));
}

#[test]
fn an_id_is_the_hash_of_the_head() {
    let raw = draft("[1]").sign(&key()).unwrap().raw;
    let moved = RawOp { id: OpId::from_bytes([5; 32]), ..raw.clone() };
    assert_eq!(check(&envelope(&moved)).err(), Some(Rejection::Id));
    let later = Head { ts: Timestamp::from_ms(2), ..raw.head.clone() };
    let altered = RawOp { head: later, ..raw };
    assert_eq!(check(&envelope(&altered)).err(), Some(Rejection::Id));
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let mut raw = draft("[1]").sign(&key()).unwrap().raw;
    raw.sig = SecretKey::from_seed(&[2; 32]).sign(raw.id);
    assert_eq!(check(&envelope(&raw)).err(), Some(Rejection::Signature));
    raw.head.author = AuthorId::from_bytes([0; 32]);
    raw.id = raw.head.id();
    assert_eq!(check(&envelope(&raw)).err(), Some(Rejection::Key));
}

#[test]
fn an_entry_op_holds_1_to_256_values() {
    let array = |len: usize| {
        let ones: Vec<&str> = core::iter::repeat_n("1", len).collect();
        format!("[{}]", ones.join(","))
    };
    for bad in ["[]", "{}", "1", "\"[1]\"", "null", &array(ENTRIES_MAX + 1)] {
        assert_eq!(draft(bad).sign(&key()).err(), Some(Rejection::Entry), "{bad}");
    }
    assert_eq!(draft(&array(ENTRIES_MAX)).sign(&key()).unwrap().entry_count(), ENTRIES_MAX);
    let tricky = r#"["a,\"],[",{"x":[1,2],"y":","},[3,[4,5]],"\\"]"#;
    assert_eq!(draft(tricky).sign(&key()).unwrap().entry_count(), 4);
}

#[test]
fn an_unknown_kind_may_hold_anything() {
    let unknown = Draft { kind: Kind::parse("vote").unwrap(), ..draft("null") };
    let op = unknown.sign(&key()).unwrap();
    assert_eq!(op.entry_count(), 0);
    assert!(check(&op.to_string()).unwrap().entries().is_empty());
}

#[test]
fn every_rejection_has_its_own_code() {
    use Rejection as R;
    let all = [
        R::Field(""),
        R::Size(""),
        R::Version,
        R::Head(""),
        R::Data,
        R::Id,
        R::Key,
        R::Signature,
        R::Entry,
        R::Room,
        R::Grant,
        R::Chain,
        R::Depth,
        R::Ancestor,
    ];
    let codes: alloc::collections::BTreeSet<_> = all.iter().map(|r| r.code()).collect();
    assert_eq!(codes.len(), all.len());
}
