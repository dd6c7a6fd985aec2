//! Real programs, real sockets, real disks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod access;
mod autobahn;
mod backplane;
mod command_line;
mod console;
mod convergence;
mod corpus;
mod dependencies;
mod disk;
mod doctor;
mod doors;
mod faults;
mod frames;
mod http;
mod liars;
mod logs;
mod metrics;
mod namespaces;
mod operator;
mod own_chain;
mod partition;
mod put_off;
mod relayers;
mod restart;
mod routes;
mod settings;
mod siege;
mod simulation;
mod sneakernet;
mod sync;
mod tidy;
mod tls;
mod twins;
mod wire;
