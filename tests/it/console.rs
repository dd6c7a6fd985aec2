//! The terminal, driven through a pseudo-terminal: what is typed, what is shown, what is not.

use std::process::Command;

use crdt_tests::client::{Client, op, ops};
use crdt_tests::cluster::Cluster;
use crdt_tests::process::program;
use rexpect::session::{PtySession, spawn_command};

/// Milliseconds any output may take; only a failing test waits this long.
const WAIT_MS: u64 = 60_000;

fn console(cluster: &Cluster, name: &str) -> PtySession {
    terminal(cluster, name, "xterm")
}

/// A node on a terminal of this kind.
fn terminal(cluster: &Cluster, name: &str, kind: &str) -> PtySession {
    let mut node = cluster.program(name);
    node.args(["run", name, "--relay", &cluster.url(), "--home"]).arg(cluster.home(name));
    node.env("TERM", kind);
    let mut session = spawn_command(node, Some(WAIT_MS)).unwrap();
    session.exp_string("in sync").unwrap();
    session
}

#[test]
fn typed_lines_are_recorded_and_commands_answered() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = console(&cluster, "alice");
    alice.send_line("pay bob 12.50 rent").unwrap();
    alice.exp_string("you").unwrap();
    alice.exp_string("pay bob 12.50 \"rent\"").unwrap();
    for (command, answer) in [
        ("/help", "record a payment"),
        ("/status", "1 entries in 1 ops"),
        ("/log 5", "pay bob 12.50 \"rent\""),
        ("/rooms", "main"),
        ("/peers", "0 behind"),
        ("/verify", "1 signatures"),
        ("/verfy", "did you mean /verify?"),
        ("/join side", "lines go to side from now on"),
        ("{\"a\":1.5}", "is not recorded"),
    ] {
        // What is typed before the prompt is back may be lost.
        alice.exp_string("alice@").unwrap();
        alice.send_line(command).unwrap();
        alice.exp_string(answer).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let file = cluster.path().join("exported.jsonl");
    alice.exp_string("alice@").unwrap();
    alice.send_line("/join main").unwrap();
    alice.exp_string("lines go to main").unwrap();
    alice.exp_string("alice@main> ").unwrap();
    alice.send_line(&format!("/export {}", file.display())).unwrap();
    alice.exp_string("1 ops written").unwrap();
    alice.exp_string("alice@main> ").unwrap();
    alice.send_line("/quit").unwrap();
    alice.exp_eof().unwrap();
    cluster.output("verify", file.to_str().unwrap(), &[]);
    relayer.stop();
}

#[test]
fn a_terminal_that_edits_nothing_is_read_line_by_line() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = terminal(&cluster, "alice", "dumb");
    alice.send_line("hello there").unwrap();
    alice.send_control('d').unwrap();
    alice.exp_eof().unwrap();
    assert_eq!(cluster.notes("alice", None), ["hello there"]);
    relayer.stop();
}

#[tokio::test]
async fn what_another_node_writes_cannot_act_on_the_terminal() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = tokio::task::spawn_blocking({
        let (home, url) = (cluster.home("alice"), cluster.url());
        let mut node = cluster.program("alice");
        move || {
            node.args(["run", "alice", "--relay", &url, "--home"]).arg(home);
            node.env("TERM", "xterm");
            let mut session = spawn_command(node, Some(WAIT_MS)).unwrap();
            session.exp_string("in sync").unwrap();
            session
        }
    })
    .await
    .unwrap();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{202e}live";
    let mut client = Client::introduced(&cluster.url(), 7).await;
    client.say(&ops("main", &[&op(7, "main", hostile).to_string()])).await;
    assert_eq!(client.message("ack").await["stored"], 1);
    let shown = tokio::task::spawn_blocking(move || {
        let before = alice.exp_string("\\u{202e}live").unwrap();
        alice.send_control('d').unwrap();
        alice.exp_eof().unwrap();
        before
    })
    .await
    .unwrap();
    assert!(shown.contains("\\u{1b}]0;owned\\u{7}\\u{1b}[2J\\u{9b}31m\\u{d}"), "{shown:?}");
    for raw in ["\u{1b}]0;owned", "\u{9b}", "\u{202e}"] {
        assert!(!shown.contains(raw), "{raw:?} came through: {shown:?}");
    }
    relayer.stop();
}

#[test]
fn control_c_clears_the_line_and_twice_leaves() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut alice = console(&cluster, "alice");
    alice.send("never sent").unwrap();
    alice.flush().unwrap();
    alice.exp_string("never sent").unwrap();
    alice.send_control('c').unwrap();
    alice.exp_string("alice@main> ").unwrap();
    alice.send_control('c').unwrap();
    alice.exp_eof().unwrap();
    assert_eq!(cluster.notes("alice", None), Vec::<String>::new());
    relayer.stop();
}

#[test]
fn a_terminal_is_given_back_as_it_was() {
    let cluster = Cluster::new();
    let relayer = cluster.relayer();
    cluster.init("alice");
    let mut shell = rexpect::session::spawn_bash(Some(WAIT_MS)).unwrap();
    let (node, home) = (program("crdt-node"), cluster.home("alice"));
    let (node, home, url) = (node.display(), home.display(), cluster.url());
    shell.send_line("stty -a > /dev/null; stty echo icanon isig").unwrap();
    shell.wait_for_prompt().unwrap();
    let state = cluster.machine();
    let state = state.display();
    let run =
        format!("XDG_STATE_HOME={state} {node} run alice --home {home} --relay {url}; stty -a");
    shell.send_line(&run).unwrap();
    shell.exp_string("in sync").unwrap();
    shell.exp_string("alice@main> ").unwrap();
    let killed = Command::new("pkill")
        .args(["-TERM", "-f", &format!("run alice --home {home} --relay {url}$")])
        .status()
        .unwrap();
    assert!(killed.success());
    let (_, modes) = shell.exp_regex("(?s)isig icanon .* echo ").unwrap();
    assert!(!modes.contains("-icanon"), "{modes}");
    shell.send_line("exit").unwrap();
    shell.exp_eof().unwrap();
    relayer.stop();
}
