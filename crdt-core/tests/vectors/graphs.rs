//! `graphs.json`: ops in an order of arrival, and the log that any order of arrival leads to.

use std::collections::{BTreeMap, BTreeSet};

use crdt_core::id::OpId;
use crdt_core::log::{Admitted, Log};
use serde::{Deserialize, Serialize};

use super::made::{ALICE, BOB, CAROL, Made, ROOM, hex, quoted, tagged, worked_example};
use super::ops::{empty_log, receive};
use crate::Vectors;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    room: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    arrivals: Vec<Arrival>,
    admitted: BTreeSet<String>,
    parked: BTreeSet<String>,
    rejected: BTreeMap<String, String>,
    heads: BTreeSet<String>,
    order: Vec<(String, u32)>,
    set: String,
    log: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrival {
    name: String,
    op: String,
    verdict: String,
}

impl Vectors for File {
    const FILE: &str = "graphs.json";

    fn make() -> Self {
        let parts = [shapes(), arrivals(), conflicts(), refused()];
        Self { room: ROOM.into(), cases: parts.into_iter().flatten().collect() }
    }

    fn check(&self) {
        for case in &self.cases {
            let mut log = empty_log(&self.room);
            let mut admitted = Vec::new();
            for arrival in &case.arrivals {
                let verdict = receive(&mut log, &arrival.op, &mut admitted);
                assert_eq!(verdict, arrival.verdict, "{}, {}", case.name, arrival.name);
            }
            check_first_kept(case, &admitted);
            check_end(case, &mut log, &admitted);

            let (mut log, mut admitted) = (empty_log(&self.room), Vec::new());
            for arrival in case.arrivals.iter().rev() {
                receive(&mut log, &arrival.op, &mut admitted);
            }
            check_end(case, &mut log, &admitted);
        }
    }
}

/// Of two good signatures of one id the first to arrive is kept.
fn check_first_kept(case: &Case, admitted: &[Admitted]) {
    for entered in admitted {
        let first = case.arrivals.iter().find(|arrival| {
            arrival.verdict != "sig"
                && arrival.op.contains(&format!("\"id\":\"{}\"", entered.op.id()))
        });
        assert_eq!(first.unwrap().op, entered.op.to_string(), "{}", case.name);
    }
}

fn check_end(case: &Case, log: &mut Log, admitted: &[Admitted]) {
    let name = &case.name;
    let ids: BTreeSet<String> =
        admitted.iter().map(|entered| entered.op.id().to_string()).collect();
    assert_eq!((&ids, admitted.len()), (&case.admitted, case.admitted.len()), "{name}");
    let heads: BTreeSet<String> = log.graph().heads().iter().map(OpId::to_string).collect();
    assert_eq!(heads, case.heads, "{name}");
    assert_eq!(log.set_digest().to_string(), case.set, "{name}");
    assert_eq!(log.log_digest().to_string(), case.log, "{name}");
    assert_eq!(log.graph().entries(), case.order.len() as u64, "{name}");
    assert_eq!(log.parked(), case.parked.len(), "{name}");
    for id in &case.parked {
        let id = OpId::parse(id).unwrap();
        assert!(log.has(id) && !log.graph().contains(id), "{name}");
    }
    let mut order: Vec<_> = admitted.iter().map(|entered| &entered.op).collect();
    order.sort_by_key(|op| crdt_core::order::OrderKey { depth: op.head().depth, id: op.id() });
    let entries = order
        .iter()
        .flat_map(|op| (0..).zip(op.entries()).map(|(index, _)| (op.id().to_string(), index)));
    assert_eq!(entries.collect::<Vec<(String, u32)>>(), case.order, "{name}");
    for (id, code) in &case.rejected {
        assert!(!log.has(OpId::parse(id).unwrap()), "{name}");
        let again = case.arrivals.iter().find(|a| a.op.contains(&format!("\"id\":\"{id}\"")));
        let verdict = receive(log, &again.unwrap().op, &mut Vec::new());
        assert!(verdict == code || verdict == "ancestor", "{name}: {verdict} instead of {code}");
    }
}

