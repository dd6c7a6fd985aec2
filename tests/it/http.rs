//! The relayer's HTTP API: every route of a real process, and how each says no.

mod events;
mod page;
mod reading;
mod refusals;
mod sending;
mod shares;

use crdt_core::op::Op;
use crdt_tests::cluster::Cluster;
use crdt_tests::flood::Author;
use crdt_tests::http::Server;
use crdt_tests::process::Process;

const ROOM: &str = "main";

/// A relayer and where it listens.
fn relayer(cluster: &Cluster) -> (Process, Server) {
    let relayer = cluster.relayer();
    let server = Server::of(&cluster.url());
    (relayer, server)
}

/// So many ops of one author, as envelopes.
fn chain(author: u32, len: usize) -> Vec<String> {
    Author::new(author, ROOM).chain(len).iter().map(Op::to_string).collect()
}
