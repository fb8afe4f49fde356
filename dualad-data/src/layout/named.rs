//! The images that a file of labels names, whatever its form.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::Path;

use super::files::bytes;
use super::listing::stem;
use super::mask_name::composed;
use super::names::{Stated, label_of};
use crate::image_name::{IMAGE_ENDINGS, OTHER_IMAGE_ENDINGS, has_ending};

/// The fewest images that a list has.
const LIST: usize = 2;

/// The endings of files whose cells are compared with the names of images.
const TEXTS: [&str; 9] = ["csv", "json", "jsonl", "lst", "ndjson", "tsv", "txt", "yaml", "yml"];

/// Returns the number of images that a file names, if these are two or more and at least half of them, and if it has more than names.
pub(super) fn most_of(file: &Path, images: &BTreeSet<&OsStr>) -> Option<usize> {
    let [named, others] = count(file, images)?;
    // A list of names alone has no labels. Its first line may be a heading.
    (named >= LIST && 2 * named >= images.len() && others > 1).then_some(named)
}

/// Returns the number of images that a file names, if its own name says that these have defects: `defects.csv`, `ng_list.txt`.
pub(super) fn defects_of(file: &Path, images: &BTreeSet<&OsStr>) -> Option<usize> {
    if label_of(stem(file)) != Stated::Defective {
        return None;
    }
    count(file, images).map(|[named, _]| named).filter(|named| *named > 0)
}

/// Returns the number of images that a file names, and that of its other values.
fn count(file: &Path, images: &BTreeSet<&OsStr>) -> Option<[usize; 2]> {
    if !has_ending(file, &TEXTS) {
        return None;
    }
    let text = bytes(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let known: HashSet<String> = images.iter().map(|stem| composed(stem).to_lowercase()).collect();
    let is_end = |c: char| {
        matches!(c, ',' | ';' | '\t' | '|' | '"' | '\n' | '\r')
            || c == ' ' && has_ending(file, &["txt", "lst", "yaml", "yml"])
            || c == ':' && has_ending(file, &["yaml", "yml"])
    };
    let (mut named, mut others) = (HashSet::new(), 0);
    for cell in text.split(is_end).map(|cell| cell.trim_matches(is_around)).filter(|cell| !cell.is_empty()) {
        match stem_of(cell).map(|stem| composed(stem.as_ref()).to_lowercase()).filter(|stem| known.contains(stem)) {
            Some(stem) => _ = named.insert(stem),
            None => others += 1,
        }
    }
    Some([named.len(), others])
}

/// Returns whether a character around a value is not a part of it.
fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\'' | '{' | '}' | '[' | ']' | ':')
}

/// Returns the stem of the image that a cell may name, with or without its folder and its ending. A short number names nothing.
fn stem_of(cell: &str) -> Option<&str> {
    let name = cell.rsplit(['/', '\\']).next()?;
    if let Some((stem, _)) = name.rsplit_once('.')
        && (has_ending(Path::new(name), &IMAGE_ENDINGS) || has_ending(Path::new(name), &OTHER_IMAGE_ENDINGS))
    {
        return Some(stem);
    }
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = name.len() > 2 && name.starts_with('0');
    (!is_number || is_padded).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_name_images() {
        let found = |name: &str, text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            let images = ["001", "part b", "3", "4"].map(OsStr::new);
            most_of(&file, &images.into_iter().collect())
        };
        for (name, text) in [
            ("a.csv", "filename,class\n001.png,ok\npart b.png,ng\n"),
            ("a.csv", "\"Bild\";\"defect\"\n\"..\\img\\001.PNG\";\"1\"\n\"img/3.png\";\"0\"\n"),
            ("a.csv", "id,ng\n001,1\nPART B,0\n"),
            ("a.json", "{\"001.png\": \"ok\", \"3.png\": \"ng\"}"),
            ("labels.txt", "001.png 1\n3.png 0\n"),
        ] {
            assert_eq!(found(name, text), Some(2), "{text}");
        }
        for (name, text) in [
            ("a.csv", "time,celsius\n3,20\n4,21\n"),
            ("a.csv", "name,class\n001.png,ok\n"),
            ("a.csv", "name\n001.png\n3.png\n4.png\n"),
            ("a.xlsx", "001.png,ok\n3.png,ng\n"),
        ] {
            assert_eq!(found(name, text), None, "{text}");
        }
    }
}
