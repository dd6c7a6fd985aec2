//! `signatures.json`: keys and signatures on which implementations of Ed25519 disagree.

use std::collections::BTreeSet;

use crdt_core::id::{AuthorId, OpId};
use crdt_core::key::{CheckSignature, Claim, EachTime, KeyError, PublicKey, Signature};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use serde::{Deserialize, Serialize};

use super::curve::{Key, challenge, challenge_mod_8, join, signed_bytes};
use super::made::{ALICE, BOB, hex, key};
use crate::Vectors;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    author: String,
    id: String,
    sig: String,
    verdict: String,
}

fn case(name: impl Into<String>, author: [u8; 32], sig: [u8; 64], verdict: &str) -> Case {
    let (author, id, sig) = (hex(&author), hex(&ID), hex(&sig));
    Case { name: name.into(), author, id, sig, verdict: verdict.into() }
}

impl Vectors for File {
    const FILE: &str = "signatures.json";

    fn make() -> Self {
        let parts = [plain(), scalars(), small_keys(), other_keys(), small_r(), mixed()];
        Self { cases: parts.into_iter().flatten().collect() }
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        let (mut claims, mut alone) = (Vec::new(), Vec::new());
        for case in &self.cases {
            let (id, sig) = (OpId::parse(&case.id).unwrap(), Signature::parse(&case.sig).unwrap());
            let key = PublicKey::of(AuthorId::parse(&case.author).unwrap());
            if let Ok(key) = key.clone() {
                alone.push(key.verify(id, &sig));
                claims.push(Claim { key, id, signature: sig });
            }
            let verdict = match key.and_then(|key| key.verify(id, &sig)) {
                Ok(()) => "valid",
                Err(KeyError::Key) => "key",
                Err(KeyError::Signature) => "sig",
            };
            assert_eq!(verdict, case.verdict, "{}", case.name);
            seen.insert(verdict);
        }
        assert_eq!(seen.len(), 3, "every verdict has a case");
        assert_eq!(EachTime.check_all(&claims), alone);
    }
}

/// The id that is signed in every case.
const ID: [u8; 32] = [7; 32];

/// The order L of the base point: 2^252 + 27742317777372353535851937790883648493.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn plain() -> Vec<Case> {
    let (alice, bob, message) = (key(ALICE), key(BOB), signed_bytes(&ID));
    let sig = alice.sign(&message);
    let again = alice.sign_with(Scalar::from(7_u8), &message);
    let over = |bytes: &[u8]| alice.sign(bytes);
    let tagged = |tag: &[u8]| alice.sign(&[tag, &ID].concat());
    let mut cases = vec![
        case("signature of RFC 8032", alice.public, sig, "valid"),
        case("second signature by the same key, another nonce", alice.public, again, "valid"),
        case("another key", bob.public, sig, "sig"),
        case("another id", alice.public, over(&signed_bytes(&[8; 32])), "sig"),
        case("id without tag", alice.public, over(&ID), "sig"),
        case("id in hexadecimal", alice.public, over(&signed_bytes(hex(&ID).as_bytes())), "sig"),
        case("tag without its zero byte", alice.public, tagged(b"bft-crdt/v1/sig"), "sig"),
        case("tag of an op", alice.public, tagged(b"bft-crdt/v1/op\0"), "sig"),
        case("zeros", alice.public, [0; 64], "sig"),
        case(
            "halves swapped",
            alice.public,
            [&sig[32..], &sig[..32]].concat().try_into().unwrap(),
            "sig",
        ),
    ];
    for bit in [0, 100, 255, 256, 300, 511] {
        let mut flipped = sig;
        flipped[bit / 8] ^= 1 << (bit % 8);
        cases.push(case(format!("bit {bit} flipped"), alice.public, flipped, "sig"));
    }
    cases
}

