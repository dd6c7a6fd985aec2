//! Runs one target; its body is in the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crdt_tests::fuzz::json::run(data));
