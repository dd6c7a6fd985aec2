//! The Autobahn test suite for websockets, against the relayer's server and websocket.
//! See `docs/TESTING.md`, "Websockets".

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crdt_tests::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Messages above 1 MiB, which are refused, and compression, which is not offered.
const LEFT_OUT: [&str; 8] = ["9.1.4", "9.1.5", "9.1.6", "9.2.4", "9.2.5", "9.2.6", "12.*", "13.*"];

/// Cases that are as large in fragments.
const LARGE_IN_FRAGMENTS: [&str; 2] = ["9.3.*", "9.4.*"];

#[test]
#[ignore = "needs wstest, which the variable WSTEST names: see docs/TESTING.md"]
fn the_autobahn_suite_finds_nothing_wrong() {
    let wstest = std::env::var("WSTEST").expect("WSTEST names the program");
    let folder = TempDir::with_prefix("crdt-autobahn-").unwrap();
    let mut echo = Process::spawn(Command::new(env!("CARGO_BIN_EXE_echo")));
    let url = echo.event("ready")["url"].clone();
    let left_out: Vec<&str> = LEFT_OUT.into_iter().chain(LARGE_IN_FRAGMENTS).collect();
    let spec = json!({
        "outdir": folder.path(), "servers": [{"agent": "relayer", "url": url}],
        "cases": ["*"], "exclude-cases": left_out, "exclude-agent-cases": {},
    });
    let spec_file = folder.path().join("spec.json");
    fs::write(&spec_file, spec.to_string()).unwrap();
    let mut suite = Command::new(wstest);
    suite.args(["-m", "fuzzingclient", "-s"]).arg(&spec_file).current_dir(folder.path());
    assert!(suite.status().unwrap().success());
    let index = fs::read_to_string(folder.path().join("index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    let cases = index["relayer"].as_object().unwrap();
    let mut ends: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (case, verdict) in cases {
        let end = format!("{} {}", verdict["behavior"], verdict["behaviorClose"]);
        ends.entry(end.replace('"', "")).or_default().push(case);
    }
    assert!(cases.len() > 200, "{} cases", cases.len());
    let good = ["OK OK", "NON-STRICT OK", "INFORMATIONAL OK", "INFORMATIONAL INFORMATIONAL"];
    let bad: Vec<_> = ends.iter().filter(|(end, _)| !good.contains(&end.as_str())).collect();
    assert!(bad.is_empty(), "{bad:?} of {ends:?}");
}
