//! Commands, files and faults as a user meets them: the sentence and the exit code.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crdt_tests::cluster::{Cluster, NOWHERE};
use crdt_tests::process::{Process, program, run};
use serde_json::Value;

/// The exit code and the sentence of a command that must fail.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, code: i32, sentence: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(sentence), "{errors}");
    let by_the_parser = errors.contains("For more information, try '--help'");
    assert!(errors.contains("Hint: ") || by_the_parser, "{errors}");
}

#[test]
fn a_second_init_keeps_the_key() {
    let cluster = Cluster::new();
    let author = cluster.init("alice");
    let key = fs::read(cluster.home("alice").join("key.pem")).unwrap();
    assert_fails(&cluster.command("init", "alice", &[]), 3, "exists already; it was kept");
    assert_eq!(fs::read(cluster.home("alice").join("key.pem")).unwrap(), key);
    let home = cluster.home("alice");
    let shown = run("crdt-node", ["key", "show", "alice", "--home", home.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), author);
}

#[test]
fn the_key_opens_with_openssl() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let key = cluster.home("alice").join("key.pem");
    let openssl = |args: &[&str]| Command::new("openssl").args(args).arg(&key).output().unwrap();
    let shown = openssl(&["pkey", "-pubout", "-in"]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let home = cluster.home("alice");
    let pem = run(
        "crdt-node",
        ["key", "show", "alice", "--public-pem", "--home", home.to_str().unwrap()],
    );
    assert_eq!(String::from_utf8_lossy(&pem.stdout), String::from_utf8_lossy(&shown.stdout));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_here_and_in_openssl() {
    let cluster = Cluster::new();
    let secret = cluster.path().join("secret");
    fs::write(&secret, "correct horse").unwrap();
    let secret = secret.to_str().unwrap();
    cluster.json("init", "alice", &["--passphrase-file", secret]);
    let key = cluster.home("alice").join("key.pem");
    let opened = Command::new("openssl")
        .args(["pkey", "-noout", "-passin", &format!("file:{secret}"), "-in"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let without = cluster.command("send", "alice", &["hello", "--timeout", "0"]);
    assert_fails(&without, 3, "is encrypted and there is no terminal");
    let wrong = cluster.path().join("wrong");
    fs::write(&wrong, "battery staple").unwrap();
    let with = |file: &str| {
        let more = ["hello", "--timeout", "0", "--passphrase-file", file];
        cluster.command("send", "alice", &more)
    };
    assert_fails(&with(wrong.to_str().unwrap()), 3, "passphrase does not open");
    assert_fails(&with(secret), 4, "no relay or peer acknowledged within 0 s");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_fix() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let key = cluster.home("alice").join("key.pem");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let refused = cluster.command("run", "alice", &[]);
    assert_fails(&refused, 3, "readable by other users (mode 0644)");
    let fix = format!("chmod 600 {}", key.display());
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&fix));
}

#[test]
fn one_process_has_a_home_at_a_time() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &["--headless"]);
    alice.event("ready");
    assert_fails(&cluster.command("run", "alice", &[]), 9, "another process uses");
    alice.line("beside it");
    alice.event("durable");
    assert_eq!(cluster.notes("alice", None), ["beside it"], "reading works beside it");
    alice.stop();
    relayer.stop();
}

#[test]
fn a_home_that_was_never_made_or_is_another_name_s_says_so() {
    let cluster = Cluster::new();
    assert_fails(&cluster.command("verify", "nobody.jsonl", &[]), 3, "no file and no node named");
    for command in ["run", "send", "log", "status", "export"] {
        assert_fails(&cluster.command(command, "nobody", &[]), 3, "holds no key");
    }
    cluster.init("alice");
    let home = cluster.home("alice");
    let other = run("crdt-node", ["status", "bob", "--home", home.to_str().unwrap()]);
    assert_fails(&other, 3, "belongs to alice, not to bob");
}

#[test]
fn a_relay_that_is_not_there_loses_nothing() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let nowhere = ["--relay", NOWHERE, "--timeout", "1"];
    let sent = cluster.command("send", "alice", &[&["hello"], nowhere.as_slice()].concat());
    assert_fails(&sent, 4, "connection refused");
    assert!(String::from_utf8_lossy(&sent.stderr).contains("nothing was lost: 1 of your ops"));
    assert_fails(&cluster.command("run", "alice", &nowhere), 7, "not in sync with a relay");
    assert_eq!(cluster.notes("alice", None), ["hello"]);
    let bad = cluster.command("run", "alice", &["--relay", "http://x"]);
    assert_fails(&bad, 3, "is no websocket address");
    let secret = ["--relay", "wss://me:hunter2@relay.example/websocket"];
    let secret = cluster.command("run", "alice", &secret);
    assert_fails(&secret, 3, "a name or password stands in");
    assert!(!String::from_utf8_lossy(&secret.stderr).contains("hunter2"));
}