/// Ops by name, as `"a b"`; a rejected one with its code, as `"a:depth"`.
#[derive(Clone, Copy, Default)]
struct End<'a> {
    admitted: &'a str,
    parked: &'a str,
    rejected: &'a str,
    heads: &'a str,
}

fn case(name: &str, arrivals: &[(&str, &Made, &str)], end: End<'_>) -> Case {
    let ops: BTreeMap<&str, &Made> = arrivals.iter().map(|(name, op, _)| (*name, *op)).collect();
    let ids = |names: &str| names.split_whitespace().map(|name| ops[name].hex_id()).collect();
    let rejected = end.rejected.split_whitespace().map(|op| op.split_once(':').unwrap());
    let mut sorted: Vec<(u64, [u8; 32], usize)> = end
        .admitted
        .split_whitespace()
        .map(|name| (ops[name].number("depth"), ops[name].id(), ops[name].entries()))
        .collect();
    sorted.sort_unstable();
    let order: Vec<([u8; 32], u32)> = sorted
        .iter()
        .flat_map(|(_, id, entries)| (0..).take(*entries).map(|index| (*id, index)))
        .collect();
    let heads: BTreeSet<[u8; 32]> =
        end.heads.split_whitespace().map(|name| ops[name].id()).collect();
    let heads: Vec<u8> = heads.into_iter().flatten().collect();
    let entries: Vec<u8> = order
        .iter()
        .flat_map(|(id, index)| [id.as_slice(), &index.to_be_bytes()].concat())
        .collect();
    let arrival = |(name, op, verdict): &(&str, &Made, &str)| Arrival {
        name: (*name).into(),
        op: op.text(),
        verdict: (*verdict).into(),
    };
    Case {
        name: name.into(),
        arrivals: arrivals.iter().map(arrival).collect(),
        admitted: ids(end.admitted),
        parked: ids(end.parked),
        rejected: rejected.map(|(name, code)| (ops[name].hex_id(), code.into())).collect(),
        heads: ids(end.heads),
        order: order.iter().map(|(id, index)| (hex(id), *index)).collect(),
        set: hex(&tagged("set", &heads)),
        log: hex(&tagged("log", &entries)),
    }
}

/// All arrivals are admitted as they come.
fn all(name: &str, ops: &[(&str, &Made)], heads: &str) -> Case {
    let arrivals: Vec<_> = ops.iter().map(|(name, op)| (*name, *op, "stored")).collect();
    let names: Vec<&str> = ops.iter().map(|(name, _)| *name).collect();
    case(name, &arrivals, End { admitted: &names.join(" "), heads, ..End::default() })
}

