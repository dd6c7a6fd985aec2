//! Connections are encrypted, who answers is who it should be, and plain text stays on this machine
//! unless somebody wants it otherwise.

use std::fs;
use std::process::Command;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::{Process, run};
use serde_json::Value;

use crate::command_line::assert_fails;
use crate::convergence::{assert_converged, lines};
use crate::doctor::Report;
use crate::routes::{link_once, links};
use crate::settings::certificate;

mod authority;

use authority::{Authority, Valid};

/// This machine, as certificates call it.
const HERE: &str = "DNS:localhost,IP:127.0.0.1";

/// An address of another machine, which nobody has.
const FAR: &str = "ws://no-such-host.invalid/websocket";

fn authority(cluster: &Cluster) -> Authority {
    Authority::new(&cluster.path().join("authority"))
}

/// Starts a relayer that encrypts, with more arguments. Returns its websocket too.
fn relayer(
    cluster: &Cluster,
    folder: &str,
    (cert, key): &(String, String),
    more: &[&str],
) -> (Process, String) {
    let own = ["--tls-cert", cert, "--tls-key", key];
    let (relayer, url) = cluster.relayer_with(folder, &[&own, more].concat());
    (relayer, url.replace("ws://", "wss://"))
}

/// A server that speaks this version of TLS only. Returns its websocket, which is none.
fn server_of(version: &str, (cert, key): &(String, String)) -> (Process, String) {
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", cert, "-key", key]);
    // The library would not speak the old one otherwise.
    server.args([version, "-cipher", "DEFAULT@SECLEVEL=0"]);
    let mut server = Process::spawn(server);
    loop {
        let line = server.next_event();
        if let Some(address) = line.as_str().and_then(|line| line.strip_prefix("ACCEPT ")) {
            return (server, format!("wss://{address}/websocket"));
        }
    }
}

/// The reason why a node does not connect to a relay, which lasts.
fn refused(node: &mut Process, url: &str) -> String {
    let refused = node.event_with("link", |event| event["relay"] == url);
    assert_eq!(refused["state"], "refused", "{refused}");
    refused["reason"].as_str().unwrap().to_owned()
}

#[test]
fn nodes_and_a_relayer_converge_over_tls() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let pair = authority.sign("relayer", HERE, &Valid::Days(60));
    let (relayer, url) = relayer(&cluster, "relayer", &pair, &[]);
    let ca = ["--ca-file", &authority.file()];
    cluster.init("alice");
    let mut alice = cluster.node_at("alice", &[&url], &[&ca[..], &["--headless"]].concat());
    // The configuration keeps it.
    cluster.json("init", "bob", &[&["--relay", &url][..], &ca].concat());
    let mut bob = cluster.node_at("bob", &[], &["--headless"]);
    // The environment names it; the system trusts it.
    let [mut carol, mut dave] =
        [("carol", "CRDT_CA_FILE"), ("dave", "SSL_CERT_FILE")].map(|(name, variable)| {
            cluster.init(name);
            let mut node = cluster.program(name);
            node.args(["run", name, "--json", "--headless", "--relay", &url, "--home"]);
            node.arg(cluster.home(name)).env(variable, authority.file());
            Process::spawn(node)
        });
    alice.try_write(&lines("alice", 0, 100));
    bob.try_write(&lines("bob", 0, 100));
    for node in [&mut alice, &mut bob, &mut carol, &mut dave] {
        node.synced(200);
    }
    assert_eq!(links(&cluster, "alice")[&url]["state"], "live");
    [alice, bob, carol, dave].into_iter().for_each(Process::stop);
    assert_converged(&cluster, &["alice", "bob", "carol", "dave"], 200);
    // By name, and with a command that ends by itself.
    let by_name = url.replace("127.0.0.1", "localhost");
    let report = cluster.json("sync", "alice", &[&[by_name.as_str()][..], &ca].concat());
    assert_eq!(report["ok"], true, "{report}");
    relayer.stop();
}

