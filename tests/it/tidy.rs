//! The repository keeps its own promises.

use std::fs;
use std::path::{Path, PathBuf};

use crdt_tests::curves;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    files_of(&["crdt-core/src", "crdt-relayer/src", "crdt-node/src"])
}

fn files_of(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    files
}

#[test]
fn files_stay_short() {
    let tests = files_of(&["tests/it", "tests/harness", "crdt-core/benches"]);
    for (path, text) in sources().into_iter().chain(tests) {
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= 400, "{} has {lines} lines without its tests", path.display());
    }
}

#[test]
fn the_core_uses_only_files_above_it() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, table) = page.split_once("A file uses only files above it").unwrap();
    let (table, _) = table.split_once("`replica` is one state machine").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let order: Vec<&str> = cells
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|name| !name.is_empty())
        .collect();
    let place = |name: &str| order.iter().position(|listed| *listed == name);
    let mut held = 0;
    for (path, text) in files_of(&["crdt-core/src"]) {
        let inside = path.strip_prefix(root().join("crdt-core/src")).unwrap();
        let name = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if ["lib", "planted", "tests"].contains(&name) || inside.iter().any(|part| part == "tests")
        {
            continue;
        }
        let own = place(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let code = text.split("#[cfg(test)]\nmod").next().unwrap();
        for used in code.split("crate::").skip(1) {
            let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let above = used == "planted" || place(used).is_some_and(|above| above <= own);
            assert!(above, "{name} uses {used}, which is not above it");
            held += 1;
        }
    }
    assert!(held > 100, "{held} uses were looked at");
}

#[test]
fn the_core_names_no_std() {
    let lib = fs::read_to_string(root().join("crdt-core/src/lib.rs")).unwrap();
    assert!(lib.contains("#![no_std]"));
    for (path, text) in sources() {
        if path.starts_with(root().join("crdt-core")) && !path.ends_with("lib.rs") {
            for word in ["std::", "Instant", "SystemTime"] {
                let used =
                    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
                        line.split(|c: char| !c.is_alphanumeric() && c != ':')
                            .any(|w| w.starts_with(word))
                    });
                assert!(!used, "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn every_section_the_code_names_is_in_the_protocol() {
    let protocol = fs::read_to_string(root().join("docs/PROTOCOL.md")).unwrap();
    for (path, text) in sources() {
        let words = text.split_whitespace().filter(|word| !["//!", "///", "//"].contains(word));
        let one_line = words.collect::<Vec<_>>().join(" ");
        for reference in one_line.split("`docs/PROTOCOL.md`,").skip(1) {
            let until_end = reference.split('.').next().unwrap();
            for section in until_end.split('"').skip(1).step_by(2) {
                let heading = protocol.lines().any(|line| {
                    line.starts_with('#')
                        && line.trim_start_matches(['#', ' ']).trim_start_matches(|c: char| {
                            c.is_ascii_digit() || c == '.' || c == ' '
                        }) == section
                });
                assert!(heading, "{} names section {section:?}", path.display());
            }
        }
    }
}

#[test]
fn the_readme_gives_the_commands_that_ci_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in ["cargo run --release -p crdt-node -- demo", "cargo test --workspace"] {
        assert!(readme.contains(command) && ci.contains(command), "{command}");
    }
}

#[test]
fn the_curves_are_those_of_the_tables() {
    let document = fs::read_to_string(curves::document()).unwrap();
    for curve in curves::all(&document) {
        let kept = fs::read_to_string(curves::folder().join(curve.file)).unwrap_or_default();
        let drawn = kept == curve.svg();
        assert!(drawn, "{}: cargo run -p crdt-tests --bin curves draws it anew", curve.file);
    }
}