fn shapes() -> Vec<Case> {
    let [example, example2] = worked_example();
    let alice = Made::first(ALICE, r#"["alice 0"]"#);
    let bob = Made::first(BOB, r#"["bob 0"]"#);
    let alice1 = alice.then(r#"["alice 1"]"#);
    let alice2 = alice1.then(r#"["alice 2"]"#);
    let bob1 = bob.then(r#"["bob 1"]"#).preds(&[&alice1]);
    let carol = Made::first(CAROL, r#"["carol 0"]"#).preds(&[&alice, &bob]);
    let batch = Made::first(BOB, r#"["x",{"y":[1,2]},"z"]"#).preds(&[&alice]);
    let vote = Made::first(CAROL, "null").head("kind", "\"vote\"").preds(&[&batch]);
    let refers = Made::first(BOB, r#"["bob 0"]"#).refs(&[&alice]);
    let late = Made::first(CAROL, r#"["late"]"#);
    let shortcut = alice2.then(r#"["alice 3"]"#).preds(&[&bob]).refs(&[&alice]);
    let many: Vec<Made> =
        (10..26).map(|author| Made::first(author, &format!("[{author}]"))).collect();
    let merge = Made::first(ALICE, r#"["merge"]"#).preds(&many.iter().collect::<Vec<_>>());
    let names: Vec<String> = (10..26).map(|author| format!("author-{author}")).collect();
    let mut wide: Vec<(&str, &Made)> = names.iter().map(String::as_str).zip(&many).collect();
    wide.push(("merge", &merge));
    vec![
        all("nothing", &[], ""),
        all("one op", &[("a0", &alice)], "a0"),
        all("the worked example", &[("a0", &example), ("a1", &example2)], "a1"),
        all("a chain of three", &[("a0", &alice), ("a1", &alice1), ("a2", &alice2)], "a2"),
        all("two concurrent ops", &[("a0", &alice), ("b0", &bob)], "a0 b0"),
        all(
            "two concurrent chains",
            &[("a0", &alice), ("b0", &bob), ("a1", &alice1), ("b1", &bob.then("[1]"))],
            "a1 b1",
        ),
        all("a merge", &[("a0", &alice), ("b0", &bob), ("c0", &carol)], "c0"),
        all("a merge of 16", &wide, "merge"),
        all(
            "one chain takes up another",
            &[("a0", &alice), ("a1", &alice1), ("b0", &bob), ("b1", &bob1), ("a2", &alice2)],
            "a2 b1",
        ),
        all(
            "several transactions, and an op without",
            &[("a0", &alice), ("b0", &batch), ("c0", &vote)],
            "c0",
        ),
        all("a ref is an edge", &[("a0", &alice), ("b0", &refers)], "b0"),
        all(
            "edges to ancestors of ancestors",
            &[("a0", &alice), ("a1", &alice1), ("a2", &alice2), ("b0", &bob), ("a3", &shortcut)],
            "a3",
        ),
        all(
            "a late op goes into the middle",
            &[("a0", &alice), ("a1", &alice1), ("a2", &alice2), ("c0", &late)],
            "a2 c0",
        ),
    ]
}

fn arrivals() -> Vec<Case> {
    let alice = Made::first(ALICE, r#"["alice 0"]"#);
    let alice1 = alice.then(r#"["alice 1"]"#);
    let alice2 = alice1.then(r#"["alice 2"]"#);
    let bob = Made::first(BOB, r#"["bob 0"]"#);
    let merge = Made::first(CAROL, r#"["carol 0"]"#).preds(&[&alice1, &bob]);
    let unknown = Made::first(ALICE, r#"["never sent"]"#);
    let waiting = unknown.then(r#"["waiting"]"#);
    let behind = bob.then(r#"["behind"]"#).preds(&[&waiting]);
    let phantom = bob.then(r#"["phantom"]"#).head("refs", format!("[{}]", quoted(hex(&[7; 32]))));
    vec![
        case(
            "a chain backwards",
            &[("a2", &alice2, "parked"), ("a1", &alice1, "parked"), ("a0", &alice, "stored")],
            End { admitted: "a0 a1 a2", heads: "a2", ..End::default() },
        ),
        case(
            "a merge before what it merges",
            &[
                ("c0", &merge, "parked"),
                ("b0", &bob, "stored"),
                ("a1", &alice1, "parked"),
                ("a0", &alice, "stored"),
            ],
            End { admitted: "a0 a1 b0 c0", heads: "c0", ..End::default() },
        ),
        case(
            "every op twice",
            &[
                ("a1", &alice1, "parked"),
                ("a1", &alice1, "parked"),
                ("a0", &alice, "stored"),
                ("a0", &alice, "stored"),
                ("a1", &alice1, "stored"),
            ],
            End { admitted: "a0 a1", heads: "a1", ..End::default() },
        ),
        case(
            "an op that never comes",
            &[
                ("b0", &bob, "stored"),
                ("waiting", &waiting, "parked"),
                ("behind", &behind, "parked"),
            ],
            End { admitted: "b0", parked: "waiting behind", heads: "b0", ..End::default() },
        ),
        case(
            "a ref to what is no op",
            &[("b0", &bob, "stored"), ("phantom", &phantom, "parked"), ("a0", &alice, "stored")],
            End { admitted: "a0 b0", parked: "phantom", heads: "a0 b0", ..End::default() },
        ),
    ]
}

fn conflicts() -> Vec<Case> {
    let alice = Made::first(ALICE, r#"["alice 0"]"#);
    let (left, right) = (alice.then(r#"["to bob"]"#), alice.then(r#"["to carol"]"#));
    let (left2, right2) = (left.then(r#"["left 2"]"#), right.then(r#"["right 2"]"#));
    let other = Made::first(ALICE, r#"["another start"]"#);
    let bob = Made::first(BOB, r#"["bob saw both"]"#).preds(&[&left, &right]);
    let again = alice.clone().signed_again();
    let forged = alice.clone().envelope("sig", quoted("0".repeat(128)));
    vec![
        all(
            "two ops at one place, both kept",
            &[("a0", &alice), ("left", &left), ("right", &right)],
            "left right",
        ),
        all("two first ops", &[("a0", &alice), ("other", &other)], "a0 other"),
        all(
            "both branches go on",
            &[
                ("a0", &alice),
                ("right", &right),
                ("left", &left),
                ("right2", &right2),
                ("left2", &left2),
            ],
            "left2 right2",
        ),
        all(
            "both branches are merged",
            &[("a0", &alice), ("left", &left), ("right", &right), ("b0", &bob)],
            "b0",
        ),
        case(
            "a merge of branches that comes first",
            &[
                ("b0", &bob, "parked"),
                ("right", &right, "parked"),
                ("left", &left, "parked"),
                ("a0", &alice, "stored"),
            ],
            End { admitted: "a0 left right b0", heads: "b0", ..End::default() },
        ),
        case(
            "one op with two signatures, the first is kept",
            &[("a0", &alice, "stored"), ("again", &again, "stored"), ("left", &left, "stored")],
            End { admitted: "a0 left", heads: "left", ..End::default() },
        ),
        case(
            "a forged signature first",
            &[("a0-forged", &forged, "sig"), ("left", &left, "parked"), ("a0", &alice, "stored")],
            End { admitted: "a0 left", heads: "left", ..End::default() },
        ),
    ]
}

fn refused() -> Vec<Case> {
    let alice = Made::first(ALICE, r#"["alice 0"]"#);
    let deep = alice.then(r#"["too deep"]"#).head("depth", 3);
    let child = deep.then(r#"["child"]"#);
    let named = Made::first(BOB, r#"["named"]"#).preds(&[&alice, &deep]);
    let grandchild = named.then(r#"["grandchild"]"#);
    let good = alice.then(r#"["good"]"#);
    let granted = Made::first(CAROL, r#"["grant"]"#).head("grant", quoted(hex(&[0; 32])));
    let room = quoted(hex(&tagged("room", b"other")));
    let elsewhere = Made::first(CAROL, r#"["elsewhere"]"#).head("room", &room).head("grant", room);
    let stolen = Made::first(BOB, r#"["stolen"]"#).head("prev", quoted(alice.hex_id()));
    let stolen = stolen.head("seq", 1).head("depth", 2);
    let rejected = "deep:depth child:ancestor named:ancestor grandchild:ancestor";
    let end = End { admitted: "a0 good", rejected, heads: "good", ..End::default() };
    vec![
        case(
            "a rejected op and what depends on it",
            &[
                ("a0", &alice, "stored"),
                ("deep", &deep, "depth"),
                ("child", &child, "ancestor"),
                ("named", &named, "ancestor"),
                ("grandchild", &grandchild, "ancestor"),
                ("good", &good, "stored"),
            ],
            end,
        ),
        case(
            "the same backwards",
            &[
                ("good", &good, "parked"),
                ("grandchild", &grandchild, "parked"),
                ("named", &named, "parked"),
                ("child", &child, "parked"),
                ("deep", &deep, "parked"),
                ("a0", &alice, "stored"),
            ],
            end,
        ),
        case(
            "another room, grant and chain",
            &[
                ("elsewhere", &elsewhere, "room"),
                ("granted", &granted, "grant"),
                ("stolen", &stolen, "parked"),
                ("a0", &alice, "stored"),
            ],
            End {
                admitted: "a0",
                rejected: "elsewhere:room granted:grant stolen:chain",
                heads: "a0",
                ..End::default()
            },
        ),
    ]
}