#[test]
fn an_unknown_issuer_is_refused_and_sent_nothing_until_it_is_trusted() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let stranger = Authority::new(&cluster.path().join("stranger")).file();
    let pair = authority.sign("relayer", HERE, &Valid::Days(60));
    let (relayer, url) = relayer(&cluster, "relayer", &pair, &[]);
    let ca = ["--ca-file", &authority.file()];
    cluster.init("bob");
    let bob = cluster.command("send", "bob", &[&["first", "--relay", &url][..], &ca].concat());
    assert!(bob.status.success(), "{bob:?}");

    cluster.init("alice");
    let distrusting = ["--ca-file", &stranger, "--headless"];
    let mut alice = cluster.node_at("alice", &[&url], &distrusting);
    alice.line("hello");
    let reason = refused(&mut alice, &url);
    assert!(reason.contains("signed by nobody this machine trusts"), "{reason}");
    assert!(reason.contains("--ca-file FILE"), "{reason}");
    // It is tried again, and shown until then.
    let link = link_once(&cluster, "alice", &url, |link| link["state"] == "refused");
    assert_eq!(link["reason"], *reason);
    alice.stop();
    let compare = || {
        let flags = [&[url.as_str(), "--dry-run"][..], &ca].concat();
        let preview = cluster.json("sync", "bob", &flags);
        preview["routes"][0]["rooms"][0]["receive"].clone()
    };
    assert_eq!(compare(), 0, "the relayer has got nothing");
    let untrusting = cluster.command("sync", "alice", &[&url, "--ca-file", &stranger]);
    assert_fails(&untrusting, 4, "signed by nobody this machine trusts");

    let sent = cluster.command("send", "alice", &[&["more", "--relay", &url][..], &ca].concat());
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(compare(), 2, "both of alice's");
    relayer.stop();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let pair = authority.sign("relayer", "DNS:relay.example", &Valid::Days(60));
    let (relayer, url) = relayer(&cluster, "relayer", &pair, &[]);
    cluster.init("alice");
    let flags = ["--relay", &url, "--ca-file", &authority.file(), "--headless"];
    let mut alice = cluster.node_by("alice", &flags);
    let reason = refused(&mut alice, &url);
    let expected = "its certificate is not for 127.0.0.1 but for relay.example";
    assert!(reason.starts_with(expected), "{reason}");
    alice.stop();
    relayer.stop();
}

#[test]
fn an_expired_certificate_is_refused_until_a_new_one_is_there() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let pair = authority.sign("relayer", HERE, &Valid::LongAgo);
    let (mut relayer, url) = relayer(&cluster, "relayer", &pair, &[]);
    cluster.init("alice");
    let ca = authority.file();
    let mut alice = cluster.node_at("alice", &[&url], &["--ca-file", &ca, "--headless"]);
    alice.line("hello");
    let reason = refused(&mut alice, &url);
    assert!(reason.contains("its certificate expired on 2020-02-01"), "{reason}");
    authority.sign("relayer", HERE, &Valid::Days(60));
    relayer.signal("HUP");
    assert_eq!(relayer.event("reread")["ok"], true);
    alice.synced(1);
    alice.stop();
    relayer.stop();
}

#[test]
fn an_authoritys_own_certificate_and_plain_text_are_no_servers_certificate() {
    let cluster = Cluster::new();
    let pair = certificate(cluster.path(), "own");
    let (encrypted, url) = relayer(&cluster, "encrypted", &pair, &[]);
    cluster.init("alice");
    let flags = ["--ca-file", &pair.0, "--headless"];
    let mut alice = cluster.node_at("alice", &[&url], &flags);
    let reason = refused(&mut alice, &url);
    assert!(reason.contains("CA:FALSE"), "{reason}");
    let plain = cluster.relayer();
    let url = cluster.url().replace("ws://", "wss://");
    alice.line(&format!("/relay add {url}"));
    let reason = refused(&mut alice, &url);
    assert!(reason.contains("is not TLS"), "{reason}");
    alice.stop();
    encrypted.stop();
    plain.stop();
}

#[test]
fn a_proxy_may_speak_tls_1_2_and_nothing_older() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let pair = authority.sign("proxy", HERE, &Valid::Days(60));
    let (_new_enough, good) = server_of("-tls1_2", &pair);
    let (_too_old, old) = server_of("-tls1_1", &pair);
    let ca = authority.file();
    cluster.json("init", "alice", &["--relay", &good, "--relay", &old, "--ca-file", &ca]);
    let report = Report::of(&cluster, "alice", &[]);
    report.assert("relay.tls", "ok", &good);
    report.assert("relay.health", "ok", &good);
    let sentence = format!("{old}: the other side speaks neither TLS 1.3 nor 1.2");
    report.assert("relay.tls", "error", &sentence);
}

