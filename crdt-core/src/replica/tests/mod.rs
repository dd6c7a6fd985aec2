//! The replica under test: among others like it, before liars, through faults.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "tests name the cases they are about"
)]

mod access;
mod ahead;
mod bounds;
mod client;
mod counts;
mod exchange;
mod exchange_lies;
mod exchange_put_off;
mod faults;
mod filling;
mod introduce;
mod net;
mod own;
mod peers;
mod put_off;
mod rates;
mod replication;
mod standing;
mod subscriptions;
mod tally;
