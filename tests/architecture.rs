//! The forbidden edges of the workspace, held by reading the manifests and the sources.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate of ours may depend on among ours, in what it ships.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("protocol", &[]),
    ("workload", &["protocol"]),
    ("registry", &["protocol"]),
    ("copy", &["protocol", "registry"]),
    ("image-replicator", &["protocol", "workload", "registry", "copy"]),
    ("image-replicator-policy", &["protocol", "workload"]),
    ("policy-host", &[]),
    ("testkit", &["protocol"]),
];

/// What `protocol` and `workload` must never need: they are values, and build for wasm.
const NOT_FOR_VALUES: [&str; 5] = ["tokio", "hyper", "reqwest", "sqlx", "futures"];

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn shipped_dependencies(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn crates_depend_downwards_only() {
    let ours: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ours, "a crate that this test does not know");
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let (_, allowed) = ALLOWED.iter().find(|(crate_, _)| *crate_ == name).unwrap();
        for dependency in shipped_dependencies(package) {
            let legal =
                !ours.contains(dependency.as_str()) || allowed.contains(&dependency.as_str());
            assert!(legal, "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn values_know_no_io() {
    let packages = packages();
    for name in ["protocol", "workload"] {
        let values = packages.iter().find(|package| package["name"] == name).unwrap();
        let dependencies = shipped_dependencies(values);
        for banned in NOT_FOR_VALUES {
            assert!(!dependencies.contains(banned), "{name} must not depend on {banned}");
        }
    }
}

#[test]
fn the_front_never_copies_and_the_ledger_knows_neither() {
    for (folder, banned) in [
        ("crates/replicator/src/front", ["copy::", "registry::", "reqwest"].as_slice()),
        (
            "crates/replicator/src/ledger",
            &["copy::", "registry::", "http::", "hyper", "crate::front"],
        ),
        ("crates/copy/src", &["axum", "hyper", "sqlx", "ledger::"]),
        ("crates/registry/src", &["sqlx", "ledger::", "Trigger"]),
    ] {
        let files = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        assert!(!files.is_empty(), "{folder} has no sources");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            // Comments may name what the code must not.
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for word in banned {
                    assert!(!names(line, word), "{}: {word} in: {line}", file.display());
                }
            }
        }
    }
}

/// Whether `word` stands in `line` as a name of its own, not as a part of another crate's path.
fn names(line: &str, word: &str) -> bool {
    let is_own =
        |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
    line.match_indices(word).any(|(at, _)| is_own(&line[..at]))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            files.push(path);
        }
    }
    files
}
