//! A peer with a key and a console: signs its own transactions, keeps and checks everybody's.
//!
//! The structure is `docs/ARCHITECTURE.md`.

pub mod console;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod evidence;
mod exported;
pub mod feed;
pub mod home;
pub mod identity;
pub mod import;
pub mod input;
pub mod keyless;
pub mod line;
pub mod links;
pub mod marks;
pub mod node;
pub mod progress;
pub mod prompt;
pub mod report;
pub mod routes;
pub mod run;
pub mod screen;
pub mod security;
pub mod shortfall;
pub mod show;
pub mod standing;
pub mod state;
pub mod sync;
pub mod verify;
mod watch;
