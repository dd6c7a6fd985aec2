//! The simulator: whole replicas, the ones the programs run, in virtual time on one thread, among
//! liars and faults, with everything decided by one seed. Source: `docs/TESTING.md`, "Simulator".

pub mod case;
pub mod check;
pub mod fleet;
pub mod options;
pub mod shrink;
pub mod tape;

mod carry;
mod chaos;
mod disk;
mod forge;
mod liar;
mod link;
mod mangle;
mod model;
mod party;
mod settle;
mod setup;
mod signatures;
mod trace;
mod truth;
mod wire;
pub mod world;
