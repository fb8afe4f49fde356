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

/// Returns the files that each file imports by `crate::`. A folder's `mod.rs` joins its files and is not followed.
fn imports(root: &Path) -> BTreeMap<Vec<String>, Vec<Vec<String>>> {
    let mut files = Vec::new();
    sources(root, &mut files);
    let modules: BTreeMap<Vec<String>, bool> = files.iter().map(|file| module(file, root)).collect();
    let mut graph = BTreeMap::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let (own, _) = module(file, root);
        let mut found = Vec::new();
        for import in lines.flat_map(|line| line.split("crate::").skip(1)) {
            let end = import.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(import.len());
            let mut parts: Vec<String> = import[..end].split("::").map(str::to_owned).collect();
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
    for (name, text) in [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::{C, D};"), ("c.rs", "use crate::a::A;")]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let graph = imports(folder.path());
    let found = circle(&graph, &vec!["a".into()], &mut Vec::new(), &mut Vec::new()).unwrap();
    assert_eq!(found, [["a"], ["b"], ["c"]]);
}
