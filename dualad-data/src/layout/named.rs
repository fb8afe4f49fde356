//! The images that a file of labels names, whatever its form.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::bytes;
use super::image_index::own_name;
use super::listing::stem;
use super::mask_name::composed;
use super::names::{Stated, label_of, means_labels};
use super::record::Record;
use super::records::records;
use super::separated::has_separator;
use crate::image_name::{IMAGE_ENDINGS, OTHER_IMAGE_ENDINGS, has_ending};

/// The fewest images that a list has.
const LIST: usize = 2;

/// The endings of files whose values are compared with the names of images.
const TEXTS: [&str; 11] = ["csv", "json", "jsonl", "log", "lst", "ndjson", "tsv", "txt", "xml", "yaml", "yml"];

/// The names of images, to find them in files.
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn of<'a>(images: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        Self(images.into_iter().map(|image| name_of(stem(image))).collect())
    }

    /// Returns the name of the image that a value of a file stands for.
    fn find(&self, value: &str) -> Option<String> {
        let stem = stem_of(value)?;
        let known = |stem: &str| Some(name_of(stem.as_ref())).filter(|name| self.0.contains(name));
        known(stem).or_else(|| own_name(stem).and_then(known))
    }
}

/// Returns the stem of an image in the form in which names are compared.
fn name_of(stem: &OsStr) -> String {
    composed(stem).to_lowercase()
}

/// The images that a file names.
pub(super) struct Mentions {
    named: HashSet<String>,
    /// The number of its other values.
    others: usize,
    /// True if it says by a word that one of them has a defect.
    has_defective: bool,
}

impl Mentions {
    /// Returns the images that a file names, whatever its form. Returns `None` if it names none.
    pub(super) fn of(file: &Path, names: &Names) -> Option<Self> {
        let (named, others) = count(file, names).filter(|(named, _)| !named.is_empty())?;
        let is_image = |value: &str| names.find(value).is_some();
        let is_defective = |record: &Record| record.label(&is_image).is_some_and(|label| label.is_anomalous());
        let has_defective = records(file, &is_image).iter().any(is_defective);
        Some(Self { named, others, has_defective })
    }

    /// Returns the number of images that are named.
    pub(super) fn count(&self) -> usize {
        self.named.len()
    }

    /// Returns the images that are not named.
    pub(super) fn without<'a>(&self, images: &'a [PathBuf]) -> Vec<&'a PathBuf> {
        images.iter().filter(|image| !self.named.contains(&name_of(stem(image)))).collect()
    }

    /// Returns whether the file labels images: it names most of them, or says by its own name or by a word that some have defects. A list
    /// of names alone has no labels; its first line may be a heading.
    pub(super) fn are_labels(&self, file: &Path, names: &Names) -> bool {
        let is_list = self.named.len() >= LIST && self.others > 1;
        // The log of a camera names all images.
        let is_log = has_ending(file, &["log"]);
        is_list && !is_log && (2 * self.named.len() >= names.0.len() || means_labels(stem(file)))
            || self.has_defective
            || label_of(stem(file)) == Stated::Defective
    }
}

/// Returns the images that a file names, and the number of its other values.
fn count(file: &Path, names: &Names) -> Option<(HashSet<String>, usize)> {
    if !has_ending(file, &TEXTS) {
        return None;
    }
    let text = bytes(file).ok()?;
    let is_spaced = has_ending(file, &["txt", "log", "lst", "yaml", "yml"])
        || !has_separator(&text) && has_ending(file, &["csv", "tsv"]);
    let text = String::from_utf8_lossy(&text);
    let is_end = |c: char| {
        matches!(c, ',' | ';' | '\t' | '|' | '"' | '\n' | '\r')
            || c == ' ' && is_spaced
            || c == ':' && has_ending(file, &["yaml", "yml"])
            || matches!(c, '<' | '>') && has_ending(file, &["xml"])
    };
    let (mut named, mut others) = (HashSet::new(), 0);
    for cell in text.split(is_end).map(|cell| cell.trim_matches(is_around)).filter(|cell| !cell.is_empty()) {
        match names.find(cell) {
            Some(name) => _ = named.insert(name),
            None => others += 1,
        }
    }
    Some((named, others))
}

/// Returns whether a character around a value is not a part of it.
fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\'' | '{' | '}' | '[' | ']' | ':')
}

/// Returns the stem of the image that a cell may name, with or without its folder and its ending. A short number names nothing.
pub(super) fn stem_of(cell: &str) -> Option<&str> {
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
            let names = Names::of(&["001.png", "part b.png", "3.png", "4.png"].map(PathBuf::from));
            Mentions::of(&file, &names).filter(|found| found.are_labels(&file, &names)).map(|found| found.count())
        };
        for (name, text) in [
            ("a.csv", "filename,class\n001.png,ok\npart b.png,ng\n"),
            ("a.csv", "\"Bild\";\"defect\"\n\"..\\img\\001.PNG\";\"1\"\n\"img/3.png\";\"0\"\n"),
            ("a.csv", "id,ng\n001,1\nPART B,0\n"),
            ("a.json", "{\"001.png\": \"ok\", \"3.png\": \"ng\"}"),
            ("labels.txt", "001.png 1\n3.png 0\n"),
            ("a.xml", "<a><image name=\"001.png\"><box label=\"ng\"/></image><image name=\"3.png\"/></a>"),
        ] {
            assert_eq!(found(name, text), Some(2), "{text}");
        }
        // Few of them, with a word for a defect in the file or in its name.
        for (name, text) in [
            ("a.yaml", "001.png: scratch\n"),
            ("a.json", "{\"001.png\": \"ng\"}"),
            ("a.csv", "img,fault\n001.png,dent\n"),
            ("a.txt", "001 NG\n"),
            ("a.log", "001.png NG\n"),
            ("a.txt", "001.png: scratch\n"),
            ("a.csv", "image,choice\n/data/upload/1/ab12cd34-001.png,Scratch\n"),
            ("defects.csv", "001.png,F12\n"),
        ] {
            assert_eq!(found(name, text), Some(1), "{name} {text}");
        }
        for (name, text) in [
            ("a.csv", "time,celsius\n3,20\n4,21\n"),
            ("a.csv", "name,class\n001.png,ok\n"),
            ("a.csv", "name\n001.png\n3.png\n4.png\n"),
            ("a.xlsx", "001.png,ok\n3.png,ng\n"),
            ("a.log", "001.png 12:30:01\n3.png 12:30:02\n4.png 12:30:03\n"),
        ] {
            assert_eq!(found(name, text), None, "{text}");
        }
    }
}
