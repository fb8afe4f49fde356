//! The paths in tables.

use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// The longest path in bytes: more than any file system has.
pub(super) const MAX_PATH: usize = 1 << 12;

/// The folder of a table, and its whole paths, which tools write, too.
pub(super) struct Places<'a> {
    folder: &'a Path,
    /// The whole paths of the folder that are known: the real one, and those through links.
    known: Vec<PathBuf>,
}

impl<'a> Places<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder, known: folder.canonicalize().into_iter().collect() }
    }

    /// Returns the path of a table entry, relative or whole, in the folder. The error says what is wrong with the entry.
    pub(super) fn path(&mut self, value: &str) -> Result<PathBuf, String> {
        let inside = self.inside(value);
        path_within(self.folder, inside.as_deref().unwrap_or(value))
    }

    /// Returns a whole path without that of the folder.
    fn inside(&mut self, value: &str) -> Option<String> {
        let path = Path::new(value);
        let without = |folder: &Path| Some(path.strip_prefix(folder).ok()?.to_str()?.to_string());
        if let Some(found) = without(self.folder) {
            return Some(found);
        }
        if !path.is_absolute() || value.len() > MAX_PATH {
            return None;
        }
        if let Some(found) = self.known.iter().find_map(|known| without(known)) {
            return Some(found);
        }
        let real = self.known.first()?;
        let is_folder = |above: &&Path| above.canonicalize().is_ok_and(|above| above == *real);
        let folder = path.ancestors().skip(1).find(is_folder)?;
        self.known.push(folder.into());
        without(folder)
    }
}

/// Returns the fault of the name of a category, if it has one: results are written into a folder of this name.
pub(super) fn check_category(root: &Path, name: &str) -> Result<(), String> {
    if name.split(['/', '\\']).any(|part| part == "..") {
        return Err(outside(name));
    }
    path_within(root, name).map(drop)
}

fn outside(value: &str) -> String {
    format!("is \"{value}\"; name a file inside the folder of the dataset")
}

/// Returns a path with `/` between its parts and without `.` and `..`, if it stays in the folder. It may leave it and come back: `../data/a.png`
/// in `data`.
fn inside(root: &Path, path: &str) -> Option<String> {
    let is_drive = |part: &str| part.len() == 2 && part.ends_with(':');
    if path.starts_with('/') || path.split('/').next().is_some_and(is_drive) {
        return None;
    }
    let (mut parts, mut above) = (Vec::new(), 0);
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => above += 1,
            ".." => {}
            part => parts.push(part),
        }
    }
    if above > 0 {
        let real = root.canonicalize().ok()?;
        let names: Vec<_> = real.components().rev().take(above).collect();
        let is_back =
            names.len() == above && names.iter().rev().zip(&parts).all(|(name, part)| name.as_os_str() == *part);
        if !is_back || parts.len() <= above {
            return None;
        }
        parts.drain(..above);
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

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
    let path = inside(root, &path).ok_or_else(|| outside(value))?;
    let join = |path: &str| path.split('/').fold(root.to_path_buf(), |path, part| path.join(part));
    let found = join(&path);
    // Systems spell letters with accents in two ways, and the file may have the other one.
    if !path.is_ascii() && !found.exists() {
        let spelled: [String; 2] = [path.nfc().collect(), path.nfd().collect()];
        return Ok(spelled.iter().map(|path| join(path)).find(|path| path.exists()).unwrap_or(found));
    }
    // A path from the folder above begins with the name of this one.
    let inner = || {
        let (first, rest) = path.split_once('/')?;
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
        for value in ["a/b.png", "a\\b.png", "./a/b.png", ".\\a/b.png", "./a/../a//b.png", "a/c\\..\\.\\b.png"] {
            assert_eq!(path_within(root, value).unwrap(), root.join("a").join("b.png"), "{value}");
        }
        for value in [
            "",
            "/a.png",
            "\\a.png",
            "../a.png",
            "..\\a.png",
            "a\\..\\..\\b.png",
            "a/..",
            "a/../../data/b.png",
            "C:\\a.png",
            "c:/a.png",
        ] {
            assert!(path_within(root, value).is_err(), "{value}");
        }
    }
}
