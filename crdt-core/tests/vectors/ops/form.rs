//! What an op looks like: its text, its members, their types and their limits.

use super::super::made::{ALICE, Made, ROOM, hex, key, list, quoted, tagged};
use super::{Case, first, floating, ids, one, text};

pub(super) fn cases() -> Vec<Case> {
    [spellings(), texts(), envelopes(), members(), fields(), limits()]
        .into_iter()
        .flatten()
        .collect()
}

fn spellings() -> Vec<Case> {
    let op = Made::first(ALICE, r#"[{"a":1,"b":2}]"#);
    let plain = first();
    let reversed = |head: &str| {
        let members: Vec<&str> = head.trim_matches(['{', '}']).split(',').rev().collect();
        format!("{{{}}}", members.join(","))
    };
    let backwards = format!(
        r#"{{"sig":"{}","id":"{}","head":{},"data":[1]}}"#,
        hex(&plain.sig()),
        plain.hex_id(),
        reversed(&plain.head_text()),
    );
    let spaced = format!(" {}\n", op.text().replace(',', " ,\t").replace(':', "\r:\n"));
    vec![
        one("canonical", &op, "stored"),
        text("members in another order", backwards, "stored"),
        text("white space", spaced, "stored"),
        text(
            "escapes in names and values",
            op.text().replace("\"id\"", r#""\u0069d""#).replace("\"entry\"", r#""\u0065ntry""#),
            "stored",
        ),
        one("data in another order", &op.clone().envelope("data", r#"[{"b":2,"a":1}]"#), "stored"),
        one(
            "data beyond the limit on the wire, not in its canonical form",
            &first().envelope("data", format!("[1{}]", " ".repeat(65_536))),
            "stored",
        ),
    ]
}

fn texts() -> Vec<Case> {
    let op = first().text();
    vec![
        text("nothing", "", "json"),
        text("text after the op", format!("{op} x"), "json"),
        text("two ops", op.repeat(2), "json"),
        text("BOM", format!("\u{feff}{op}"), "json"),
        text("id twice", op.replace("{\"data\"", "{\"id\":1,\"data\""), "json"),
        text("v twice", op.replace("\"v\":1", "\"v\":1,\"v\":1"), "json"),
        one("data with one key twice", &first().data(r#"[{"a":1,"a":1}]"#), "json"),
        one("data with a fraction", &first().data("[1.0]"), "json"),
        one("data with half a pair", &first().data(r#"["\ud800"]"#), "json"),
        one("seq beyond 2^53 - 1", &floating().head("seq", 9_007_199_254_740_992_u64), "json"),
        one("depth with an exponent", &first().head("depth", "1e0"), "json"),
        text("an array", format!("[{op}]"), "field"),
        text("null", "null", "field"),
        text("a string", "\"op\"", "field"),
        text("an empty object", "{}", "field"),
    ]
}

fn envelopes() -> Vec<Case> {
    let (id, sig) = (first().hex_id(), hex(&first().sig()));
    let mut cases = vec![
        one("unknown member before all", &first().envelope("a", "null"), "field"),
        one("unknown member after all", &first().envelope("zz", "null"), "field"),
        text("a name in upper case", first().text().replace("\"id\"", "\"ID\""), "field"),
    ];
    for member in ["data", "head", "id", "sig"] {
        cases.push(one(format!("no {member}"), &first().envelope_without(member), "field"));
    }
    for (member, json) in [
        ("head", "null".into()),
        ("head", "[]".into()),
        ("head", "\"\"".into()),
        ("id", "null".into()),
        ("id", "1".into()),
        ("id", "\"\"".into()),
        ("id", quoted(id.to_uppercase())),
        ("id", quoted(cut(&id, 1))),
        ("id", quoted(cut(&id, 2))),
        ("id", quoted(format!("{id}00"))),
        ("id", quoted(format!("0x{}", cut(&id, 2)))),
        ("id", quoted(format!("{} ", cut(&id, 1)))),
        ("sig", "null".into()),
        ("sig", "[]".into()),
        ("sig", quoted(sig.to_uppercase())),
        ("sig", quoted(cut(&sig, 1))),
        ("sig", quoted(cut(&sig, 2))),
        ("sig", quoted(format!("{sig}00"))),
    ] {
        cases.push(one(format!("{member}: {json}"), &first().envelope(member, json), "field"));
    }
    cases
}

fn members() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "author", "depth", "dh", "dl", "grant", "kind", "preds", "prev", "refs", "room", "seq",
        "ts", "v",
    ]
    .map(|member| one(format!("no {member}"), &first().head_without(member), "field"))
    .into();
    cases.push(one("unknown member before all of the head", &first().head("a", "1"), "field"));
    cases.push(one("unknown member after all of the head", &first().head("zz", "1"), "field"));
    cases.push(one("version 0", &first().head("v", "0"), "version"));
    cases.push(one("version 2", &first().head("v", "2"), "version"));
    cases
}

fn fields() -> Vec<Case> {
    let author = hex(&key(ALICE).public);
    let room = hex(&tagged("room", ROOM.as_bytes()));
    let hash = hex(&tagged("data", b"[1]"));
    let wrong = [
        (
            "author",
            vec![
                "null".into(),
                quoted(author.to_uppercase()),
                quoted(cut(&author, 1)),
                quoted(cut(&author, 2)),
            ],
        ),
        ("depth", vec!["0".into(), "-1".into(), "null".into(), "\"1\"".into()]),
        (
            "dh",
            vec![
                "null".into(),
                "0".into(),
                quoted(hash.to_uppercase()),
                quoted(format!("{hash}00")),
            ],
        ),
        ("dl", vec!["-1".into(), "null".into(), "\"3\"".into()]),
        ("grant", vec!["null".into(), quoted(room.to_uppercase()), quoted(cut(&room, 2))]),
        (
            "kind",
            vec![
                "null".into(),
                "\"\"".into(),
                "\"Entry\"".into(),
                "\"a b\"".into(),
                "\"a/b\"".into(),
                "\"\u{e9}\"".into(),
                quoted("k".repeat(33)),
            ],
        ),
        (
            "preds",
            vec![
                "null".into(),
                "{}".into(),
                "\"\"".into(),
                "[1]".into(),
                "[null]".into(),
                "[\"00\"]".into(),
            ],
        ),
        ("prev", vec!["0".into(), "\"\"".into(), "false".into(), quoted("A".repeat(64))]),
        ("refs", vec!["null".into(), "{}".into(), "[[]]".into(), list(&["A".repeat(64)])]),
        ("room", vec!["null".into(), "\"main\"".into(), quoted(room.to_uppercase())]),
        ("seq", vec!["-1".into(), "null".into(), "\"0\"".into()]),
        ("ts", vec!["-1".into(), "null".into(), "\"1\"".into(), "\"2024-01-01T00:00:00Z\"".into()]),
        ("v", vec!["null".into(), "\"1\"".into(), "true".into()]),
    ];
    let cases = wrong.into_iter().flat_map(|(member, jsons): (_, Vec<String>)| {
        jsons
            .into_iter()
            .map(move |json| one(format!("{member}: {json}"), &first().head(member, json), "field"))
    });
    cases.collect()
}

fn limits() -> Vec<Case> {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let long = |len: usize| format!("[\"{}\"]", "x".repeat(len - 4));
    let largest = 9_007_199_254_740_991_u64;
    let data = |data: String| first().data(&data);
    vec![
        one("kind of 1 byte", &first().head("kind", "\"k\""), "stored"),
        one("kind of 32 bytes", &first().head("kind", quoted("k".repeat(32))), "stored"),
        one("16 preds", &floating().head("preds", ids(10..26)), "parked"),
        one("17 preds", &floating().head("preds", ids(10..27)), "size"),
        one("128 refs", &floating().head("refs", ids(10..138)), "parked"),
        one("129 refs", &floating().head("refs", ids(10..139)), "size"),
        one(
            "16 preds and 128 refs",
            &floating().head("preds", ids(200..216)).head("refs", ids(10..138)),
            "parked",
        ),
        one("data of 65536 bytes", &data(long(65_536)), "stored"),
        one("data of 65537 bytes", &data(long(65_537)), "size"),
        one("data nested 32 deep", &data(nested(32)), "stored"),
        one("data nested 33 deep", &data(nested(33)), "size"),
        one("ts 0", &first().head("ts", 0), "stored"),
        one("ts 2^53 - 1", &first().head("ts", largest), "stored"),
        one("seq 2^53 - 1", &floating().head("seq", largest), "parked"),
        one("depth 2^53 - 1", &floating().head("depth", largest), "parked"),
        one("dl 2^53 - 1", &first().head("dl", largest), "data"),
    ]
}

/// A text without its first bytes.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap()
}
