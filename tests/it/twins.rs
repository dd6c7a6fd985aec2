//! Two nodes that dial each other.

use std::net::TcpListener;

use crdt_tests::cluster::Cluster;
use crdt_tests::process::Process;
use serde_json::Value;

use crate::convergence::{assert_converged, lines};
use crate::routes::{link_once, links_once};

/// Two nodes, each of which listens on an address of its own and dials the other.
struct Twins {
    cluster: Cluster,
    addresses: [String; 2],
}

const NAMES: [&str; 2] = ["alice", "bob"];

impl Twins {
    fn new() -> Self {
        let cluster = Cluster::new();
        for name in NAMES {
            cluster.init(name);
        }
        // Both held at once, so that they differ.
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = held.map(|held| held.local_addr().unwrap().to_string());
        Self { cluster, addresses }
    }

    /// Where the other one listens.
    fn url(&self, node: usize) -> String {
        format!("ws://{}/websocket", self.addresses[1 - node])
    }

    fn start(&self, node: usize) -> Process {
        let (listen, peer) = (&self.addresses[node], self.url(node));
        self.cluster.node_by(NAMES[node], &["--listen", listen, "--peer", &peer, "--headless"])
    }

    /// Waits until each shows one link, the one it dials, and it is live.
    fn one_live_link_each(&self) {
        for (node, name) in NAMES.iter().enumerate() {
            let url = self.url(node);
            let links = links_once(&self.cluster, name, |links| {
                links.len() == 1 && links.get(&url).is_some_and(|link| link["state"] == "live")
            });
            assert_eq!(links[&url]["side"], "dialled");
        }
    }
}

/// Both write a hundred lines more; both hold all.
fn write(both: &mut [Process; 2], round: usize) {
    for (node, process) in both.iter_mut().enumerate() {
        process.try_write(&lines(NAMES[node], round * 100, round * 100 + 100));
    }
    for process in both {
        process.synced((round + 1) * 200);
    }
}

#[test]
fn two_that_dial_each_other_have_one_link_each_also_after_one_was_killed() {
    let twins = Twins::new();
    let mut both = [twins.start(0), twins.start(1)];
    twins.one_live_link_each();
    write(&mut both, 0);
    for (round, killed) in [(1, 1), (2, 0), (3, 1)] {
        let [alice, bob] = both;
        let (victim, other) = if killed == 0 { (alice, bob) } else { (bob, alice) };
        victim.kill();
        link_once(&twins.cluster, NAMES[1 - killed], &twins.url(1 - killed), |link| {
            link["state"] == "down" && link["reason"].is_string()
        });
        let again = twins.start(killed);
        both = if killed == 0 { [again, other] } else { [other, again] };
        twins.one_live_link_each();
        write(&mut both, round);
    }
    both.into_iter().for_each(Process::stop);
    assert_converged(&twins.cluster, &NAMES, 800);
}

#[test]
fn who_removes_one_of_two_routes_keeps_the_other_sides_connection() {
    let twins = Twins::new();
    let mut both = [twins.start(0), twins.start(1)];
    twins.one_live_link_each();
    for (node, process) in both.iter_mut().enumerate() {
        let url = twins.url(node);
        process.line(&format!("/peer remove {url}"));
        process.event("answer");
        let other = |links: &serde_json::Map<String, Value>| {
            links.len() == 1 && links.values().all(|link| link["state"] == "live")
        };
        if node == 0 {
            // The other one dials it still.
            let links = links_once(&twins.cluster, NAMES[node], other);
            let link = links.values().next().unwrap();
            assert_eq!((links.get(&url), &link["side"]), (None, &"accepted".into()));
        } else {
            links_once(&twins.cluster, NAMES[node], serde_json::Map::is_empty);
        }
    }
    both.into_iter().for_each(Process::stop);
}
