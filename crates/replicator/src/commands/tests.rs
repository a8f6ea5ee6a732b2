//! The command line as people read it: help, the manual pages, and docs/cli.md agree.

use std::path::Path;

use clap::{Command as Definition, CommandFactory, ValueEnum};

use super::*;

/// As wide as help is where there is no terminal.
const WIDTH: usize = 100;

/// The names of all commands, the program itself first.
fn names() -> Vec<String> {
    let cli = Cli::command();
    let commands = cli.get_subcommands().map(|command| command.get_name().to_owned());
    std::iter::once(String::new()).chain(commands).collect()
}

/// What `--help` prints.
fn help(command: &str) -> String {
    let words = ["image-replicator", command, "--help"];
    let words = words.into_iter().filter(|word| !word.is_empty());
    let shown = Cli::command().term_width(WIDTH).try_get_matches_from(words).unwrap_err();
    assert_eq!(shown.kind(), clap::error::ErrorKind::DisplayHelp);
    shown.to_string()
}

/// A regenerated page has each command's help in the block below its head.
#[test]
fn the_reference_is_the_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (mut page, mut rest) = (String::new(), written.as_str());
    for name in names() {
        let head = format!("\n## `{}`\n", format!("image-replicator {name}").trim_end());
        let at = rest.find(&head).unwrap_or_else(|| panic!("docs/cli.md has no{head}"));
        let block = at + rest[at..].find("```text\n").unwrap() + "```text\n".len();
        let end = block + rest[block..].find("```\n").unwrap();
        page += &rest[..block];
        page += &help(&name);
        rest = &rest[end..];
    }
    page += rest;
    assert_eq!(page.matches("\n## `image-replicator").count(), names().len());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(path, page).unwrap();
    } else {
        assert!(page == written, "docs/cli.md is behind: run this test with INSTA_UPDATE=always");
    }
}

#[test]
fn each_command_has_a_manual_page_with_all_its_options() {
    let folder = tempfile::TempDir::new().unwrap();
    let man = Cli::try_parse_from(
        ["image-replicator", "man", "--dir"].into_iter().chain(folder.path().to_str()),
    );
    let Command::Man(man) = man.unwrap().command else { panic!("it is another command") };
    man.run().unwrap();
    let page = |name: &str| {
        let name = format!("image-replicator-{name}.1");
        let text = std::fs::read_to_string(folder.path().join(&name)).unwrap();
        text.replace("\\-", "-")
    };
    for command in Cli::command().get_subcommands() {
        let text = page(command.get_name());
        for long in command.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(text.contains(&format!("--{long}")), "{}: --{long}", command.get_name());
        }
    }
}

/// Each command says what it is for and what each of its arguments means; examples are of
/// commands that exist.
#[test]
fn help_is_whole() {
    fn check(command: &Definition) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {argument}", command.get_name());
        }
    }
    Cli::command().debug_assert();
    Cli::command().get_subcommands().for_each(check);
    for name in names() {
        for line in help(&name).lines().filter(|line| line.starts_with("  image-replicator ")) {
            let words = shell_words(line);
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}

/// The words of an example up to a pipe or a redirection.
fn shell_words(line: &str) -> Vec<&str> {
    line.split_whitespace().take_while(|word| !matches!(*word, "|" | ">")).collect()
}

#[test]
fn completions_know_the_commands() {
    for shell in clap_complete::Shell::value_variants() {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "image-replicator", &mut script);
        let script = String::from_utf8(script).unwrap();
        for name in names() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
    }
}