/// The same S, larger by a multiple of L.
fn scalars() -> Vec<Case> {
    let alice = key(ALICE);
    let mut sig = alice.sign(&signed_bytes(&ID));
    let mut cases = Vec::new();
    for times in 1..=8 {
        let mut carry = 0_u16;
        for (byte, order) in sig[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if [1, 2, 7, 8].contains(&times) {
            cases.push(case(format!("S + {times} L"), alice.public, sig, "sig"));
        }
    }
    cases
}

/// The fourteen encodings of points of small order: eight canonical ones, then six that are not.
fn small_order() -> Vec<(String, [u8; 32])> {
    let canonical = EIGHT_TORSION.iter().enumerate();
    let mut all: Vec<(String, [u8; 32])> = canonical
        .map(|(number, point)| (format!("{number} times the point of order 8"), point.compress().0))
        .collect();
    let encoding = |first: u8, rest: u8, last: u8| {
        let mut bytes = [rest; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    for (name, bytes) in [
        ("y = p", encoding(0xed, 0xff, 0x7f)),
        ("y = p, sign bit", encoding(0xed, 0xff, 0xff)),
        ("y = p + 1", encoding(0xee, 0xff, 0x7f)),
        ("y = p + 1, sign bit", encoding(0xee, 0xff, 0xff)),
        ("y = 1, sign bit", encoding(0x01, 0, 0x80)),
        ("y = -1, sign bit", encoding(0xec, 0xff, 0xff)),
    ] {
        all.push((name.into(), bytes));
    }
    all
}

fn point(bytes: [u8; 32]) -> EdwardsPoint {
    CompressedEdwardsY(bytes).decompress().unwrap()
}

/// The equation without cofactor: S B = R + k A.
fn equation_holds(author: [u8; 32], sig: [u8; 64]) -> bool {
    let (r, s) = halves(sig);
    let k = challenge(&r, &author, &signed_bytes(&ID));
    EdwardsPoint::mul_base(&s) == point(r) + k * point(author)
}

/// The equation with cofactor: 8 S B = 8 R + 8 k A.
fn cofactored_holds(author: [u8; 32], sig: [u8; 64]) -> bool {
    let (r, s) = halves(sig);
    let k = challenge(&r, &author, &signed_bytes(&ID));
    let difference = point(r) + k * point(author) - EdwardsPoint::mul_base(&s);
    difference.is_small_order()
}

fn halves(sig: [u8; 64]) -> ([u8; 32], Scalar) {
    let (r, s) = sig.split_at(32);
    let s = Scalar::from_canonical_bytes(s.try_into().unwrap()).unwrap();
    (r.try_into().unwrap(), s)
}

/// Keys of small order, each with a signature for which the equation holds.
fn small_keys() -> Vec<Case> {
    let forge = |(name, author): (String, [u8; 32])| {
        let tries = (1..100_u8).flat_map(|nonce| EIGHT_TORSION.map(|torsion| (nonce, torsion)));
        let forged = tries.map(|(nonce, torsion)| {
            let s = Scalar::from(nonce);
            join((EdwardsPoint::mul_base(&s) + torsion).compress().0, s.to_bytes())
        });
        let sig = forged.into_iter().find(|sig| equation_holds(author, *sig)).unwrap();
        case(format!("key of small order, the equation holds: {name}"), author, sig, "key")
    };
    small_order().into_iter().map(forge).collect()
}

fn other_keys() -> Vec<Case> {
    let sig = key(ALICE).sign(&signed_bytes(&ID));
    let above_p = |more: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + more, 0x7f);
        bytes
    };
    vec![
        case(
            "key is no point: y = 2",
            [[2].as_slice(), &[0; 31]].concat().try_into().unwrap(),
            sig,
            "key",
        ),
        case("key is no point: 32 bytes 02", [2; 32], sig, "key"),
        case("key is not reduced: y = p + 3", above_p(3), sig, "key"),
        case("key is not reduced: y = p + 18", above_p(18), sig, "key"),
        case("key of 32 bytes ff", [0xff; 32], sig, "key"),
    ]
}

/// R of small order under an honest key: S = k a, so the nonce is 0.
fn small_r() -> Vec<Case> {
    let alice = key(ALICE);
    let forge = |(name, r): (String, [u8; 32])| {
        let k = challenge(&r, &alice.public, &signed_bytes(&ID));
        let sig = join(r, (k * alice.scalar).to_bytes());
        assert!(cofactored_holds(alice.public, sig));
        let name = format!("R of small order, with cofactor the equation holds: {name}");
        case(name, alice.public, sig, "sig")
    };
    small_order().into_iter().map(forge).collect()
}

/// A signature under the key a B + `of_key`, with R = r B + `of_r`: the first that is `wanted` of
/// those for which the equation with cofactor holds.
fn crafted(
    of_key: EdwardsPoint,
    of_r: EdwardsPoint,
    wanted: impl Fn([u8; 32], [u8; 64]) -> bool,
) -> ([u8; 32], [u8; 64]) {
    let a = Key::from_seed([ALICE; 32]).scalar;
    let author = (EdwardsPoint::mul_base(&a) + of_key).compress().0;
    let sig = (1..=u8::MAX).find_map(|nonce| {
        let nonce = Scalar::from(nonce);
        let r = (EdwardsPoint::mul_base(&nonce) + of_r).compress().0;
        let k = challenge(&r, &author, &signed_bytes(&ID));
        let sig = join(r, (nonce + k * a).to_bytes());
        assert!(cofactored_holds(author, sig));
        wanted(author, sig).then_some(sig)
    });
    (author, sig.unwrap())
}

/// Points that are not of small order but have a part that is.
fn mixed() -> Vec<Case> {
    let [zero, eighth, ..] = EIGHT_TORSION;
    let hash_mod_8 = |author: [u8; 32], sig: [u8; 64]| {
        challenge_mod_8(&halves(sig).0, &author, &signed_bytes(&ID))
    };
    let holds = |author, sig| equation_holds(author, sig) && hash_mod_8(author, sig) != 0;
    let fails = |author, sig| !equation_holds(author, sig) && hash_mod_8(author, sig) != 0;
    let unreduced = |author, sig| !equation_holds(author, sig) && hash_mod_8(author, sig) == 0;
    let mixed = |name: &str, (author, sig), verdict| case(name, author, sig, verdict);
    vec![
        mixed(
            "R of mixed order, only with cofactor the equation holds",
            crafted(zero, eighth, fails),
            "sig",
        ),
        mixed(
            "key of mixed order, only with cofactor the equation holds",
            crafted(eighth, zero, fails),
            "sig",
        ),
        mixed("key of mixed order, the equation holds", crafted(eighth, zero, holds), "valid"),
        mixed(
            "key and R of mixed order, the equation holds",
            crafted(eighth, eighth, holds),
            "valid",
        ),
        mixed(
            "key of mixed order, the equation holds only if k is not reduced modulo L",
            crafted(eighth, zero, unreduced),
            "sig",
        ),
    ]
}
