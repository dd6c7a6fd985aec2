//! What the members of an op owe one another: hashes, signature, transactions.

use super::super::curve::signed_bytes;
use super::super::made::{BOB, hex, key, quoted, tagged};
use super::{Case, first, floating, ids, one};

pub(super) fn cases() -> Vec<Case> {
    [heads(), hashes(), signatures(), entries()].into_iter().flatten().collect()
}

fn heads() -> Vec<Case> {
    vec![
        one("no prev, seq 1", &floating().head("prev", "null"), "head"),
        one("prev, seq 0", &floating().head("seq", 0), "head"),
        one("preds out of order", &floating().head("preds", ids([2, 1])), "head"),
        one("one pred twice", &floating().head("preds", ids([1, 1])), "head"),
        one("prev among preds", &floating().head("preds", ids([1, 9])), "head"),
        one("refs out of order", &floating().head("refs", ids([2, 1])), "head"),
        one("one ref twice", &floating().head("refs", ids([1, 1])), "head"),
        one("prev among refs", &floating().head("refs", ids([9])), "head"),
        one(
            "a pred among refs",
            &floating().head("preds", ids([1])).head("refs", ids([1, 2])),
            "head",
        ),
        one(
            "preds and refs apart",
            &floating().head("preds", ids([1])).head("refs", ids([2])),
            "parked",
        ),
    ]
}

fn hashes() -> Vec<Case> {
    let op = first();
    let hash = |tag: &str, bytes: &str| quoted(hex(&tagged(tag, bytes.as_bytes())));
    let members: Vec<String> =
        op.head_text().trim_matches(['{', '}']).split(',').rev().map(String::from).collect();
    let unsorted = format!("{{{}}}", members.join(","));
    vec![
        one("dl one too many", &first().head("dl", 4), "data"),
        one("dl one too few", &first().head("dl", 2), "data"),
        one("dl in characters", &first().data("[\"\u{e9}\"]").head("dl", 5), "data"),
        one("other data", &first().envelope("data", "[2]"), "data"),
        one("dh over other data", &first().head("dh", hash("data", "[2]")), "data"),
        one(
            "dh over data as on the wire",
            &first().head("dh", hash("data", "[1 ]")).envelope("data", "[1 ]"),
            "data",
        ),
        one("dh with another tag", &first().head("dh", hash("op", "[1]")), "data"),
        one("another id", &first().envelope("id", quoted(hex(&[5; 32]))), "id"),
        one("id of the op after", &first().envelope("id", quoted(op.then("[2]").hex_id())), "id"),
        one(
            "id over the head in another order",
            &first().envelope("id", hash("op", &unsorted)),
            "id",
        ),
        one("id with another tag", &first().envelope("id", hash("data", &op.head_text())), "id"),
        one(
            "head altered after signing",
            &first().envelope("head", op.clone().head("ts", 2).head_text()),
            "id",
        ),
    ]
}

fn signatures() -> Vec<Case> {
    let op = first();
    let signed = |bytes: &[u8]| first().envelope("sig", quoted(hex(&op.key().sign(bytes))));
    let by_bob = key(BOB).sign(&signed_bytes(&op.id()));
    let mut flipped = op.sig();
    flipped[40] ^= 1;
    let author = |bytes: [u8; 32]| first().head("author", quoted(hex(&bytes)));
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut unreduced = [0xff; 32];
    (unreduced[0], unreduced[31]) = (0xf0, 0x7f);
    vec![
        one("signed again with another nonce", &first().signed_again(), "stored"),
        one("signature of zeros", &first().envelope("sig", quoted("0".repeat(128))), "sig"),
        one("signature by another key", &first().envelope("sig", quoted(hex(&by_bob))), "sig"),
        one(
            "one bit of the signature flipped",
            &first().envelope("sig", quoted(hex(&flipped))),
            "sig",
        ),
        one(
            "signature of the op after",
            &first().envelope("sig", quoted(hex(&op.then("[2]").sig()))),
            "sig",
        ),
        one("signature over the id without the tag", &signed(&op.id()), "sig"),
        one(
            "signature over the id in hexadecimal",
            &signed(&signed_bytes(op.hex_id().as_bytes())),
            "sig",
        ),
        one("signature over the head", &signed(&signed_bytes(op.head_text().as_bytes())), "sig"),
        one("another author", &author(key(BOB).public), "sig"),
        one("author is no point", &author([2; 32]), "key"),
        one("author is the identity", &author(identity), "key"),
        one("author is not reduced: y = p + 3", &author(unreduced), "key"),
    ]
}

fn entries() -> Vec<Case> {
    let ones = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let quotes = format!("[{}]", vec![r#""\"""#; 257].join(","));
    let entry = |name: &str, data: &str, verdict| one(name, &first().data(data), verdict);
    let kind =
        |name: &str, data: &str| one(name, &first().data(data).head("kind", "\"vote\""), "stored");
    vec![
        entry("no transaction", "[]", "entry"),
        entry("one transaction", "[null]", "stored"),
        entry("256 transactions", &ones(256), "stored"),
        entry("257 transactions", &ones(257), "entry"),
        entry("one transaction of 257 values", &format!("[{}]", ones(257)), "stored"),
        entry("257 commas in a string", &format!("[\"{}\"]", ",".repeat(257)), "stored"),
        entry(
            "257 quotes and commas in a string",
            &format!("[\"{}\"]", "\\\",".repeat(257)),
            "stored",
        ),
        entry("257 strings of a quote", &quotes, "entry"),
        entry("brackets and quotes in strings", r#"["]","\"],[","\\"]"#, "stored"),
        entry("an object", r#"{"0":1}"#, "entry"),
        entry("an empty object", "{}", "entry"),
        entry("a number", "1", "entry"),
        entry("a string", "\"[1]\"", "entry"),
        entry("null", "null", "entry"),
        kind("another kind with null", "null"),
        kind("another kind with an empty array", "[]"),
        kind("another kind with 257 values", &ones(257)),
    ]
}
