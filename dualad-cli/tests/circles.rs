//! No source files of a crate import one another in a circle (tests apart).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the source files below a folder, without those that hold tests and their helpers.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["tests.rs", "testing.rs"].iter().any(|name| path.ends_with(name))
        {
            found.push(path);
        }
    }
}

/// Returns the module path of a file, such as `["fit", "bank"]`, and whether it only joins other files (`lib.rs`, `mod.rs`).
fn module(file: &Path, root: &Path) -> (Vec<String>, bool) {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let joins = parts.last().is_some_and(|last| last == "mod" || last == "lib");
    if joins {
        parts.pop();
    }
    (parts, joins)
}

/// Returns the code without the tests at its end, and without comments.
fn code(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect()
}

/// Returns the name of the module that begins in a line, such as `mod name {`.
fn begun_module(line: &str) -> Option<&str> {
    let (before, name) = line.trim().strip_suffix(" {")?.split_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}

/// Returns the paths that a file of this module names, from the root of the crate.
fn paths(lines: &[&str], own: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // The modules within the file, each with the line that ends it.
    let mut inner: Vec<(String, String)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if inner.last().is_some_and(|(_, end)| end == line) {
            inner.pop();
        }
        let is_begun = |start: &usize| !line[..*start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        // A group may continue on the lines that follow.
        let text = |start: usize| line[start..].to_owned() + "\n" + &lines[index + 1..].join("\n");
        for (start, word) in line.match_indices("crate::").filter(|(start, _)| is_begun(start)) {
            expand(&text(start + word.len()), &[], &mut found);
        }
        for (start, _) in line.match_indices("super::").filter(|(start, _)| is_begun(start)) {
            let text = text(start);
            let mut base: Vec<String> = own.iter().chain(inner.iter().map(|(name, _)| name)).cloned().collect();
            let mut rest = text.as_str();
            while let Some(next) = rest.strip_prefix("super::") {
                base.pop();
                rest = next;
            }
            expand(rest, &base, &mut found);
        }
        if let Some(name) = begun_module(line) {
            let indentation = line.len() - line.trim_start().len();
            inner.push((name.to_owned(), " ".repeat(indentation) + "}"));
        }
    }
    found
}

/// Adds the paths at the beginning of a text, such as the three of `a::{b, c::{d, e}}`. Returns the text after them.
fn expand<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = prefix.to_vec();
    if !name.is_empty() {
        path.push(name.to_owned());
    }
    let rest = if name.is_empty() { rest } else { rest.strip_prefix("::").unwrap_or(rest) };
    let is_group = rest.starts_with('{') && (name.is_empty() || text[end..].starts_with("::"));
    if is_group {
        let mut rest = &rest[1..];
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            match rest.chars().next() {
                None => return rest,
                Some('}') => return &rest[1..],
                Some(_) => rest = expand(rest, &path, found),
            }
            // Another name, as in `a as b`.
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        }
    }
    if !name.is_empty() && text[end..].starts_with("::") {
        return expand(rest, &path, found);
    }
    found.push(path);
    rest
}

/// Returns the files that each file imports. A folder's `mod.rs` joins its files and is not followed.
fn imports(root: &Path) -> BTreeMap<Vec<String>, Vec<Vec<String>>> {
    let mut files = Vec::new();
    sources(root, &mut files);
    let modules: BTreeMap<Vec<String>, bool> = files.iter().map(|file| module(file, root)).collect();
    let mut graph = BTreeMap::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let (own, _) = module(file, root);
        let mut found = Vec::new();
        for mut parts in paths(&code(&text), &own) {
            while !parts.is_empty() && !modules.contains_key(&parts) {
                parts.pop();
            }
            if parts != own && modules.get(&parts) == Some(&false) {
                found.push(parts);
            }
        }
        graph.insert(own, found);
    }
    graph
}

/// Returns a circle that can be reached from a file.
fn circle(
    graph: &BTreeMap<Vec<String>, Vec<Vec<String>>>,
    file: &Vec<String>,
    open: &mut Vec<Vec<String>>,
    done: &mut Vec<Vec<String>>,
) -> Option<Vec<Vec<String>>> {
    if let Some(start) = open.iter().position(|other| other == file) {
        return Some(open[start..].to_vec());
    }
    if done.contains(file) {
        return None;
    }
    open.push(file.clone());
    let found = graph.get(file).into_iter().flatten().find_map(|next| circle(graph, next, open, done));
    open.pop();
    done.push(file.clone());
    found
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut crates = 0;
    for entry in fs::read_dir(workspace).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dualad")) {
            continue;
        }
        let graph = imports(&folder.join("src"));
        assert!(graph.values().any(|imports| !imports.is_empty()) || graph.len() < 4, "{}", folder.display());
        let mut done = Vec::new();
        for file in graph.keys() {
            let found = circle(&graph, file, &mut Vec::new(), &mut done);
            assert!(found.is_none(), "{}: {found:?}", folder.display());
        }
        crates += 1;
    }
    assert!(crates >= 8, "{crates} crates");
}

#[test]
fn a_circle_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let found = |start: &[&str]| {
        let start = start.iter().map(|&part| part.to_owned()).collect();
        let found = circle(&imports(folder.path()), &start, &mut Vec::new(), &mut Vec::new());
        found.map(|files| files.iter().map(|file| file.join("::")).collect::<Vec<_>>())
    };
    write("a.rs", "use crate::b::B;");
    write("b.rs", "use crate::c::{C, D};");
    write("c.rs", "use crate::a::A;");
    assert_eq!(found(&["a"]).unwrap(), ["a", "b", "c"]);
    write("c.rs", "// use crate::a::A;\nuse other_crate::a::A;");
    assert_eq!(found(&["a"]), None);
    // Groups, on several lines and within one another.
    write("c.rs", "use crate::{\n    e::{self as f, F},\n    d::{one::{G, H}, two},\n};");
    assert_eq!(found(&["a"]), None);
    write("d/two.rs", "use crate::{a};");
    assert_eq!(found(&["a"]).unwrap(), ["a", "b", "c", "d::two"]);
    // Relative paths, within a module of the file and outside it.
    write("d/two.rs", "use super::one::{G, H};\n\nmod inner {\n    use super::G;\n}");
    write("d/one.rs", "use super::super::e;");
    assert_eq!(found(&["a"]), None);
    write("d/one.rs", "mod inner {\n    use super::super::two;\n}");
    assert_eq!(found(&["a"]).unwrap(), ["d::one", "d::two"]);
    write("d/one.rs", "mod inner {\n}\n\nuse super::super::{b, e};");
    assert_eq!(found(&["a"]).unwrap(), ["b", "c", "d::one"]);
}
