//! A folder of files with any names, opened as a data set and checked. A line is a path; `>` before it makes it a symbolic link.
#![no_main]

use std::path::{Component, Path};

use dualad::data::Dataset;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for line in text.lines().take(40) {
        let (line, content) = line.split_once('=').unwrap_or((line, ""));
        let path = Path::new(line);
        // Within the folder: what lies elsewhere is not the fuzzer's.
        if line.is_empty() || line.contains('\0') || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            continue;
        }
        let path = folder.path().join(path);
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let _ = std::fs::write(path, content.replace('|', "\n"));
    }
    if let Ok(dataset) = Dataset::open(folder.path()) {
        let _ = dataset.check().threads(1).run();
    }
});
