//! Ops that are sent over HTTP are checked, kept and passed on like any others.

use crdt_tests::client::{Client, op, ops, sub};
use crdt_tests::cluster::Cluster;
use crdt_tests::flood::Author;
use serde_json::Value;

use super::{ROOM, chain, relayer};

/// Verdicts and codes, in a word each.
fn words(verdicts: &Value) -> Vec<String> {
    assert_eq!(verdicts["schema"], "crdt-relayer/verdicts/1");
    let word = |verdict: &Value| {
        let code = verdict["code"].as_str().unwrap_or_default();
        format!("{} {code}", verdict["verdict"].as_str().unwrap()).trim().to_owned()
    };
    verdicts["verdicts"].as_array().unwrap().iter().map(word).collect()
}

#[tokio::test]
async fn sending_the_same_again_changes_nothing_and_a_kill_loses_nothing() {
    let cluster = Cluster::new();
    let (first, server) = relayer(&cluster);
    let ops = chain(1, 600);
    let (one, two) = ops.split_at(300);
    let answer = server.post(ROOM, one).await;
    assert_eq!(words(&answer.json()), vec!["stored"; 300]);
    let (path, lines) =
        (format!("/v1/rooms/{ROOM}/ops"), [("content-type", "application/x-ndjson")]);
    let answer = server.ask("POST", &path, &lines, &(two.join("\n") + "\n")).await;
    assert_eq!(words(&answer.json()), vec!["stored"; 300]);
    first.kill();
    let (second, server) = relayer(&cluster);
    let before = server.get(&format!("/v1/rooms/{ROOM}")).await;
    assert_eq!((&before.json()["ops"], &before.json()["name"]), (&600.into(), &ROOM.into()));
    assert_eq!(words(&server.post(ROOM, &ops).await.json()), vec!["stored"; 600]);
    assert_eq!(server.get(&format!("/v1/rooms/{ROOM}")).await.body, before.body);
    second.stop();
}

#[tokio::test]
async fn each_bad_op_is_refused_by_its_own_code_and_spoils_no_other() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let good = op(1, ROOM, "good").to_string();
    let other = op(2, ROOM, "other");
    let text = other.to_string();
    let sig = |op: &crdt_core::op::Op| {
        let op: Value = serde_json::from_str(&op.to_string()).unwrap();
        op["sig"].as_str().unwrap().to_owned()
    };
    let changed = |from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    };
    let large = serde_json::json!({"data": ["x".repeat(70_000)], "id": other.id().to_string()});
    let bad = [
        ("{\"a\":1.5}".to_owned(), "json"),
        ("{\"a\":1,\"a\":1}".to_owned(), "json"),
        ("1".to_owned(), "field"),
        ("{}".to_owned(), "field"),
        (changed("\"v\":1", "\"v\":2"), "version"),
        (changed("other", "twist"), "data"),
        (changed("\"seq\":0", "\"seq\":1"), "head"),
        (changed("\"ts\":0", "\"ts\":1"), "id"),
        (changed(&sig(&other), &sig(&op(1, ROOM, "good"))), "sig"),
        (op(1, "elsewhere", "good").to_string(), "room"),
        (large.to_string(), "field"),
        (format!("[\"{}\"]", "x".repeat(90_000)), "size"),
    ];
    let mut sent: Vec<String> = bad.iter().map(|(op, _)| op.clone()).collect();
    sent.insert(5, good.clone());
    let answer = server.post(ROOM, &sent).await;
    assert_eq!(answer.status, 200);
    let mut expected: Vec<String> =
        bad.iter().map(|(_, code)| format!("rejected {code}")).collect();
    expected.insert(5, "stored".to_owned());
    let answer = answer.json();
    assert_eq!(words(&answer), expected);
    assert_eq!(answer["verdicts"][4]["id"], other.id().to_string());
    assert_eq!(answer["verdicts"][0]["id"], Value::Null);
    let room = server.get(&format!("/v1/rooms/{ROOM}")).await.json();
    assert_eq!(room["ops"], 1);
    relayer.stop();
}

#[tokio::test]
async fn what_waits_for_an_op_of_the_same_request_does_not_wait_and_the_rest_is_parked() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let mut ops = chain(1, 400);
    ops.reverse();
    let orphan = Author::new(2, ROOM).orphan(1).to_string();
    ops.push(orphan);
    let words = words(&server.post(ROOM, &ops).await.json());
    assert_eq!(words[..400], vec!["stored"; 400]);
    assert_eq!(words[400], "parked");
    let room = server.get(&format!("/v1/rooms/{ROOM}")).await.json();
    assert_eq!((&room["ops"], &room["parked"]), (&400.into(), &1.into()));
    assert_eq!(room["missing"].as_array().unwrap().len(), 1);
    relayer.stop();
}

#[tokio::test]
async fn members_get_what_came_over_http_and_pages_hold_what_members_sent() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let mut member = Client::introduced(&cluster.url(), 1).await;
    member.say(&sub(ROOM)).await;
    member.message("heads").await;
    let (posted, said) = (op(1, ROOM, "posted"), op(2, ROOM, "said"));
    server.post(ROOM, &[posted.to_string()]).await;
    assert_eq!(member.message("ops").await["ops"][0]["id"], posted.id().to_string());
    member.say(&ops(ROOM, &[&said.to_string()])).await;
    assert_eq!(member.message("ack").await["stored"], 1);
    let page = server.get(&format!("/v1/rooms/{ROOM}/ops?after=1")).await.json();
    assert_eq!(page["ops"][0]["op"]["id"], said.id().to_string());
    let room = server.get(&format!("/v1/rooms/{ROOM}")).await.json();
    let members = room["members"].as_array().unwrap();
    assert_eq!(members.len(), 1, "who posts is no member: {members:?}");
    relayer.stop();
}
