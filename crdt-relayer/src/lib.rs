//! A peer with a disk and no key: stores a room's signed operations, passes them on, and can forge
//! none. Nodes use the same store, driver and sessions.
//!
//! The protocol is `docs/PROTOCOL.md`; the structure is `docs/ARCHITECTURE.md`.

mod acceptor;
pub mod access;
pub mod address;
pub mod admission;
pub mod backplane;
pub mod backup;
pub mod browsers;
pub mod changes;
mod clock;
pub mod config;
pub mod dial;
pub mod disk;
mod distrust;
pub mod driver;
pub mod ended;
pub mod error;
pub mod escape;
mod events;
pub mod fetch;
#[cfg(test)]
mod fixtures;
pub mod home;
pub mod http;
mod keeper;
pub mod limits;
pub mod local;
pub mod metrics;
mod outbound;
mod pace;
mod page;
mod pause;
pub mod peered;
mod place;
mod read_ahead;
pub mod relayer;
pub mod roots;
mod row;
mod schema;
mod seats;
pub mod server;
mod session;
mod share;
pub mod signatures;
mod stall;
pub mod store;
pub mod tls;
mod turnover;
mod turns;
pub mod verdict;
pub mod verify;
