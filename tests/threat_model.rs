//! The threat model and the tests agree: each attack has a defence and a test that exists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::Path;

/// The header of the tables that this is about.
const HEADER: &str = "| attack | defence | test |";

/// Cases of hostile registries and of secrets that the tables have to cover.
const CASES: [u8; 9] = [21, 22, 23, 24, 38, 39, 40, 41, 42];

/// A row: the attack, and the names of its tests.
struct Row {
    attack: String,
    defence: String,
    tests: Vec<String>,
}

fn rows() -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut rows = Vec::new();
    for table in text.split(HEADER).skip(1) {
        // After the header comes the line of dashes, and the table ends with an empty line.
        for line in table.trim_start().lines().skip(1).take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 3, "{line}");
            let tests = cells[2].split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
            let (attack, defence) = (cells[0].to_owned(), cells[1].to_owned());
            rows.push(Row { attack, defence, tests });
        }
    }
    rows
}

/// The names of all functions that may be tests: those that nobody else can call.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let functions = text.lines().filter_map(|line| line.trim_start().split_once("fn "));
            let names = functions.filter_map(|(before, rest)| {
                let name = rest.split('(').next()?;
                matches!(before, "" | "async ").then(|| name.to_owned())
            });
            found.extend(names);
        }
    }
}

#[test]
fn each_attack_has_a_defence_and_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "crates"] {
        tests_in(&root.join(folder), &mut tests);
    }
    let rows = rows();
    assert!(rows.len() > 30, "the tables were not found");
    for Row { attack, defence, tests: named } in &rows {
        assert!(!attack.is_empty() && !defence.is_empty() && !named.is_empty(), "{attack}");
        for name in named {
            assert!(tests.contains(name), "{attack}: there is no test `{name}`");
        }
    }
}

#[test]
fn each_case_of_hostile_registries_and_secrets_is_in_a_row() {
    let rows = rows();
    for case in CASES {
        let prefix = format!("case_{case}_");
        let is_named = rows.iter().any(|row| row.tests.iter().any(|t| t.starts_with(&prefix)));
        assert!(is_named, "case {case}");
    }
}
