//! A relayer does what it was told, says where that comes from, and can be told anew.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::{Process, run};
use serde_json::Value;

/// Starts a relayer with this configuration on a free port. Returns its address too.
fn relayer(cluster: &Cluster, settings: &str, more: &[&str]) -> (Process, String) {
    let file = cluster.path().join("relayer.toml");
    fs::write(&file, settings).unwrap();
    let all = [&["--config", file.to_str().unwrap()], more].concat();
    let (relayer, url) = cluster.relayer_with("data", &all);
    (relayer, url.replace("ws://", "").replace("/websocket", ""))
}

/// What a relayer answers, all of it.
fn ask(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // One that is turned away may find the connection reset after the answer.
    let _reset = stream.read_to_string(&mut answer);
    answer
}

/// What is answered to this address of this machine.
fn ask_from(address: &str, url: &str) -> String {
    let asked = std::process::Command::new("curl")
        .args(["-s", "--interface", address, url])
        .output()
        .unwrap();
    String::from_utf8(asked.stdout).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn each_setting_is_shown_with_where_it_comes_from() {
    let cluster = Cluster::new();
    let file = cluster.path().join("relayer.toml");
    fs::write(&file, "[limits]\nconnections = 7\nheader_time = \"2s\"\n").unwrap();
    let mut command = crdt_tests::process::command("crdt-relayer");
    command.args(["check-config", "--json", "--max-connections", "8", "--config"]).arg(&file);
    command.env("CRDT_RELAYER_LIMITS_HANDSHAKES", "9/s");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["schema"], &report["ok"]), (&"crdt-relayer/config/1".into(), &true.into()));
    let of = |key: &str| {
        let all = report["settings"].as_array().unwrap();
        let setting = all.iter().find(|setting| setting["key"] == key).unwrap();
        let word = |name: &str| setting[name].as_str().unwrap().to_owned();
        (word("value"), word("origin"))
    };
    let line = format!("{}, line 3", file.display());
    assert_eq!(of("limits.connections"), ("8".into(), "flag, --max-connections".into()));
    assert_eq!(of("limits.header_time"), ("2s".into(), line));
    let variable = "environment, CRDT_RELAYER_LIMITS_HANDSHAKES".into();
    assert_eq!(of("limits.handshakes"), ("9/s".into(), variable));
    assert_eq!(of("server.listen"), ("127.0.0.1:8080".into(), "default".into()));
}

