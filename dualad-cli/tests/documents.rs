//! The commands and links in the documents: every command and flag exists, and every link leads to a file.
//!
//! The Rust code in the documents is compiled and run as documentation tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

mod support {
    pub(crate) mod example;
}

use support::example::example;

/// The folders with documents: those of the workspace, of `docs`, and of each crate.
fn documents() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.clone(), root.join("docs")];
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").is_file() {
            folders.push(path);
        }
    }
    let mut found = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                found.insert(path.clone(), std::fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(found.len() > 15);
    found
}

/// The command lines of a document: the lines of its code blocks and its inline code.
fn commands(document: &str) -> Vec<String> {
    // A command continues in the next line after a backslash.
    let joined = document.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut in_block = false;
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The words of a command up to the next command, a comment or a redirection.
fn words(command: &str) -> Vec<&str> {
    let command = command.split([';', '#', '|', '>', '&']).next().unwrap();
    command.split_whitespace().collect()
}

fn flags<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap()).collect()
}

#[test]
fn the_subcommands_and_flags_of_the_program_exist() {
    let program = dualad_cli::command();
    let mut count = 0;
    for (path, document) in documents() {
        for command in commands(&document) {
            let words = words(&command);
            // `dualad train`, `target/release/dualad train`, `cargo run --release --bin dualad -- train`.
            let Some(start) = words.iter().position(|word| *word == "dualad" || word.ends_with("/dualad")) else {
                continue;
            };
            let arguments: Vec<&str> = words[start + 1..].iter().copied().skip_while(|word| *word == "--").collect();
            let Some(name) = arguments.first().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())) else {
                continue;
            };
            // `cargo add dualad`, `use dualad`, a path: no command of the program.
            let is_program = start == 0 || words[start - 1] == "--bin" || words[start].contains("release/");
            if !is_program {
                continue;
            }
            let found = program.find_subcommand(name);
            let subcommand =
                found.unwrap_or_else(|| panic!("{}: there is no `dualad {name}`: {command}", path.display()));
            count += 1;
            let known: BTreeSet<&str> = subcommand.get_arguments().filter_map(|argument| argument.get_long()).collect();
            for flag in flags(&arguments) {
                let exists = flag == "--help" || known.contains(flag.trim_start_matches('-'));
                assert!(exists, "{}: `dualad {name}` has no {flag}: {command}", path.display());
            }
        }
    }
    println!("{count} commands of the program");
    assert!(count >= 12, "{count} commands");
}

#[test]
fn the_flags_of_the_examples_exist() {
    let mut help = BTreeMap::new();
    let mut count = 0;
    for (path, document) in documents() {
        for command in commands(&document) {
            let Some((_, command)) = command.split_once("--example ") else { continue };
            let words = words(command);
            let Some(name) = words.first() else { continue };
            count += 1;
            let flags = words.iter().position(|word| *word == "--").map(|start| flags(&words[start + 1..]));
            // An example without flags need not be built, nor explain itself.
            let Some(flags) = flags.filter(|flags| !flags.is_empty()) else { continue };
            let help = help.entry((*name).to_owned()).or_insert_with(|| {
                let output = example(name).arg("--help").output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            });
            for flag in flags {
                let known = flag == "--help" || help.split([' ', ',', '\n', '[', '=']).any(|word| word == flag);
                assert!(known, "{}: {name} has no {flag}: {command}", path.display());
            }
        }
    }
    assert!(count >= 4, "{count} commands");
}

#[test]
fn every_link_leads_to_a_file() {
    let mut links = 0;
    for (path, document) in documents() {
        for target in document.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            assert!(path.parent().unwrap().join(target).exists(), "{}: {target}", path.display());
        }
    }
    assert!(links > 40, "{links} links");
}

#[test]
fn the_tests_that_reliability_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    let mut folders: Vec<PathBuf> =
        ["dualad", "dualad-backbones", "dualad-cli", "dualad-data", "dualad-serve", "dualad-store"]
            .iter()
            .flat_map(|name| ["src", "tests"].map(|part| root.join(name).join(part)))
            .collect();
    while let Some(folder) = folders.pop() {
        // Not every crate has tests of its own.
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let document = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let names: Vec<&str> = document.split('`').filter(|name| name.matches('_').count() >= 3).collect();
    for name in &names {
        assert!(sources.contains(&format!("fn {name}(")), "docs/reliability.md: there is no test {name}");
    }
    assert!(names.len() >= 8, "{} names", names.len());
}
