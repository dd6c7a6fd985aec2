//! What a fuzzer, or the test that replays its corpus, feeds with bytes. Each target panics if the
//! product breaks a promise, whatever the bytes are.
//!
//! The bodies are here, not in the fuzzer's own crate, so that `cargo test` runs them too.
//! How to run the fuzzer: `docs/TESTING.md`.

pub mod disk;
pub mod forge;
pub mod frame;
pub mod json;
pub mod op;
pub mod pool;
pub mod replica;
pub mod store;
pub mod tape;
pub mod witness;

/// A target: its name, which is also that of its corpus, and what runs on one input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("frame", frame::run),
    ("json", json::run),
    ("op", op::run),
    ("replica", replica::run),
    ("store", store::run),
];
