//! The paths in tables.

use std::path::{Component, Path, PathBuf};

/// Returns the path of a table entry: relative to the root, inside the root, with `/` or `\` between its parts. The error says
/// what is wrong with the entry.
pub(super) fn path_within(root: &Path, value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("is empty; fill it in".into());
    }
    // Tables written on Windows.
    let path = value.replace('\\', "/");
    let is_drive = |part: &str| part.len() == 2 && part.ends_with(':');
    let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || path.split('/').next().is_some_and(is_drive) {
        return Err(format!("is \"{value}\"; name a file inside the folder of the dataset"));
    }
    Ok(path.split('/').fold(root.to_path_buf(), |path, part| path.join(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_its_folder_and_may_have_either_separator() {
        let root = Path::new("data");
        for value in ["a/b.png", "a\\b.png", "./a/b.png", ".\\a/b.png"] {
            assert_eq!(path_within(root, value).unwrap(), root.join("a").join("b.png"), "{value}");
        }
        for value in ["", "/a.png", "\\a.png", "../a.png", "..\\a.png", "a\\..\\..\\b.png", "C:\\a.png", "c:/a.png"] {
            assert!(path_within(root, value).is_err(), "{value}");
        }
    }
}