#[test]
fn plain_text_to_another_machine_must_be_asked_for() {
    let cluster = Cluster::new();
    cluster.init("alice");
    let sentence = "plain text to another machine";
    let at_relay = ["--relay", FAR, "--timeout", "1"];
    for (command, arguments) in [
        ("init", &["--relay", FAR][..]),
        ("run", &at_relay),
        ("run", &["--no-relay", "--peer", FAR]),
        ("send", &[&["hello"][..], &at_relay].concat()),
        ("sync", &[FAR]),
    ] {
        let name = if command == "init" { "bob" } else { "alice" };
        let output = cluster.command(command, name, arguments);
        assert_fails(&output, 3, sentence);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("wss://") && errors.contains("--insecure-plain"), "{errors}");
    }
    assert!(!cluster.home("bob").exists());
    assert_eq!(cluster.json("status", "alice", &[])["rooms"], serde_json::json!([]));
    let data = cluster.path().join("data");
    let peer = run("crdt-relayer", ["--peer", FAR, "--data", data.to_str().unwrap()]);
    assert_fails(&peer, 3, sentence);
    assert!(!data.exists());

    let mut alice = cluster.node_by("alice", &["--headless"]);
    alice.line(&format!("/peer add {FAR}"));
    let told = alice.event("answer");
    assert!(told.to_string().contains(sentence), "{told}");
    alice.stop();
    // Who asks for it gets it, and only does not find the machine.
    let asked = [&["hello"][..], &at_relay, &["--insecure-plain"]].concat();
    assert_fails(&cluster.command("send", "alice", &asked), 4, FAR);
    cluster.json("init", "bob", &["--relay", FAR, "--insecure-plain"]);
    assert_fails(&cluster.command("send", "bob", &["hello", "--timeout", "1"]), 4, FAR);
}

#[test]
fn a_node_that_listens_encrypts_with_its_certificate() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let (cert, key) = authority.sign("alice", HERE, &Valid::Days(60));
    cluster.init("alice");
    let own = ["--tls-cert", &cert, "--tls-key", &key];
    let (mut alice, url) = cluster.listening_node("alice", &[&own[..], &["--headless"]].concat());
    assert!(url.starts_with("wss://"), "{url}");
    cluster.init("bob");
    let ca = authority.file();
    let mut bob = cluster.node_by("bob", &["--peer", &url, "--ca-file", &ca, "--headless"]);
    alice.try_write(&lines("alice", 0, 50));
    bob.try_write(&lines("bob", 0, 50));
    alice.synced(100);
    bob.synced(100);
    [alice, bob].into_iter().for_each(Process::stop);
    assert_converged(&cluster, &["alice", "bob"], 100);

    // Other machines may connect, because nobody can read along.
    let open = ["--listen", "0.0.0.0:0"];
    cluster.json("init", "carol", &[&open[..], &own].concat());
    let mut carol = cluster.node_by("carol", &["--headless"]);
    assert_eq!(carol.event("listening")["warning"], Value::Null);
    carol.stop();
    assert_fails(&cluster.command("run", "alice", &open), 3, "nothing is encrypted");
    assert_fails(&cluster.command("init", "dave", &open), 3, "nothing is encrypted");
    let half = cluster.command("run", "alice", &["--listen", "127.0.0.1:0", "--tls-cert", &cert]);
    assert_fails(&half, 2, "--tls-key");
    let nothing = cluster.path().join("nothing.pem");
    fs::write(&nothing, "").unwrap();
    let nothing = ["--ca-file", nothing.to_str().unwrap()];
    assert_fails(&cluster.command("run", "alice", &nothing), 3, "holds no certificate in PEM");
}

