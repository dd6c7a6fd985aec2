//! A relayer that lets in only some, and makes only some rooms.

use std::fs;

use crdt_tests::cluster::Cluster;
use crdt_tests::flood::Author;
use crdt_tests::http::Server;

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_keys_come_in_and_only_listed_rooms_are_made() {
    let cluster = Cluster::new();
    let [alice, bob] = ["alice", "bob"].map(|name| cluster.init(name));
    let file = cluster.path().join("relayer.toml");
    let auth = |keys: &str, more: &str| {
        let rooms = "[rooms]\ncreate = \"list\"\nlist = [\"main\"]\n";
        let text = format!("[auth]\nmode = \"required\"\nkeys = [{keys}]\n{more}\n{rooms}");
        fs::write(&file, text).unwrap();
    };
    auth(&format!("{alice:?}"), "");
    let (mut relayer, url) = cluster.relayer_with("data", &["--config", file.to_str().unwrap()]);
    let server = Server::of(&url);
    let mut node = cluster.node_at("alice", &[&url], &["--headless"]);
    node.line("hello");
    node.event("relayed");
    let mut stranger = cluster.node_at("bob", &[&url], &["--headless"]);
    let down = stranger.event_with("link", |event| event["state"] == "refused");
    assert!(down["reason"].as_str().unwrap().contains("lets in only keys it knows"), "{down}");

    // Nobody proves a key over HTTP.
    let op = Author::new(7, "main").chain(1)[0].to_string();
    for path in ["/v1/rooms", "/v1/rooms/main/ops", "/v1/rooms/main/events"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &"auth".into()), "{path}");
    }
    assert_eq!(server.post("main", std::slice::from_ref(&op)).await.status, 403);
    for path in ["/healthz", "/readyz", "/version", "/metrics", "/openapi.json"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("room=\"main\""), "{path} names a room");
    }

    auth(&format!("{alice:?}, {bob:?}"), "http_read = true");
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
    stranger.synced(1);
    assert_eq!(server.get("/v1/rooms/main/ops").await.status, 200);
    assert_eq!(server.post("main", std::slice::from_ref(&op)).await.status, 403);

    // A room that is not on the list, for somebody who is.
    cluster.init("carol");
    fs::write(&file, "[rooms]\ncreate = \"list\"\nlist = [\"main\"]\n").unwrap();
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
    let mut carol = cluster.node_at("carol", &[&url], &["--headless", "--room", "other"]);
    let told = carol.event("problem");
    assert!(told["message"].as_str().unwrap().contains("(room)"), "{told}");
    let other = Author::new(7, "other").chain(1)[0].to_string();
    let posted = server.post("other", &[other]).await.json();
    assert_eq!(posted["verdicts"][0]["code"], "room", "{posted}");
    assert_eq!(server.post("main", &[op]).await.status, 200);
    for process in [node, stranger, carol] {
        process.stop();
    }
    relayer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_open_ends_when_reading_is_closed() {
    let cluster = Cluster::new();
    let alice = cluster.init("alice");
    let file = cluster.path().join("relayer.toml");
    fs::write(&file, "").unwrap();
    let (mut relayer, url) = cluster.relayer_with("data", &["--config", file.to_str().unwrap()]);
    let mut required = |more: &str| {
        let text = format!("[auth]\nmode = \"required\"\nkeys = [{alice:?}]\n{more}\n");
        fs::write(&file, text).unwrap();
        relayer.signal("HUP");
        assert_eq!(relayer.event("reread")["ok"], true);
    };
    let server = Server::of(&url);
    let op = Author::new(7, "main").chain(1)[0].to_string();
    assert_eq!(server.post("main", &[op]).await.status, 200);
    let path = "/v1/rooms/main/events?after=0";
    let mut events = server.events(path, &[]).await.unwrap();
    assert_eq!(events.next_of("op").await.id, 1);

    // Sending is closed to strangers and reading is not: the stream goes on.
    required("http_read = true");
    let mut node = cluster.node_at("alice", &[&url], &["--headless"]);
    node.line("hello");
    assert_eq!(events.next_of("op").await.id, 2);

    required("");
    while let Some(event) = events.next().await {
        assert_eq!(event.event, "room", "what was ready before it was closed");
    }
    assert_eq!(server.events(path, &[]).await.unwrap_err(), 403);
    node.stop();
    relayer.stop();
}

#[test]
fn encryption_is_not_turned_on_or_off_while_a_relayer_runs() {
    let cluster = Cluster::new();
    let file = cluster.path().join("relayer.toml");
    fs::write(&file, "").unwrap();
    let (mut relayer, _) = cluster.relayer_with("data", &["--config", file.to_str().unwrap()]);
    let (cert, key) = crate::settings::certificate(cluster.path(), "own");
    fs::write(&file, format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n")).unwrap();
    relayer.signal("HUP");
    let reread = relayer.event("reread");
    assert_eq!(reread["ok"], false, "{reread}");
    assert!(reread["reason"].as_str().unwrap().contains("at a start only"), "{reread}");
    fs::write(&file, "").unwrap();
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
    relayer.stop();
}
