//! What is kept can be read, whole and byte for byte.

use std::collections::BTreeSet;
use std::io::Read;

use crdt_core::evidence::Evidence;
use crdt_tests::client::{op, room_id};
use crdt_tests::cluster::Cluster;
use crdt_tests::http::Server;
use flate2::read::GzDecoder;
use serde_json::Value;

use super::{ROOM, chain, relayer};
use crate::convergence::lines;

const LINES: (&str, &str) = ("accept", "application/x-ndjson");

/// Every op of the room by pages of lines, each as its envelope.
async fn all_lines(server: &Server, limit: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let path = format!("/v1/rooms/{ROOM}/ops?after={}&limit={limit}", all.len());
        let page = server.get_with(&path, &[LINES]).await;
        assert_eq!((page.status, page.headers["content-type"].as_str()), (200, LINES.1));
        if page.body.is_empty() {
            return all;
        }
        assert!(page.text().lines().count() <= limit);
        for line in page.text().lines() {
            let prefix = format!("{{\"position\":{},\"op\":", all.len() + 1);
            let op = line.strip_prefix(&prefix).unwrap().strip_suffix('}').unwrap();
            all.push(op.to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_to_the_end_are_what_a_node_exports() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    alice.event("synced");
    for chunk in 0..7 {
        alice.try_write(&lines("alice", chunk * 100, chunk * 100 + 100));
        alice.event("synced");
    }
    alice.end_well();
    let export = cluster.output("export", "alice", &[]);
    let exported: BTreeSet<&str> = export.lines().collect();

    let come = all_lines(&server, 2).await;
    assert_eq!(come.iter().map(String::as_str).collect::<BTreeSet<_>>(), exported);
    assert_eq!(come.len(), exported.len());

    let (mut after, mut ops) = (Value::from(0), Vec::new());
    while !after.is_null() {
        let page = server.get(&format!("/v1/rooms/{ROOM}/ops?after={after}&limit=3")).await.json();
        assert_eq!(page["schema"], "crdt-relayer/ops/1");
        assert_eq!(page["end"], come.len());
        assert_eq!(page["room"], room_id(ROOM).to_string());
        ops.extend(page["ops"].as_array().unwrap().clone());
        after = page["next"].clone();
    }
    let positions: Vec<u64> = ops.iter().map(|op| op["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=come.len() as u64).collect::<Vec<_>>());
    for (op, line) in ops.iter().zip(&come) {
        assert_eq!(op["op"], serde_json::from_str::<Value>(line).unwrap());
    }

    let held = cluster.room("alice");
    let room = server.get(&format!("/v1/rooms/{ROOM}?log=true")).await.json();
    for same in ["id", "ops", "entries", "set", "log"] {
        assert_eq!(room[same], held[same], "{same}");
    }
    assert_eq!((&room["schema"], &room["name"]), (&"crdt-relayer/room/1".into(), &ROOM.into()));
    assert_eq!((&room["parked"], &room["missing"]), (&0.into(), &Value::Array(Vec::new())));
    let listed = server.get("/v1/rooms").await.json();
    assert_eq!(listed["schema"], "crdt-relayer/rooms/1");
    for same in ["id", "name", "ops", "entries", "set", "equivocations"] {
        assert_eq!(listed["rooms"][0][same], room[same], "{same}");
    }
    assert_eq!(listed["rooms"][0]["heads"], room["heads"].as_array().unwrap().len());
    relayer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_is_a_member_and_stands_as_it_does() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    assert_eq!(server.post(ROOM, &chain(1, 2)).await.status, 200);
    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    alice.event("synced");
    let row = loop {
        let room = server.get(&format!("/v1/rooms/{ROOM}")).await.json();
        let members = room["members"].as_array().unwrap();
        match members.first() {
            Some(row) if row["same"] == true && row["state"] == "live" => {
                assert_eq!((members.len(), &row["set"]), (1, &room["set"]));
                break row.clone();
            }
            Some(_) | None => tokio::task::yield_now().await,
        }
    };
    assert_eq!((&row["side"], &row["author"]), (&"accepted".into(), &Value::Null));
    assert!(row["agent"].as_str().unwrap().starts_with("crdt-node/"), "{row}");
    assert!(row["since"].as_str().unwrap().ends_with('Z'), "{row}");
    assert!(row["heard"].as_str().unwrap().ends_with('Z'), "{row}");
    assert_eq!((&row["ahead"], &row["behind"]), (&0.into(), &0.into()));
    alice.stop();
    while server.get("/v1/rooms").await.json()["rooms"][0]["members"] != 0 {
        tokio::task::yield_now().await;
    }
    relayer.stop();
}

#[tokio::test]
async fn rooms_come_in_pages_by_id() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        assert_eq!(server.post(name, &[op(1, name, "hello").to_string()]).await.status, 200);
    }
    let mut expected: Vec<String> = names.iter().map(|name| room_id(name).to_string()).collect();
    expected.sort_unstable();
    let (mut path, mut come) = ("/v1/rooms?limit=2".to_owned(), Vec::new());
    loop {
        let page = server.get(&path).await.json();
        come.extend(page["rooms"].as_array().unwrap().iter().map(|room| room["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/rooms?limit=2&after={next}");
    }
    assert_eq!(come, expected);
    relayer.stop();
}

#[tokio::test]
async fn what_is_had_is_not_sent_again_and_gzip_is_another_sequence_of_bytes() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let ops = chain(1, 20);
    server.post(ROOM, &ops[..19]).await;
    let path = format!("/v1/rooms/{ROOM}/ops");
    let plain = server.get(&path).await;
    let zipped = server.get_with(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.body.len() < plain.body.len());
    let mut unzipped = Vec::new();
    GzDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).unwrap();
    assert_eq!(unzipped, plain.body);
    let (tag, zipped_tag) = (&plain.headers["etag"], &zipped.headers["etag"]);
    assert!(tag.starts_with('"'), "a strong tag: {tag}");
    assert_ne!(tag, zipped_tag);
    for had in [tag.clone(), zipped_tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let again = server.get_with(&path, &[("if-none-match", &had)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{had}");
        assert!(had.contains('*') || had.contains(&again.headers["etag"]), "{had}");
    }
    for other in
        [format!("{path}?limit=5"), format!("{path}?after=1"), format!("{path}/{}", id(&ops[0]))]
    {
        let other = server.get_with(&other, &[("if-none-match", tag)]).await;
        assert_eq!(other.status, 200);
        assert_ne!(&other.headers["etag"], tag);
    }
    server.post(ROOM, &ops).await;
    assert_eq!(server.get_with(&path, &[("if-none-match", tag)]).await.status, 200, "one more op");
    relayer.stop();
}

fn id(envelope: &str) -> String {
    let op: Value = serde_json::from_str(envelope).unwrap();
    op["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_op_is_the_bytes_that_were_signed() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let ops = chain(1, 3);
    server.post(ROOM, &ops).await;
    let path = format!("/v1/rooms/{}/ops/{}", room_id(ROOM), id(&ops[1]));
    let bytes = server.get_with(&path, &[("accept", "application/octet-stream")]).await;
    assert_eq!(bytes.headers["content-type"], "application/octet-stream");
    assert_eq!(bytes.text(), ops[1]);
    let json = server.get(&path).await;
    assert_eq!(json.text(), format!("{{\"position\":2,\"op\":{}}}", ops[1]));
    let had = [("if-none-match", json.headers["etag"].as_str())];
    assert_eq!(server.get_with(&path, &had).await.status, 304);
    let unknown = format!("/v1/rooms/{ROOM}/ops/{}", "0".repeat(64));
    let unknown = server.get(&unknown).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &"op".into()));
    relayer.stop();
}

#[tokio::test]
async fn every_equivocation_comes_with_the_file_that_proves_it() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let forks: Vec<_> = (1..=5).map(|n| [op(n, ROOM, "one"), op(n, ROOM, "another")]).collect();
    let ops: Vec<String> = forks.iter().flatten().map(ToString::to_string).collect();
    server.post(ROOM, &ops).await;
    let expected: BTreeSet<String> =
        forks.iter().map(|[a, b]| format!("{}\n", Evidence::of(a, b).unwrap())).collect();
    let (mut path, mut files) = (format!("/v1/rooms/{ROOM}/evidence?limit=2"), BTreeSet::new());
    loop {
        let page = server.get(&path).await.json();
        assert_eq!(page["schema"], "crdt-relayer/evidence/1");
        for fork in page["evidence"].as_array().unwrap() {
            let file = fork["file"].as_str().unwrap();
            let proven = Evidence::verify(file.as_bytes()).unwrap().equivocation();
            assert_eq!(fork["id"], proven.id().to_string());
            assert_eq!(fork["author"], proven.author.to_string());
            assert_eq!((&fork["seq"], &fork["prev"]), (&0.into(), &Value::Null));
            assert_eq!(fork["ops"][1], proven.ops[1].to_string());
            assert!(files.insert(file.to_owned()), "told once");
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/rooms/{ROOM}/evidence?limit=2&after={next}");
    }
    assert_eq!(files, expected);
    assert_eq!(server.get(&format!("/v1/rooms/{ROOM}")).await.json()["equivocations"], 5);
    relayer.stop();
}
