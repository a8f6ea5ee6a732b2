//! The documents, held against the sources: messages, tests and constants that they name are
//! there, word for word.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

/// Where sources are, below the repository's root.
const SOURCES: [&str; 5] = ["src", "crates", "tests", "e2e-tests", "examples"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The text of all sources with one of these extensions.
fn sources(extensions: &[&str]) -> String {
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|folder| root().join(folder)).collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    text
}

/// The rows of all tables, as their cells; heads and rules left out.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands in back quotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_failure_of_others_names_tests_that_exist() {
    let page = read("docs/failures.md");
    let sources = sources(&["rs", "bats"]);
    let mut named = 0;
    for row in rows(&page) {
        let Some(tests) = row.get(2) else { panic!("{row:?}") };
        if *tests == "shown by" {
            continue;
        }
        assert!(!quoted(tests).is_empty(), "nothing shows {row:?}");
        for test in quoted(tests) {
            let is_there = sources.contains(&format!("fn {test}("))
                || sources.contains(&format!("@test \"{test}\""));
            assert!(is_there, "there is no test `{test}`");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn each_default_is_that_of_its_constant() {
    let page = read("docs/defaults.md");
    let sources = sources(&["rs"]);
    let mut named = 0;
    for row in rows(&page) {
        let Some(constants) = row.get(3) else { panic!("{row:?}") };
        for constant in quoted(constants) {
            let (name, value) = constant.split_once(" = ").unwrap();
            let end = format!(" = {value};");
            let mut definitions = sources.lines().filter(|line| {
                line.split_once(&format!("const {name}: "))
                    .is_some_and(|(_, rest)| rest.ends_with(&end))
            });
            assert!(definitions.next().is_some(), "no constant is `{constant}`");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

/// A message that the program does not say helps nobody who looks for it.
#[test]
fn each_message_is_one_that_the_program_says() {
    let page = read("docs/troubleshooting.md");
    // A text that is broken over lines goes on after the white space.
    let sources = sources(&["rs"]);
    let broken: Vec<_> = sources.split("\\\n").collect();
    let sources = broken.iter().map(|line| line.trim_start()).collect::<String>();
    let mut found = 0;
    for row in rows(&page) {
        for message in quoted(row[0]) {
            for part in message.split('…').map(str::trim).filter(|part| part.len() > 3) {
                assert!(sources.contains(part), "nothing says `{part}`, as in `{message}`");
                found += 1;
            }
        }
    }
    assert!(found > 80, "{found}");
}
