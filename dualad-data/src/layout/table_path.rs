//! The paths in tables.

use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// The longest path in bytes: more than any file system has.
pub(super) const MAX_PATH: usize = 1 << 12;

/// Returns the path of a table entry: relative to the root, inside the root, with `/` or `\` between its parts. If there is no such file,
/// the path may be relative to the folder above, and begin with the name of the root. The error says what is wrong with the entry.
pub(super) fn path_within(root: &Path, value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("is empty; fill it in".into());
    }
    if value.len() > MAX_PATH {
        return Err(format!("has {} bytes; a path has at most {MAX_PATH}", value.len()));
    }
    // Tables written on Windows.
    let path = value.replace('\\', "/");
    let is_drive = |part: &str| part.len() == 2 && part.ends_with(':');
    let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || path.split('/').next().is_some_and(is_drive) {
        return Err(format!("is \"{value}\"; name a file inside the folder of the dataset"));
    }
    let join = |path: &str| path.split('/').fold(root.to_path_buf(), |path, part| path.join(part));
    let found = join(&path);
    // Systems spell letters with accents in two ways, and the file may have the other one.
    if !path.is_ascii() && !found.exists() {
        let spelled: [String; 2] = [path.nfc().collect(), path.nfd().collect()];
        return Ok(spelled.iter().map(|path| join(path)).find(|path| path.exists()).unwrap_or(found));
    }
    // A path from the folder above begins with the name of this one.
    let inner = || {
        let (first, rest) = path.trim_start_matches("./").split_once('/')?;
        let real = root.canonicalize().ok()?;
        (real.file_name() == Some(first.as_ref())).then(|| join(rest)).filter(|inner| inner.exists())
    };
    if !found.exists()
        && let Some(inner) = inner()
    {
        return Ok(inner);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_may_have_two_spellings() {
        let folder = tempfile::tempdir().unwrap();
        for (on_disk, in_table) in [("geh\u{e4}use.png", "geha\u{308}use.png"), ("ro\u{308}hre.png", "r\u{f6}hre.png")]
        {
            std::fs::write(folder.path().join(on_disk), "x").unwrap();
            assert!(path_within(folder.path(), in_table).unwrap().exists());
        }
        assert_eq!(path_within(folder.path(), "\u{e4}").unwrap(), folder.path().join("\u{e4}"));
    }

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
