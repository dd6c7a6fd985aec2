//! The simulator on a few seeds, and on every case that was ever saved.

use std::fs;
use std::path::Path;

use crdt_tests::sim::case::Case;
use crdt_tests::sim::fleet::{self, Plan};
use crdt_tests::sim::shrink::shrink;

/// Deliveries after which a run heals here: few, for a debug build.
const DELIVERIES: u64 = 250;

#[test]
fn twenty_seeds_break_nothing() {
    let plan = Plan { first: 1, seeds: 20, deliveries: DELIVERIES, stop_at_failure: false };
    let totals = fleet::run(plan);
    assert_eq!(totals.seeds, 20);
    assert!(totals.deliveries > 2_000, "{} deliveries", totals.deliveries);
    let failed = totals.failed.iter().map(|(seed, outcome)| (seed, &outcome.violation));
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "cargo sim --deliveries-max {DELIVERIES} --seed N: {failed:?}");
}

#[test]
fn a_seed_decides_everything_and_another_decides_otherwise() {
    let run = |seed| Case::of_seed(seed, DELIVERIES).run();
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!((first.trace, &first.drawn), (again.trace, &again.drawn));
    assert_ne!(first.trace, other.trace);
}

#[test]
fn a_saved_tape_does_what_its_seed_did() {
    let mut case = Case::of_seed(9, DELIVERIES);
    let of_seed = case.run();
    case.tape = Some(of_seed.drawn);
    let read = Case::parse(&case.to_text()).unwrap();
    assert_eq!(read, case);
    assert_eq!(read.run().trace, of_seed.trace);
}

#[test]
fn a_case_that_breaks_nothing_is_not_shrunk() {
    let case = Case::of_seed(3, 200);
    let (same, outcome) = shrink(&case, 10);
    assert_eq!((same, outcome.violation), (case, None));
}

#[test]
fn saved_cases_stay_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sim/regressions");
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "case") {
            let case = Case::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(case.run().violation, None, "{}", path.display());
            cases += 1;
        }
    }
    assert!(cases > 0);
}

/// A change of what replicas do, or of the simulator, changes these: on purpose, or it is a find.
#[test]
fn golden_traces_are_what_they_were() {
    let traces = [1, 2, 3].map(|seed| Case::of_seed(seed, 500).run().trace);
    let traces = traces.map(|trace| format!("{trace:016x}"));
    assert_eq!(traces, ["036348b2d3ad7a0c", "346ad8410a164d19", "ceb1039f32357c0f"]);
}
