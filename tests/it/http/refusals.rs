//! How the API says no: one shape, one code for each reason.

use crdt_tests::cluster::Cluster;
use crdt_tests::http::{Answer, Server};

use super::{ROOM, chain, relayer};

fn assert_problem(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    let problem = answer.json();
    assert_eq!(problem["type"], "about:blank", "{what}");
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{what}");
    assert!(!problem["title"].as_str().unwrap().is_empty(), "{what}");
    assert!(problem["detail"].as_str().unwrap().ends_with('.'), "{what}: {problem}");
}

#[tokio::test]
async fn every_wrong_question_is_a_problem_with_its_code() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    server.post(ROOM, &chain(1, 2)).await;
    let zeros = "0".repeat(64);
    for (path, status, code) in [
        ("/nothing", 404, "path"),
        ("/v1", 404, "path"),
        ("/v1/rooms/", 404, "path"),
        ("/v1/rooms/main/%ff", 404, "path"),
        ("/v1/rooms/%ff", 404, "path"),
        ("/v1/rooms/never-used", 404, "room"),
        ("/v1/rooms/MAIN", 404, "room"),
        ("/v1/rooms/never-used/ops", 404, "room"),
        ("/v1/rooms/never-used/events", 404, "room"),
        ("/v1/rooms/never-used/evidence", 404, "room"),
        (&format!("/v1/rooms/{zeros}"), 404, "room"),
        ("/v1/rooms/main/ops/nonsense", 404, "op"),
        (&format!("/v1/rooms/main/ops/{zeros}"), 404, "op"),
        ("/v1/rooms?limit=0", 400, "query"),
        ("/v1/rooms?limit=1001", 400, "query"),
        ("/v1/rooms?limit=x", 400, "query"),
        ("/v1/rooms?limit=1&limit=1", 400, "query"),
        ("/v1/rooms?after=main", 400, "query"),
        ("/v1/rooms?unknown", 400, "query"),
        ("/v1/rooms/main?log=yes", 400, "query"),
        ("/v1/rooms/main/ops?limit=1001", 400, "query"),
        ("/v1/rooms/main/ops?after=-1", 400, "query"),
        ("/v1/rooms/main/ops?after=9007199254740992", 400, "query"),
        ("/v1/rooms/main/ops?author=x", 400, "query"),
        ("/v1/rooms/main/evidence?after=x", 400, "query"),
        ("/v1/rooms/main/events?after=3", 400, "cursor"),
        ("/v1/rooms/main/events?before=3", 400, "query"),
        ("/healthz?x", 400, "query"),
        ("/openapi.json?x", 400, "query"),
        ("/websocket", 400, "upgrade"),
    ] {
        assert_problem(&server.get(path).await, status, code, path);
    }
    for (id, code) in [("x", "cursor"), ("-1", "cursor"), ("", "cursor"), ("3", "cursor")] {
        let answer = server.get_with("/v1/rooms/main/events", &[("last-event-id", id)]).await;
        assert_problem(&answer, 400, code, id);
    }
    for path in ["/v1/rooms/main/ops", &format!("/v1/rooms/main/ops/{zeros}")] {
        let answer = server.get_with(path, &[("accept", "text/html")]).await;
        assert_problem(&answer, 406, "accept", path);
    }
    let origin = server.get_with("/websocket", &[("origin", "http://evil.example")]).await;
    assert_problem(&origin, 403, "origin", "/websocket");
    relayer.stop();
}

#[tokio::test]
async fn every_wrong_method_is_a_problem_that_names_the_right_ones() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    for path in [
        "/",
        "/healthz",
        "/metrics",
        "/readyz",
        "/version",
        "/openapi.json",
        "/v1/rooms",
        "/v1/rooms/main",
        "/v1/rooms/main/ops",
        "/v1/rooms/main/ops/x",
        "/v1/rooms/main/events",
        "/v1/rooms/main/evidence",
        "/websocket",
    ] {
        for method in ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"] {
            let answer = server.ask(method, path, &[], "").await;
            assert_problem(&answer, 405, "method", &format!("{method} {path}"));
            assert!(answer.headers["allow"].contains("GET"), "{method} {path}");
        }
    }
    relayer.stop();
}

#[tokio::test]
async fn a_body_that_is_no_list_or_too_much_is_refused_whole() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let path = format!("/v1/rooms/{ROOM}/ops");
    let json = [("content-type", "application/json")];
    let lines = [("content-type", "application/x-ndjson")];
    let filled = |len: usize| format!("[{}]", " ".repeat(len - 2));
    for (headers, body, status, code) in [
        (&json[..], "{}".to_owned(), 400, "json"),
        (&json, String::new(), 400, "json"),
        (&json, "[1".to_owned(), 400, "json"),
        (&json, filled(1024 * 1024 + 1), 413, "size"),
        (&json, format!("[{}1]", "1,".repeat(1_000)), 413, "size"),
        (&lines, "1\n".repeat(1_001), 413, "size"),
        (&[("content-type", "text/plain")], "[]".to_owned(), 415, "media"),
    ] {
        let answer = server.ask("POST", &path, headers, &body).await;
        assert_problem(&answer, status, code, &format!("{body:.20}"));
    }
    let fits = server.ask("POST", &path, &json, &filled(1024 * 1024)).await;
    assert_eq!((fits.status, &fits.json()["verdicts"]), (200, &serde_json::json!([])));
    let query = server.ask("POST", &format!("{path}?x=1"), &json, "[]").await;
    assert_problem(&query, 400, "query", "POST ?x=1");
    assert_eq!(server.get(&format!("/v1/rooms/{ROOM}")).await.status, 404, "nothing was made");
    relayer.stop();
}

#[tokio::test]
async fn a_node_that_listens_has_no_api_and_a_relayer_describes_its_own() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    let description = server.get("/openapi.json").await.json();
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    let expected = [
        "/",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/readyz",
        "/v1/rooms",
        "/v1/rooms/{room}",
        "/v1/rooms/{room}/events",
        "/v1/rooms/{room}/evidence",
        "/v1/rooms/{room}/ops",
        "/v1/rooms/{room}/ops/{op}",
        "/version",
    ];
    assert_eq!(paths, expected);
    assert_eq!(server.get("/readyz").await.text(), "ready\n");
    assert_eq!(server.get("/healthz").await.text(), "ok\n");

    cluster.init("alice");
    let (alice, url) = cluster.listening_node("alice", &[]);
    let node = Server::of(&url);
    for path in ["/", "/healthz", "/version"] {
        assert_eq!(node.get(path).await.status, 200, "{path}");
    }
    for path in ["/readyz", "/openapi.json", "/v1/rooms", "/v1/rooms/main"] {
        assert_problem(&node.get(path).await, 404, "path", path);
    }
    alice.stop();
    relayer.stop();
}