#[test]
fn bad_lines_are_refused_one_by_one_and_the_others_recorded() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    for line in ["good one", "{\"a\":1.5}", "{\"a\":1,\"a\":2}", "pay bob", "", "good two"] {
        alice.line(line);
    }
    alice.line(&"x".repeat(70_000));
    alice.line(&"x".repeat(140_000));
    alice.line(&format!("{{\"a\":{}}}", "[".repeat(40) + &"]".repeat(40)));
    alice.line("good three");
    alice.end_input();
    let events = alice.rest();
    let refused: Vec<(u64, &str)> = events
        .iter()
        .filter(|event| event["event"] == "refused")
        .map(|event| (event["line"].as_u64().unwrap(), event["code"].as_str().unwrap()))
        .collect();
    let mut sorted = refused.clone();
    sorted.sort_unstable();
    let expected = [(2, "json"), (3, "json"), (4, "pay"), (7, "size"), (8, "size"), (9, "json")];
    assert_eq!(sorted, expected);
    let (status, errors) = alice.end();
    assert_eq!(status.code(), Some(10), "{errors}");
    assert!(errors.contains("6 of 9 lines were refused; the others are recorded"), "{errors}");
    assert_eq!(cluster.notes("alice", None), ["good one", "good two", "good three"]);
    relayer.stop();
}

#[test]
fn bad_flags_and_configurations_are_named() {
    let cluster = Cluster::new();
    cluster.init("alice");
    assert_fails(&cluster.command("run", "alice", &["--relya", "x"]), 2, "--relya");
    assert_fails(&cluster.command("run", "alice", &["--room", "Not A Room"]), 2, "room name");
    assert_fails(&cluster.command("init", "a/b", &[]), 2, "is no name");
    let config = cluster.home("alice").join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "rleay = 1\n").unwrap();
    assert_fails(&cluster.command("run", "alice", &[]), 3, "unknown field `rleay`");
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let script = run("crdt-node", ["completions", "bash"]);
    assert!(String::from_utf8_lossy(&script.stdout).contains("crdt-node"));
    let cluster = Cluster::new();
    let pages = run("crdt-node", ["man", "-o", cluster.path().to_str().unwrap()]);
    assert!(pages.status.success());
    let page = fs::read_to_string(cluster.path().join("crdt-node-run.1")).unwrap();
    assert!(page.contains("headless"));
}

#[test]
fn the_demo_ends_well_and_says_what_was_seen() {
    let output = run("crdt-node", ["demo", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["attacks"].as_array().unwrap().len(), 5);
    assert_eq!(report["nodes"].as_array().unwrap().len(), 4, "relayer, alice, bob, carol");
    for attack in report["attacks"].as_array().unwrap() {
        assert_eq!(attack["by"].as_array().unwrap().len(), 4, "{attack}");
    }
    assert!(report["evidence"].is_string(), "mallory is proved a liar");
    for node in report["nodes"].as_array().unwrap() {
        assert_eq!(node["entries"], 302);
    }
}

#[test]
fn a_process_that_is_asked_to_stop_ends_well() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    for signal in ["TERM", "INT"] {
        let mut alice = cluster.node("alice", &["--headless"]);
        alice.event("ready");
        alice.line("{not an object");
        alice.event("refused");
        alice.signal(signal);
        let (status, errors) = Process::end(alice);
        assert!(status.success(), "{signal}: {status} {errors}");
    }
    relayer.stop();
}

#[test]
fn leaving_through_a_pipe_still_answers_every_line() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    for line in ["one", "two", "/log", "/offline", "/online", "/quit"] {
        alice.line(line);
    }
    let events = alice.rest();
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((count("durable"), count("entry")), (2, 2), "{events:?}");
    assert!(events.iter().any(|event| event["event"] == "relayed"));
    assert!(events.iter().all(Value::is_object));
    alice.end_well();
    relayer.stop();
}

#[test]
fn a_reader_that_leaves_a_pipe_is_no_error() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = cluster.node("alice", &[]);
    alice.try_write(&crate::convergence::lines("alice", 0, 5_000));
    alice.end_well();
    let log = format!(
        "{} log alice --home {} | head -1; exit ${{PIPESTATUS[0]}}",
        program("crdt-node").display(),
        cluster.home("alice").display()
    );
    let output = Command::new("bash").args(["-c", &log]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    relayer.stop();
}

#[test]
fn a_node_whose_output_nobody_reads_still_stops() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut node = cluster.program("alice");
    node.args(["run", "alice", "--headless", "--json", "--relay", &cluster.url(), "--home"]);
    node.arg(cluster.home("alice"));
    // A pipe that is never read fills up after 64 KiB.
    let piped = std::process::Stdio::piped;
    let mut child = node.stdin(piped()).stdout(piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = "x".repeat(60_000);
    for _ in 0..20 {
        std::io::Write::write_all(&mut input, format!("{text}\n").as_bytes()).unwrap();
    }
    let mut bob = {
        cluster.init("bob");
        cluster.node("bob", &["--headless"])
    };
    bob.synced(20);
    let id = child.id().to_string();
    Command::new("kill").args(["-s", "TERM", &id]).status().unwrap();
    assert!(child.wait().unwrap().success());
    bob.stop();
    relayer.stop();
}
