//! What the documents say of commands and files: that the flags exist, and that the links lead somewhere.
//!
//! Their Rust is compiled and run as documentation tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod support;

use support::{example, text};

fn documents() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = ["dualad-data", "dualad-backbones", "dualad-gpu", "dualad-kernels"].map(|name| root.join(name));
    let mut found = BTreeMap::new();
    for folder in [root.clone(), root.join("docs")].into_iter().chain(crates) {
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

#[test]
fn the_flags_of_every_command_exist() {
    let mut help = BTreeMap::new();
    let mut commands = 0;
    for (path, document) in documents() {
        // A command goes on in the next line after a backslash.
        let joined = document.replace("\\\n", " ");
        for line in joined.lines() {
            let Some((_, command)) = line.split_once("--example ") else { continue };
            let command = command.split([';', '#', '`', '|']).next().unwrap();
            let Some((name, arguments)) = command.split_once(" -- ") else { continue };
            let Some(name) = name.split_whitespace().next() else { continue };
            let help = help
                .entry(name.to_owned())
                .or_insert_with(|| text(&example(name).arg("--help").output().unwrap().stdout));
            // It is another crate's, and takes no flags.
            if name == "contact_sheet" {
                continue;
            }
            commands += 1;
            for flag in arguments.split_whitespace().filter(|argument| argument.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                let known = flag == "--help" || help.split([' ', ',', '\n', '[', '=']).any(|word| word == flag);
                assert!(known, "{}: {name} has no {flag}: {line}", path.display());
            }
        }
    }
    assert!(commands >= 12, "{commands} commands");
}

#[test]
fn every_link_leads_somewhere() {
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
