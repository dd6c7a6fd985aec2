//! Several relayers on one NATS stream are one service; without it each goes on alone, and what
//! it acknowledged is never lost.

use std::net::TcpListener;
use std::path::PathBuf;

use crdt_tests::client::{op, room_id};
use crdt_tests::cluster::Cluster;
use crdt_tests::nats::{NatsClient, NatsServer, installed};
use crdt_tests::process::Process;

use crate::convergence::{assert_converged, lines};

mod liar;

const STREAM: &str = "crdt-log";

/// A cluster beside a NATS server: relayers by folder, nodes by name.
struct Service {
    cluster: Cluster,
    program: PathBuf,
}

impl Service {
    /// `None` if there is no NATS server on this machine.
    fn new() -> Option<Self> {
        installed().map(|program| Self { cluster: Cluster::new(), program })
    }

    fn folder(&self) -> PathBuf {
        self.cluster.path().join("nats")
    }

    /// Starts NATS; port 0 takes a free one.
    fn nats(&self, port: u16) -> NatsServer {
        NatsServer::start(&self.program, &self.folder(), port)
    }

    /// Starts a relayer on the bus.
    fn relayer(&self, folder: &str, url: &str) -> (Process, String) {
        self.cluster.relayer_with(folder, &["--backplane", "nats", "--nats-url", url])
    }

    /// Starts a new node at a relayer: it takes part in the room.
    fn node(&self, name: &str, relay: &str) -> Process {
        self.cluster.init(name);
        let mut node = self.again(name, relay);
        node.event("synced");
        node
    }

    /// Starts a relayer on each side, with a new node at each: alice on the left, bob on the right.
    fn pair(&self, nats: &NatsServer) -> ([Process; 2], [Process; 2]) {
        let (left, left_url) = self.relayer("left", &nats.url());
        let (right, right_url) = self.relayer("right", &nats.url());
        ([left, right], [self.node("alice", &left_url), self.node("bob", &right_url)])
    }

    /// Stops all; alice and bob hold the same, so many entries.
    fn end(&self, relayers: [Process; 2], nodes: [Process; 2], entries: usize) {
        nodes.into_iter().chain(relayers).for_each(Process::stop);
        assert_converged(&self.cluster, &["alice", "bob"], entries);
    }

    /// Starts a node at a relayer.
    fn again(&self, name: &str, relay: &str) -> Process {
        self.cluster.node_at(name, &[relay], &["--headless"])
    }
}

/// Waits until a relayer says this of the bus.
fn bus_is(relayer: &mut Process, state: &str) {
    relayer.event_with("link", |event| {
        event["relay"].as_str().unwrap().starts_with("nats://") && event["state"] == state
    });
}

/// Waits until a relayer has acknowledged this line of a node.
fn relayed(node: &mut Process, line: usize) {
    let durable = node.event_with("durable", |event| event["line"] == line);
    node.event_with("relayed", |event| event["op"] == durable["op"]);
}

fn write(node: &mut Process, name: &str, from: usize, to: usize) {
    for line in lines(name, from, to).lines() {
        node.line(line);
    }
}

/// A port nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn room_subject() -> String {
    format!("{STREAM}.room.{}", room_id("main"))
}

#[test]
fn nodes_at_two_relayers_on_one_stream_hold_the_same() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let (left, left_url) = service.relayer("left", &nats.url());
    let (right, right_url) = service.relayer("right", &nats.url());
    let mut alice = service.node("alice", &left_url);
    let mut bob = service.node("bob", &right_url);
    write(&mut alice, "alice", 0, 200);
    write(&mut bob, "bob", 0, 200);
    alice.synced(400);
    bob.synced(400);
    // Who comes later finds everything at either.
    let mut carol = service.node("carol", &right_url);
    carol.line("carol");
    alice.synced(401);
    for node in [alice, bob, carol] {
        node.stop();
    }
    left.stop();
    right.stop();
    assert_converged(&service.cluster, &["alice", "bob"], 401);
}

#[test]
fn a_stream_that_loses_everything_takes_nothing_with_it() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let (url, port) = (nats.url(), nats.port());
    let (mut left, left_url) = service.relayer("left", &url);
    let (mut right, right_url) = service.relayer("right", &url);
    bus_is(&mut left, "connected");
    bus_is(&mut right, "connected");
    let mut alice = service.node("alice", &left_url);
    let mut bob = service.node("bob", &right_url);
    write(&mut alice, "alice", 0, 300);
    write(&mut bob, "bob", 0, 300);
    alice.event("relayed");
    bob.event("relayed");
    nats.kill();
    std::fs::remove_dir_all(service.folder()).unwrap();
    bus_is(&mut left, "down");
    bus_is(&mut right, "down");
    // Nobody waits for the bus: what is written is acknowledged.
    for (node, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        write(node, name, 300, 400);
        relayed(node, 400);
    }
    let nats = service.nats(port);
    alice.synced(800);
    bob.synced(800);
    // The new stream holds all of it: who has nothing gets it from there alone.
    alice.stop();
    bob.stop();
    left.stop();
    right.stop();
    let (third, third_url) = service.relayer("third", &nats.url());
    service.cluster.init("carol");
    let mut carol = service.again("carol", &third_url);
    carol.synced(800);
    carol.stop();
    third.stop();
    assert_converged(&service.cluster, &["alice", "bob", "carol"], 800);
}