#[test]
fn relayers_keep_the_same_rooms_over_tls() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let pair = authority.sign("relayer", HERE, &Valid::Days(60));
    let ca = authority.file();
    let (first, a) = relayer(&cluster, "first", &pair, &[]);
    let (second, b) = relayer(&cluster, "second", &pair, &["--peer", &a, "--ca-file", &ca]);
    let node = |name: &str, url: &str| {
        cluster.init(name);
        cluster.node_at(name, &[url], &["--ca-file", &ca, "--headless"])
    };
    let (mut alice, mut bob) = (node("alice", &a), node("bob", &b));
    alice.try_write(&lines("alice", 0, 50));
    bob.try_write(&lines("bob", 0, 50));
    alice.synced(100);
    bob.synced(100);
    [alice, bob].into_iter().for_each(Process::stop);
    assert_converged(&cluster, &["alice", "bob"], 100);
    first.stop();
    second.stop();
}

#[test]
fn doctor_tells_how_long_a_certificate_holds_and_why_one_does_not() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let start = |name: &str, subjects: &str, valid: &Valid| {
        relayer(&cluster, name, &authority.sign(name, subjects, valid), &[])
    };
    let (fresh, good) = start("fresh", HERE, &Valid::Days(60));
    let (stale, soon) = start("stale", HERE, &Valid::Days(10));
    let (old, expired) = start("old", HERE, &Valid::LongAgo);
    let (other, wrong) = start("other", "DNS:relay.example", &Valid::Days(60));
    let ca = authority.file();
    let all = [&good, &soon, &expired, &wrong].map(|url| ["--relay", url]).concat();
    cluster.json("init", "alice", &[&all[..], &["--ca-file", &ca]].concat());
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!((report.code(), report.wrong()), (4, vec!["relay.tls"; 3]));
    report.assert("relay.tls", "ok", &good);
    report.assert("relay.tls", "warning", &soon);
    // The day it was made has begun, or has not.
    for (url, days) in [(&good, [59, 60]), (&soon, [9, 10])] {
        let told = report.of_all("relay.tls", url)["message"].as_str().unwrap();
        let holds = |days| format!("{url}: encrypted; its certificate holds for {days} more days");
        assert!(days.map(holds).contains(&told.to_owned()), "{told}");
    }
    report.assert(
        "relay.tls",
        "error",
        &format!("{expired}: its certificate expired on 2020-02-01"),
    );
    report.assert("relay.tls", "error", &format!("{wrong}: its certificate is not for 127.0.0.1"));
    for check in ["address", "reach", "health", "version", "clock"] {
        report.assert(&format!("relay.{check}"), "ok", &good);
    }
    // One of the flag counts before the configured one.
    let stranger = Authority::new(&cluster.path().join("stranger")).file();
    let report = Report::of(&cluster, "alice", &["--ca-file", &stranger]);
    report.assert("relay.tls", "error", &format!("{good}: its certificate is signed by nobody"));
    fs::remove_file(&ca).unwrap();
    let report = Report::of(&cluster, "alice", &[]);
    assert_eq!(report.code(), 3);
    report.assert("ca-file", "error", "cannot be read: ");
    // What a run would not listen with.
    let config = cluster.home("alice").join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("listen = \"0.0.0.0:0\"\n{text}")).unwrap();
    Report::of(&cluster, "alice", &[]).assert("listen", "error", "nothing is encrypted");
    [fresh, stale, old, other].into_iter().for_each(Process::stop);
}

#[test]
fn an_operator_asks_an_encrypted_relayer_whom_it_can_trust() {
    let cluster = Cluster::new();
    let authority = authority(&cluster);
    let (cert, key) = authority.sign("server", "IP:127.0.0.1", &Valid::Days(2));
    let (relayer, url) = cluster.relayer_with("tls", &["--tls-cert", &cert, "--tls-key", &key]);
    let url = url.replace("ws://", "https://").replace("/websocket", "");
    let health = |more: &[&str]| run("crdt-relayer", [&["health", &url], more].concat());
    let trusted = health(&["--ca-file", &authority.file()]);
    assert_eq!(String::from_utf8_lossy(&trusted.stdout), format!("{url} takes ops\n"));
    let untrusted = health(&[]);
    let said = String::from_utf8_lossy(&untrusted.stderr);
    assert_eq!(untrusted.status.code(), Some(4), "{said}");
    assert!(said.contains("certificate") && said.contains("--ca-file"), "{said}");
    relayer.stop();
}