#[track_caller]
fn assert_refused(arguments: &[&str], sentence: &str, hint: &str) {
    let output = run("crdt-relayer", arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(sentence) && told.contains(hint), "{told}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_else_happens() {
    let cluster = Cluster::new();
    let file = cluster.path().join("relayer.toml");
    let path = file.to_str().unwrap();
    fs::write(&file, "[limits]\nconnectoins = 7\n").unwrap();
    let place = format!("{path}, line 2: there is no setting limits.connectoins");
    for command in ["run", "check-config"] {
        let arguments = [command, "--config", path];
        assert_refused(&arguments, &place, "did you mean limits.connections?");
    }
    let data = cluster.path().join("data");
    let open = ["run", "--listen", "0.0.0.0:0", "--data", data.to_str().unwrap()];
    assert_refused(&open, "can be reached from other machines", "--insecure-plain");
    let nowhere = cluster.path().join("nowhere.pem");
    let nowhere = nowhere.to_str().unwrap();
    let tls = ["check-config", "--tls-cert", nowhere, "--tls-key", nowhere];
    assert_refused(&tls, "nowhere.pem cannot be read: ", "--tls-cert");
    assert!(!data.exists());
}

#[test]
fn limits_are_read_again_on_a_signal_and_bad_ones_are_not_taken() {
    let cluster = Cluster::new();
    let strict = "[limits]\ntrust_loopback = false\nconnections_per_address = 1\n";
    let (mut relayer, address) = relayer(&cluster, strict, &[]);
    let held = TcpStream::connect(&address).unwrap();
    let answer = ask(&address, "/healthz", "");
    assert_eq!(status(&answer), "429", "{answer}");
    let (fields, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(fields.contains("\r\nContent-Type: application/problem+json"), "{fields}");
    assert!(fields.contains("\r\nRetry-After: "), "{fields}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"busy".into()));
    assert_eq!(problem["detail"], "Too many connections of this address are open.");

    let file = cluster.path().join("relayer.toml");
    fs::write(&file, "[limits]\nconnections_per_address = \"many\"\n").unwrap();
    relayer.signal("HUP");
    let reread = relayer.event("reread");
    assert_eq!(reread["ok"], false);
    assert!(reread["reason"].as_str().unwrap().contains("line 2"), "{reread}");
    assert_eq!(status(&ask(&address, "/healthz", "")), "429");

    fs::write(&file, strict.replace("= 1", "= 2")).unwrap();
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
    assert_eq!(status(&ask(&address, "/healthz", "")), "200");
    drop(held);
    relayer.stop();
}

#[test]
fn connections_that_come_too_often_are_turned_away_and_others_are_not() {
    let cluster = Cluster::new();
    // One token in a thousand seconds would be a fraction; one a second is the slowest rate there
    // is.
    let strict = "[limits]\ntrust_loopback = false\nhandshakes_per_address = 1\n";
    let (relayer, address) = relayer(&cluster, strict, &[]);
    let answers: Vec<String> = (0..30).map(|_| ask(&address, "/healthz", "")).collect();
    let let_in = answers.iter().filter(|answer| status(answer) == "200").count();
    let turned_away =
        answers.iter().filter(|a| a.contains("Too many connections of this address come")).count();
    assert!((1..30).contains(&let_in) && let_in + turned_away == 30, "{let_in} {turned_away}");
    // Asked from another address of this machine, which has come for the first time.
    let metrics = ask_from("127.0.0.3", &format!("http://{address}/metrics"));
    let counted = "crdt_relayer_refused_total{limit=\"HandshakesOfAddress\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(counted)).unwrap();
    assert_eq!(counted.parse(), Ok(turned_away), "{metrics}");
    assert_eq!(ask_from("127.0.0.2", &format!("http://{address}/healthz")), "ok\n");
    relayer.stop();
}

#[test]
fn browsers_are_answered_by_the_names_and_for_the_pages_that_are_listed() {
    let cluster = Cluster::new();
    let listed = ["--host", "relay.example", "--origin", "https://app.example"];
    let (relayer, address) = relayer(&cluster, "", &listed);
    let of = |path: &str, headers: &str| status(&ask(&address, path, headers)).to_owned();
    assert_eq!(of("/", "Host: relay.example\r\n"), "200");
    assert_eq!(of("/", "Host: evil.example\r\n"), "421");
    assert_eq!(of("/healthz", "Host: evil.example\r\n"), "200");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (page, answer) in [
        ("https://relay.example", "101"),
        ("https://app.example", "101"),
        ("https://evil.example", "403"),
        ("null", "403"),
    ] {
        // The connection is upgraded only if `Connection` says nothing else.
        let mut stream = TcpStream::connect(&address).unwrap();
        let request = format!(
            "GET /websocket HTTP/1.1\r\nHost: relay.example\r\nOrigin: {page}\r\n{upgrade}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(String::from_utf8_lossy(&start), format!("HTTP/1.1 {answer}"), "{page}");
    }
    relayer.stop();
}

/// A certificate for this machine, signed by itself.
pub(crate) fn certificate(folder: &Path, name: &str) -> (String, String) {
    let [cert, key] = ["cert", "key"]
        .map(|kind| folder.join(format!("{name}.{kind}.pem")).to_str().unwrap().to_owned());
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    (cert, key)
}

/// What a relayer answers over TLS to who trusts this certificate only.
fn ask_encrypted(address: &str, cert: &str, version: &str) -> String {
    let asked = std::process::Command::new("curl")
        .args(["-sS", "--cacert", cert, version, &format!("https://{address}/healthz")])
        .output()
        .unwrap();
    String::from_utf8([asked.stdout, asked.stderr].concat()).unwrap()
}

#[test]
fn a_relayer_encrypts_and_takes_a_new_certificate_while_it_runs() {
    let cluster = Cluster::new();
    let (first, second) =
        (certificate(cluster.path(), "first"), certificate(cluster.path(), "second"));
    let of = |(cert, key): &(String, String)| format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let (mut relayer, address) = relayer(&cluster, &of(&first), &[]);
    assert_eq!(ask_encrypted(&address, &first.0, "--tlsv1.3"), "ok\n");
    let untrusted = ask_encrypted(&address, &second.0, "--tlsv1.3");
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let old = ask_encrypted(&address, &first.0, "--tls-max=1.2");
    assert!(!old.contains("ok"), "{old}");

    let file = cluster.path().join("relayer.toml");
    fs::write(&file, of(&second)).unwrap();
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
    assert_eq!(ask_encrypted(&address, &second.0, "--tlsv1.3"), "ok\n");
    // A key that does not belong to its certificate is not taken.
    fs::write(&file, of(&(second.0.clone(), first.1))).unwrap();
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], false);
    assert_eq!(ask_encrypted(&address, &second.0, "--tlsv1.3"), "ok\n");
    relayer.stop();
}
