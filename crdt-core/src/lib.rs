//! The signed-op log that every party of a room keeps: a list CRDT over a hash graph of operations.
//!
//! Pure: no IO, clock, randomness or threads. [`Replica::handle`] takes an input and the time and
//! returns effects; `crdt-relayer` and `crdt-node` carry them out.
//! The protocol is `docs/PROTOCOL.md`; the structure is `docs/ARCHITECTURE.md`.
#![no_std]
#![warn(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

pub mod limits;
pub mod planted;

pub mod id;
pub mod time;

pub mod head;
pub mod json;
pub mod key;
pub mod op;
pub mod rejection;
pub mod tally;

mod chain;
pub mod evidence;
pub mod graph;
mod heads;
pub mod log;
pub mod order;
mod parked;

mod allowance;
mod conduct;
pub mod effect;
mod exchange;
mod fetch;
pub mod intake;
mod judge;
pub mod message;
mod outgoing;
pub mod own;
pub mod rates;
pub mod reconcile;
pub mod replica;
mod room;
mod serving;
mod session;
pub mod standing;
pub mod status;

pub use replica::Replica;

#[cfg(test)]
#[path = "tests/fixtures.rs"]
mod fixtures;
#[cfg(test)]
#[path = "tests/model.rs"]
mod model;
