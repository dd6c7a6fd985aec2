//! Four hosts in network namespaces, two on each side of a line that is cut.

use std::process::Command;
use std::time::{Duration, Instant};

use crdt_tests::cluster::Cluster;
use crdt_tests::process::{self, Process};

use crate::convergence::assert_converged;

/// The line is cut for so long.
const CUT: Duration = Duration::from_mins(5);

/// Lines that each node writes meanwhile.
const ROUNDS: u64 = 500;

/// Two bridges with two hosts each, and a line between the bridges. Gone when dropped.
struct Wires {
    name: String,
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

impl Wires {
    fn new() -> Self {
        let wires = Self { name: format!("c{}", std::process::id() % 100_000) };
        let name = &wires.name;
        ip(&format!("link add {name}l type veth peer name {name}r"));
        for (side, end) in [("a", "l"), ("b", "r")] {
            ip(&format!("link add {name}{side} type bridge"));
            ip(&format!("link set {name}{side} up"));
            ip(&format!("link set {name}{end} master {name}{side} up"));
        }
        for host in 1..=4 {
            let side = if host <= 2 { "a" } else { "b" };
            ip(&format!("netns add {name}-{host}"));
            ip(&format!("link add {name}h{host} type veth peer name eth0 netns {name}-{host}"));
            ip(&format!("link set {name}h{host} master {name}{side} up"));
            ip(&format!("-n {name}-{host} addr add 10.77.0.{host}/24 dev eth0"));
            ip(&format!("-n {name}-{host} link set eth0 up"));
            ip(&format!("-n {name}-{host} link set lo up"));
        }
        wires
    }

    fn cut(&self) {
        ip(&format!("link set {}l down", self.name));
    }

    fn mend(&self) {
        ip(&format!("link set {}l up", self.name));
    }

    /// Bytes that have passed the line, both ways.
    fn bytes(&self) -> u64 {
        let count = |way: &str| -> u64 {
            let path = format!("/sys/class/net/{}l/statistics/{way}_bytes", self.name);
            std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
        };
        count("rx") + count("tx")
    }

    /// Starts a program on a host.
    fn start(&self, host: u8, program: &str, cluster: &Cluster, arguments: &[&str]) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.name)]);
        command.arg(process::program(program)).args(arguments);
        command.env("XDG_STATE_HOME", cluster.machine());
        Process::spawn(command)
    }

    fn relayer(&self, host: u8, cluster: &Cluster, peer: u8) -> Process {
        let (listen, peer) =
            (format!("10.77.0.{host}:80"), format!("ws://10.77.0.{peer}:80/websocket"));
        let data = cluster.path().join(format!("relayer{host}"));
        let arguments =
            ["--listen", &listen, "--peer", &peer, "--json", "--data", data.to_str().unwrap()];
        let mut relayer = self.start(host, "crdt-relayer", cluster, &arguments);
        relayer.event("ready");
        relayer
    }

    fn node(&self, host: u8, cluster: &Cluster, name: &str, relayer: u8) -> Process {
        cluster.init(name);
        let (home, relay) = (cluster.home(name), format!("ws://10.77.0.{relayer}:80/websocket"));
        let home = home.to_str().unwrap();
        let arguments = ["run", name, "--home", home, "--json", "--headless", "--relay", &relay];
        self.start(host, "crdt-node", cluster, &arguments)
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        let name = &self.name;
        for host in 1..=4 {
            let _gone =
                Command::new("ip").args(["netns", "del", &format!("{name}-{host}")]).status();
        }
        for link in ["l", "a", "b"] {
            let _gone = Command::new("ip").args(["link", "del", &format!("{name}{link}")]).status();
        }
    }
}

/// Needs root and takes five minutes: `cargo test --release -p crdt-tests --test it namespaces --
/// --ignored --nocapture`.
#[test]
#[ignore = "takes five minutes and needs root"]
fn two_sides_that_wrote_for_five_minutes_hold_the_same_soon_after_the_line_is_mended() {
    let (cluster, wires) = (Cluster::new(), Wires::new());
    let relayers = [wires.relayer(1, &cluster, 3), wires.relayer(3, &cluster, 1)];
    let names = ["alice", "bob", "carol", "dave"];
    let mut nodes = [
        wires.node(1, &cluster, "alice", 1),
        wires.node(2, &cluster, "bob", 1),
        wires.node(3, &cluster, "carol", 3),
        wires.node(4, &cluster, "dave", 3),
    ];
    for node in &mut nodes {
        node.event("synced");
    }
    nodes[0].line("before");
    for node in &mut nodes {
        node.synced(1);
    }

    wires.cut();
    let cut = Instant::now();
    for number in 0..ROUNDS {
        for node in &mut nodes {
            node.line(&format!("line {number} of a side that is alone"));
            // Each line is an op of its own, and sets the pace.
            node.event("relayed");
        }
    }
    // Connections are given up and dialled in vain meanwhile: that is what the time is for.
    std::thread::park_timeout(CUT.saturating_sub(cut.elapsed()));
    for (node, name) in nodes.iter_mut().zip(names) {
        node.line(&format!("the last of {name}"));
        node.event("relayed");
    }
    let sizes = names.map(|name| cluster.output("export", name, &[]).len() as u64);
    let missing = sizes[0] + sizes[2];
    let before = wires.bytes();
    wires.mend();
    let mended = Instant::now();
    let entries = usize::try_from(1 + 4 * (ROUNDS + 1)).unwrap();
    for node in &mut nodes {
        node.synced(entries);
    }
    let (time, bytes) = (mended.elapsed(), wires.bytes() - before);
    eprintln!("{entries} entries, the same {time:?} after mending, {bytes} bytes for {missing}");
    assert!(
        bytes <= missing + missing / 2,
        "{bytes} bytes crossed for {missing} that were missing"
    );
    for node in nodes {
        node.stop();
    }
    assert_converged(&cluster, &names, entries);
    for relayer in relayers {
        relayer.stop();
    }
}
