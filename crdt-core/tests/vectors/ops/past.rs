//! What an op owes its causal past.

use super::super::made::{ALICE, BOB, CAROL, Made, hex, quoted, tagged};
use super::{Case, case, first, floating, ids, one};

pub(super) fn cases() -> Vec<Case> {
    [rooms(), chains(), depths(), ancestors(), again()].into_iter().flatten().collect()
}

fn rooms() -> Vec<Case> {
    let other = quoted(hex(&tagged("room", b"other")));
    let elsewhere = first().head("room", &other).head("grant", &other);
    let missing = floating().head("room", &other).head("grant", &other);
    vec![
        one("another room", &elsewhere, "room"),
        one("another room, dependency unknown", &missing, "room"),
        one("grant of zeros", &first().head("grant", quoted(hex(&[0; 32]))), "grant"),
        one("grant of another room", &first().head("grant", &other), "grant"),
        one("a wrong grant, dependency unknown", &floating().head("grant", other), "grant"),
    ]
}

fn chains() -> Vec<Case> {
    let (first, other) = (first().head("ts", 10), Made::first(BOB, "[1]").head("ts", 10));
    let second = first.then("[2]");
    let third = second.then("[3]");
    let stolen = other.clone().head("prev", quoted(first.hex_id())).head("seq", 1).head("depth", 2);
    let start = [(&first, "stored"), (&second, "stored")];
    let after = |name: &str, op: Made, verdict: &str| {
        case(name, &[start.as_slice(), &[(&op, verdict)]].concat())
    };
    vec![
        after("the next op", third.clone(), "stored"),
        after("the same ts", third.clone().head("ts", 10), "stored"),
        after("an earlier ts", third.clone().head("ts", 9), "chain"),
        after("a seq skipped", third.clone().head("seq", 3), "chain"),
        after("a seq repeated", third.clone().head("seq", 1), "chain"),
        after(
            "prev is two before",
            third.head("prev", quoted(first.hex_id())).head("depth", 2),
            "chain",
        ),
        after("prev is another author's", stolen.clone(), "chain"),
        case(
            "prev is another author's, with ops of its own",
            &[(&other, "stored"), (&first, "stored"), (&stolen, "chain")],
        ),
        after("two ops at one place", first.then("[\"other\"]"), "stored"),
        after("two first ops", Made::first(ALICE, "[\"other\"]"), "stored"),
        after(
            "an earlier ts than a pred's",
            Made::first(BOB, "[1]").preds(&[&second]).head("ts", 0),
            "stored",
        ),
    ]
}

fn depths() -> Vec<Case> {
    let first = first();
    let second = first.then("[2]");
    let with = |name: &str, op: Made, verdict: &str| {
        case(name, &[(&first, "stored"), (&second, "stored"), (&op, verdict)])
    };
    let third = second.then("[3]");
    let merge = Made::first(BOB, "[1]").preds(&[&first]).refs(&[&second]);
    let refers = Made::first(BOB, "[1]").preds(&[&second]).refs(&[&first]);
    vec![
        one("depth 2 without dependencies", &Made::first(ALICE, "[1]").head("depth", 2), "depth"),
        with("one more than prev", third.clone().head("depth", 3), "stored"),
        with("as deep as prev", third.clone().head("depth", 2), "depth"),
        with("depth 1 with a prev", third.clone().head("depth", 1), "depth"),
        with("two more than prev", third.head("depth", 4), "depth"),
        with("one more than the deepest, a ref", merge.clone().head("depth", 3), "stored"),
        with("one more than a pred, a ref is deeper", merge.head("depth", 2), "depth"),
        with("one more than the deepest, a pred", refers.clone().head("depth", 3), "stored"),
        with("one more than a ref, a pred is deeper", refers.head("depth", 2), "depth"),
        with("more than the number of ops", Made::first(BOB, "[1]").head("depth", 3), "depth"),
    ]
}

fn ancestors() -> Vec<Case> {
    let bad = first().head("depth", 7);
    let good = Made::first(CAROL, "[1]");
    let forged = first().envelope("sig", quoted("0".repeat(128)));
    let child = bad.then("[2]");
    let named = Made::first(BOB, "[1]").preds(&[&bad, &good]);
    let referred = Made::first(BOB, "[1]").refs(&[&bad]);
    let waiting = Made::first(BOB, "[1]").preds(&[&bad]).head("refs", ids([9]));
    let after = |name: &str, op: &Made, verdict: &str| {
        case(name, &[(&good, "stored"), (&bad, "depth"), (op, verdict)])
    };
    vec![
        after("after a rejected prev", &child, "ancestor"),
        after("after a rejected pred", &named, "ancestor"),
        after("after a rejected ref", &referred, "ancestor"),
        after("after a rejected op and one unknown", &waiting, "ancestor"),
        case(
            "two after a rejected op",
            &[(&bad, "depth"), (&child, "ancestor"), (&child.then("[3]"), "ancestor")],
        ),
        case(
            "waiting for an op that is rejected",
            &[(&child, "parked"), (&bad, "depth"), (&child, "ancestor")],
        ),
        case(
            "a malformed op is not remembered",
            &[(&forged, "sig"), (&first().then("[2]"), "parked")],
        ),
    ]
}

fn again() -> Vec<Case> {
    let (op, forged) = (first(), first().envelope("sig", quoted("0".repeat(128))));
    let next = op.then("[2]");
    let forged_next = next.clone().envelope("sig", quoted("0".repeat(128)));
    vec![
        case("a known op", &[(&op, "stored"), (&op, "stored")]),
        case("a known op signed again", &[(&op, "stored"), (&op.clone().signed_again(), "stored")]),
        case(
            "a known id ends the check before the signature",
            &[(&op, "stored"), (&forged, "stored")],
        ),
        case(
            "a bad signature does not keep the good one out",
            &[(&forged, "sig"), (&op, "stored")],
        ),
        case(
            "a parked op",
            &[(&next, "parked"), (&next, "parked"), (&op, "stored"), (&next, "stored")],
        ),
        case(
            "a parked id ends the check before the signature",
            &[(&next, "parked"), (&forged_next, "parked")],
        ),
    ]
}
