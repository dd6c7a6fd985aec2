//! A peer with a key and a console: signs its own transactions, keeps and checks everybody's.
//!
//! The structure is `docs/ARCHITECTURE.md`.

pub mod console;
pub mod demo;
pub mod error;
pub mod feed;
pub mod home;
pub mod identity;
pub mod input;
pub mod line;
pub mod node;
pub mod progress;
pub mod report;
pub mod run;
pub mod screen;
pub mod show;
pub mod verify;
mod watch;
