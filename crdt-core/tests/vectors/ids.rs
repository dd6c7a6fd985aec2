//! `ids.json`: what is hashed and signed, and what comes out.

use crdt_core::id::{DataHash, OpId, RoomName};
use crdt_core::json::{Canonical, Value};
use crdt_core::key::SecretKey;
use crdt_core::limits::FRAME_DEPTH_MAX;
use crdt_core::op::RawOp;
use serde::{Deserialize, Serialize};

use super::curve::Key;
use super::made::{ALICE, BOB, CAROL, Made, hex, list, quoted, tagged, worked_example};
use crate::Vectors;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    rooms: Vec<Room>,
    keys: Vec<Author>,
    data: Vec<Hashed>,
    ops: Vec<Signed>,
}

/// `id` is missing if the name is not allowed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Author {
    seed: String,
    author: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashed {
    data: String,
    dl: usize,
    dh: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    name: String,
    seed: String,
    head: String,
    id: String,
    sig: String,
    op: String,
}

impl Vectors for File {
    const FILE: &str = "ids.json";

    fn make() -> Self {
        Self { rooms: rooms(), keys: keys(), data: data(), ops: ops() }
    }

    fn check(&self) {
        for room in &self.rooms {
            let id = RoomName::parse(&room.name).ok().map(|name| name.id().to_string());
            assert_eq!(id, room.id, "{}", room.name);
        }
        for key in &self.keys {
            assert_eq!(secret(&key.seed).author().to_string(), key.author);
        }
        for data in &self.data {
            let canonical = Canonical::parse(data.data.as_bytes()).unwrap();
            assert_eq!(canonical.as_str(), data.data);
            assert_eq!(
                (data.data.len(), DataHash::of(&data.data).to_string()),
                (data.dl, data.dh.clone())
            );
        }
        for op in &self.ops {
            check_op(op);
        }
    }
}

fn secret(seed: &str) -> SecretKey {
    let mut bytes = [0; 32];
    base16ct::lower::decode(seed, &mut bytes).unwrap();
    SecretKey::from_seed(&bytes)
}

fn check_op(op: &Signed) {
    let name = &op.name;
    let value = Value::parse(op.op.as_bytes(), FRAME_DEPTH_MAX).unwrap();
    let raw = RawOp::decode(&value).unwrap();
    assert_eq!(RawOp::parse(op.op.as_bytes()).as_ref(), Ok(&raw), "{name}");
    let mut head = String::new();
    raw.head.write(&mut head);
    assert_eq!(head, op.head, "{name}");
    assert_eq!(raw.head.id().to_string(), op.id, "{name}");
    let signature = secret(&op.seed).sign(OpId::parse(&op.id).unwrap());
    assert_eq!(hex(signature.as_bytes()), op.sig, "{name}");
    let read = raw.check_hash().unwrap().verify().unwrap();
    assert_eq!(read.to_string(), op.op, "{name}");
}

fn rooms() -> Vec<Room> {
    let id = |name: &str| Some(hex(&tagged("room", name.as_bytes())));
    let longest = "x".repeat(64);
    let good = ["main", "a", "0", "a.b_c-d", "0-", "a..", &longest];
    let too_long = "x".repeat(65);
    let bad = [
        "", "Main", "maiN", ".a", "-a", "_a", "a b", " a", "a\n", "a\0", "a/b", "a:b", "a~",
        "\u{e4}", "a\u{301}", "\u{ff41}", "\u{0430}", &too_long,
    ];
    let good = good.map(|name| Room { name: name.into(), id: id(name) });
    let bad = bad.map(|name| Room { name: name.into(), id: None });
    good.into_iter().chain(bad).collect()
}

/// Three of the keys are those of RFC 8032, section 7.1.
fn keys() -> Vec<Author> {
    let known = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        ),
    ];
    let known = known.map(|(seed, author)| Author { seed: seed.into(), author: author.into() });
    let made = [0, ALICE, BOB, CAROL, 0xff].map(|byte| {
        let seed = [byte; 32];
        Author { seed: hex(&seed), author: hex(&Key::from_seed(seed).public) }
    });
    known.into_iter().chain(made).collect()
}

fn data() -> Vec<Hashed> {
    [
        "null",
        "[]",
        "[1]",
        r#"[{"amount":"5","to":"bob","type":"pay"}]"#,
        "[\"\u{e9}\u{20ac}\u{1f600}\"]",
        r#"["\u0000\b\t\n\f\r\"\\"]"#,
        "{\"\u{1f600}\":1,\"\u{fb33}\":2}",
    ]
    .map(|data| {
        let dh = hex(&tagged("data", data.as_bytes()));
        Hashed { data: data.into(), dl: data.len(), dh }
    })
    .into()
}

fn ops() -> Vec<Signed> {
    let ids = |bytes: &[u8]| list(&bytes.iter().map(|byte| hex(&[*byte; 32])).collect::<Vec<_>>());
    let first = Made::first(ALICE, r#"[{"amount":"5","to":"bob","type":"pay"}]"#);
    let unicode = "[\"\u{e9}\u{20ac}\u{1f600}\\u0000\\n\\\"\\\\/\u{7f}\"]";
    let largest = Made::first(BOB, "[1]").head("prev", quoted(hex(&[9; 32])));
    let largest = ["seq", "depth", "ts"]
        .into_iter()
        .fold(largest, |op, member| op.head(member, 9_007_199_254_740_991_u64));
    let [example, example2] = worked_example();
    let cases = [
        ("first op of the worked example", example),
        ("second op of the worked example", example2),
        ("first op of an author", first.clone()),
        ("second op of an author", first.then("[2]")),
        ("several transactions", Made::first(ALICE, r#"[null,true,0,"x",[],{}]"#)),
        ("unicode", Made::first(ALICE, unicode)),
        (
            "preds and refs",
            first.then("[3]").head("preds", ids(&[3, 4, 0xff])).head("refs", ids(&[5])),
        ),
        ("largest integers", largest),
        ("kind that is not known", Made::first(CAROL, "null").head("kind", "\"x-1.y_z\"")),
    ];
    let op = |(name, op): (&str, Made)| Signed {
        name: name.into(),
        seed: hex(&[op.author(); 32]),
        head: op.head_text(),
        id: op.hex_id(),
        sig: hex(&op.sig()),
        op: op.text(),
    };
    cases.map(op).into()
}
