//! Lying relayers and clients: honest nodes go on, are told nothing false, and agree as soon as one
//! honest way exists.

mod copies;
mod disorder;
mod floods;
mod forgery;
mod withholding;

use crdt_tests::cluster::Cluster;
use crdt_tests::liar::{Liar, Lie};
use crdt_tests::process::Process;
use serde_json::Value;

use crate::convergence::assert_converged;

/// An honest relayer, a liar in front of it, and a way past the liar that is closed at first.
struct Stage {
    cluster: Cluster,
    relayer: Process,
    liar: Liar,
    way: Liar,
}

impl Stage {
    /// Nobody has written yet.
    fn new(lie: Lie) -> Self {
        let cluster = Cluster::new();
        let relayer = cluster.relayer();
        let liar = Liar::start(&cluster.url(), lie);
        let way = Liar::start(&cluster.url(), Lie::Absent);
        Self { cluster, relayer, liar, way }
    }

    /// Makes a node and starts it at the honest relayer.
    fn honest(&self, name: &str) -> (Process, String) {
        let author = self.cluster.init(name);
        (self.cluster.node(name, &["--headless"]), author)
    }

    /// Makes a node and starts it at the liar and at the way that is closed.
    fn fooled(&self, name: &str) -> Process {
        self.cluster.init(name);
        let relays = [self.liar.url(name), self.way.url(name)];
        self.cluster.node_at(name, &relays.each_ref().map(String::as_str), &["--headless"])
    }

    /// From now on an honest way exists.
    fn open_the_way(&self) {
        self.way.tell(Lie::None);
    }

    /// The first node writes a last line, and with it all of these are in sync at one entry more
    /// than given. Ends everything, and compares.
    fn all_agree(self, mut nodes: Vec<(&str, Process)>, entries: usize) {
        assert!(self.liar.lies() > 0, "the liar was honest");
        nodes[0].1.line("the end");
        let mut ended = Vec::new();
        for (name, mut node) in nodes {
            node.synced(entries + 1);
            node.stop();
            ended.push(name);
        }
        self.relayer.stop();
        assert_converged(&self.cluster, &ended, entries + 1);
    }
}

/// Texts of the notes among events.
fn notes(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter(|event| event["event"] == "entry")
        .map(|event| event["data"]["text"].as_str().unwrap_or_default())
        .collect()
}

/// How many of the events are of a kind.
fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["event"] == kind).count()
}

fn is_note(event: &Value, text: &str) -> bool {
    event["event"] == "entry" && event["data"]["text"] == text
}
