//! What is built into the product: from where, and under which licences. `.deny.toml` lists those
//! that are allowed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata(more: &[&str]) -> Option<Value> {
    let asked = ["metadata", "--format-version", "1", "--all-features", "--locked", "--offline"];
    let output =
        Command::new(env!("CARGO")).args(asked).args(more).current_dir(root()).output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// This platform, as cargo calls it.
fn host() -> String {
    let output = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// All packages; where what only other platforms use was not fetched, those of this one.
fn packages() -> Vec<Value> {
    let here = || metadata(&["--filter-platform", &host()]);
    let found = metadata(&[]).or_else(here).unwrap();
    let packages = found["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 100, "{} packages", packages.len());
    packages
}

fn allowed() -> Vec<String> {
    let deny = fs::read_to_string(root().join(".deny.toml")).unwrap();
    let deny: toml::Table = deny.parse().unwrap();
    let allowed = deny["licenses"]["allow"].as_array().unwrap();
    allowed.iter().map(|licence| licence.as_str().unwrap().to_owned()).collect()
}

fn may_be_used(licence: &str, allowed: &[String]) -> bool {
    let expression = Expression::parse_mode(licence, ParseMode::LAX);
    expression.is_ok_and(|of| of.evaluate(|part| allowed.contains(&part.to_string())))
}

#[test]
fn they_come_from_the_registry_or_from_here() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for source in lock.lines().filter_map(|line| line.strip_prefix("source = ")) {
        assert_eq!(source, "\"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}

#[test]
fn each_has_a_licence_that_is_allowed() {
    let allowed = allowed();
    for package in packages().iter().filter(|package| !package["source"].is_null()) {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(may_be_used(licence, &allowed), "{}: {licence:?}", package["name"]);
    }
}

#[test]
fn an_expression_is_allowed_if_one_of_its_choices_is() {
    let allowed = ["MIT", "Apache-2.0"].map(str::to_owned);
    for (licence, good) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 AND MIT", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("(MIT OR GPL-3.0) AND Apache-2.0", true),
        ("nobody's", false),
        ("", false),
    ] {
        assert_eq!(may_be_used(licence, &allowed), good, "{licence}");
    }
}

#[test]
fn each_is_asked_for_by_a_version() {
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        for asked in package["dependencies"].as_array().unwrap() {
            let any = asked["req"] == "*" && asked["path"].is_null();
            assert!(!any, "{} takes any {}", package["name"], asked["name"]);
        }
    }
}
