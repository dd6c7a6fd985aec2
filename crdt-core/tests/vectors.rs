//! `docs/vectors`: cases for every implementation of the protocol.
//!
//! What is expected of a case is written by hand beside it, from the rules; hashes, signatures and
//! digests are computed here a second time, without the library. The library is then held against
//! both, so a wrong library cannot define the vectors.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code")]
#![expect(clippy::needless_pass_by_value, reason = "a builder that takes text and numbers alike")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

mod vectors {
    pub(crate) mod canonical;
    pub(crate) mod curve;
    pub(crate) mod graphs;
    pub(crate) mod ids;
    pub(crate) mod made;
    pub(crate) mod ops;
    pub(crate) mod signatures;
}

use vectors::{canonical, graphs, ids, ops, signatures};

/// One file of vectors.
trait Vectors: Serialize + DeserializeOwned {
    const FILE: &str;

    /// Its cases, with what is expected of each.
    fn make() -> Self;

    /// Holds every case against the library.
    fn check(&self);
}

fn path<V: Vectors>() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors").join(V::FILE)
}

/// Pretty JSON in ASCII, so that no character of a case is invisible or changed by an editor.
fn render<V: Vectors>() -> String {
    let made = V::make();
    made.check();
    let mut text = String::new();
    for char in serde_json::to_string_pretty(&made).unwrap().chars() {
        if matches!(char, '\n' | ' '..='~') {
            text.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}").unwrap();
            }
        }
    }
    text.push('\n');
    text
}

fn save<V: Vectors>() {
    fs::write(path::<V>(), render::<V>()).unwrap();
}

fn check_file<V: Vectors>() {
    let text = fs::read_to_string(path::<V>()).unwrap();
    serde_json::from_str::<V>(&text).unwrap().check();
}

fn compare<V: Vectors>() {
    let file = fs::read_to_string(path::<V>()).unwrap();
    assert!(file == render::<V>(), "{} is not what is made here; see its README", V::FILE);
}

#[test]
#[ignore = "writes docs/vectors"]
fn write_the_files() {
    save::<canonical::File>();
    save::<ids::File>();
    save::<ops::File>();
    save::<signatures::File>();
    save::<graphs::File>();
}

#[test]
fn the_files_are_what_is_made_here() {
    compare::<canonical::File>();
    compare::<ids::File>();
    compare::<ops::File>();
    compare::<signatures::File>();
    compare::<graphs::File>();
}

#[test]
fn cases_of_canonical_json_hold() {
    check_file::<canonical::File>();
}

#[test]
fn cases_of_ids_hold() {
    check_file::<ids::File>();
}

#[test]
fn cases_of_ops_hold() {
    check_file::<ops::File>();
}

#[test]
fn cases_of_signatures_hold() {
    check_file::<signatures::File>();
}

#[test]
fn cases_of_graphs_hold() {
    check_file::<graphs::File>();
}