#[test]
fn without_nats_a_relayer_serves_and_says_so_once() {
    let Some(service) = Service::new() else { return };
    let port = free_port();
    let url = format!("nats://user:secret@127.0.0.1:{port}");
    let (mut left, left_url) = service.relayer("left", &url);
    let (mut right, right_url) = service.relayer("right", &url);
    bus_is(&mut right, "down");
    let mut alice = service.node("alice", &left_url);
    let mut bob = service.node("bob", &right_url);
    write(&mut alice, "alice", 0, 50);
    relayed(&mut alice, 50);
    let nats = service.nats(port);
    bob.synced(50);
    let told = left.events_until(|event| event["event"] == "link" && event["state"] == "connected");
    let downs: Vec<_> = told.iter().filter(|event| event["state"] == "down").collect();
    assert_eq!(downs.len(), 1, "{downs:?}");
    assert!(!told.iter().any(|event| event.to_string().contains("secret")), "{told:?}");
    // And the same when it goes and comes again.
    nats.kill();
    bus_is(&mut left, "down");
    bob.line("bob");
    bob.event("relayed");
    let _nats = service.nats(port);
    alice.synced(51);
    service.end([left, right], [alice, bob], 51);
}

#[test]
fn a_restart_posts_nothing_twice_and_each_op_is_posted_once() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let mut watch = NatsClient::connect(&nats);
    // Everything that is posted, also what the stream would drop as known.
    watch.subscribe(&format!("{STREAM}.>"));
    let (left, left_url) = service.relayer("left", &nats.url());
    let (right, right_url) = service.relayer("right", &nats.url());
    let mut alice = service.node("alice", &left_url);
    let mut bob = service.node("bob", &right_url);
    write(&mut alice, "alice", 0, 100);
    bob.synced(100);
    write(&mut bob, "bob", 0, 100);
    alice.synced(200);
    alice.stop();
    bob.stop();
    // One is asked to stop, the other is not asked.
    left.stop();
    right.kill();
    let ops = service.cluster.room("alice")["ops"].as_u64().unwrap();
    let posted = |watch: &mut NatsClient| watch.heard().len() as u64;
    assert_eq!(posted(&mut watch), ops);

    let (left, left_url) = service.relayer("left", &nats.url());
    let (right, right_url) = service.relayer("right", &nats.url());
    let mut alice = service.again("alice", &left_url);
    let mut bob = service.again("bob", &right_url);
    alice.line("one more");
    bob.synced(201);
    bob.line("and one");
    alice.synced(202);
    // Ops of a room are posted in their order: whatever was posted again was posted before these.
    assert_eq!(posted(&mut watch), 2);
    drop(watch);
    let stream = NatsClient::connect(&nats).stream(STREAM);
    assert_eq!(stream["state"]["messages"], ops + 2);
    service.end([left, right], [alice, bob], 202);
}

#[test]
fn a_stream_that_lost_its_end_is_filled_again() {
    let Some(service) = Service::new() else { return };
    let nats = service.nats(0);
    let (url, port) = (nats.url(), nats.port());
    let (left, left_url) = service.relayer("left", &url);
    let mut alice = service.node("alice", &left_url);
    write(&mut alice, "alice", 0, 20);
    relayed(&mut alice, 20);
    let wait_for = |nats: &NatsServer, ops: u64| {
        let mut client = NatsClient::connect(nats);
        while client.stream(STREAM)["state"]["messages"].as_u64().unwrap_or(0) < ops {}
    };
    let ops = |name| service.cluster.room(name)["ops"].as_u64().unwrap();
    wait_for(&nats, ops("alice"));
    nats.kill();
    // What an interrupted disk does to a file without a sync: the stream is there, its end is not.
    let early = service.cluster.path().join("early");
    copy_folder(&service.folder(), &early);
    let nats = service.nats(port);
    write(&mut alice, "alice", 20, 40);
    relayed(&mut alice, 40);
    wait_for(&nats, ops("alice"));
    left.stop();
    nats.kill();
    std::fs::remove_dir_all(service.folder()).unwrap();
    std::fs::rename(early, service.folder()).unwrap();
    let nats = service.nats(port);
    // Another writes over the places that were lost.
    let (right, right_url) = service.relayer("right", &nats.url());
    service.cluster.init("bob");
    let mut bob = service.again("bob", &right_url);
    bob.synced(20);
    write(&mut bob, "bob", 0, 40);
    relayed(&mut bob, 40);
    wait_for(&nats, ops("bob"));
    alice.stop();

    let (left, left_url) = service.relayer("left", &nats.url());
    let mut alice = service.again("alice", &left_url);
    bob.synced(80);
    alice.synced(80);
    service.end([left, right], [alice, bob], 80);
}

fn copy_folder(from: &PathBuf, to: &PathBuf) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            std::fs::copy(path, copy).unwrap();
        }
    }
}
