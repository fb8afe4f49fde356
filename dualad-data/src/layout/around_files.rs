//! The files and folders around a folder of images that may label them, within bounds.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::content::{Content, content};
use super::files::{bytes, json_error};
use super::label_files::advice;
use super::listing::stem;
use super::mask_name::{Key, key};
use super::named::stem_of;
use super::names::{is_foreign, means_labels};
use super::words::{letters, tokens};
use crate::image_name::{IMAGE_ENDINGS, has_ending};

/// The most entries of a folder above that are looked at, by their names alone.
const MAX_ENTRIES: usize = 10_000;
/// The number of entries from which on a folder above may hold anything, and not one dataset.
const CROWDED: usize = 64;
/// The number of files that are opened, and the most bytes that are read: as many as one file of annotations may have.
const MAX_FILES: usize = 2_000;
const MAX_BYTES: u64 = 256 << 20;

/// The endings of tables, annotations and texts that may label images, and of those that are not read.
const ENDINGS: [&str; 10] = ["csv", "json", "jsonl", "lst", "ndjson", "tsv", "txt", "xml", "yaml", "yml"];
const SPREADSHEETS: [&str; 5] = ["ods", "parquet", "xls", "xlsm", "xlsx"];

/// The folders in a folder, and the files that may hold labels, sorted by name.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
    /// True if the folder has so many entries that it may hold anything.
    pub(super) is_crowded: bool,
    /// True if it has more entries than are looked at.
    pub(super) is_cut: bool,
}

/// Returns the entries of a folder without opening them. Returns `None` for a folder that cannot be listed.
pub(super) fn entries(folder: &Path) -> Option<Entries> {
    let mut found = Entries::default();
    for (index, entry) in std::fs::read_dir(folder).ok()?.map_while(Result::ok).enumerate() {
        found.is_crowded = index >= CROWDED;
        if index == MAX_ENTRIES {
            found.is_cut = true;
            break;
        }
        let path = entry.path();
        // The type in the entry avoids a system call for each of them. Links have to be followed.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && path.is_dir());
        if is_folder {
            found.folders.push(path);
        } else if may_label(&path) && !is_foreign(&entry.file_name()) {
            found.files.push(path);
        }
    }
    found.folders.sort();
    found.files.sort();
    Some(found)
}

/// Returns whether a file may hold labels by its ending.
fn may_label(file: &Path) -> bool {
    has_ending(file, &ENDINGS) || has_ending(file, &SPREADSHEETS)
}

/// The form in which a file names images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By their whole names.
    Whole,
    /// By their stems alone, which may be words or numbers of any text.
    Stem,
}

/// The files around images that were looked at.
pub(super) struct Files<'a> {
    /// The stems of the images.
    keys: &'a BTreeSet<Key>,
    /// The name of their folder.
    folder: String,
    count: usize,
    budget: u64,
    /// True if more files may hold labels than are opened.
    pub(super) is_cut: bool,
    /// The files that may label the images and cannot be read, with the reason and the remedy.
    pub(super) unread: Vec<(PathBuf, String)>,
}

impl<'a> Files<'a> {
    pub(super) fn new(keys: &'a BTreeSet<Key>, folder: &Path) -> Self {
        let folder = letters(&folder.file_name().unwrap_or_default().to_string_lossy());
        Self { keys, folder, count: 0, budget: MAX_BYTES, is_cut: false, unread: Vec::new() }
    }

    /// Returns the form in which a file names some of the images. Returns `None` if it names none, or is not read.
    pub(super) fn naming(&mut self, file: &Path) -> Option<Naming> {
        if has_ending(file, &SPREADSHEETS) {
            if self.is_named(file) {
                let advice = advice(file);
                self.unread
                    .push((file.to_path_buf(), format!("it is not read, because {}: {}", advice.why, advice.how)));
            }
            return None;
        }
        if !has_ending(file, &ENDINGS) || content(file) != Content::Other {
            return None;
        }
        // A pipe is not opened.
        let size = std::fs::metadata(file).ok().filter(Metadata::is_file)?.len();
        if self.count == MAX_FILES || size > self.budget {
            self.is_cut = true;
            return None;
        }
        self.count += 1;
        self.budget -= size;
        let text = match bytes(file) {
            Ok(text) => text,
            Err(error) => {
                if self.is_named(file) {
                    self.unread.push((file.to_path_buf(), error.to_string()));
                }
                return None;
            }
        };
        let found = naming(&String::from_utf8_lossy(&text), self.keys);
        if (found.is_some() || self.is_named(file))
            && let Some(fault) = fault(file, &text, found.is_some())
        {
            self.unread.push((file.to_path_buf(), fault));
        }
        found
    }

    /// Returns whether the name of a file is one of labels, or that of the images' folder.
    fn is_named(&self, file: &Path) -> bool {
        const WORDS: [&str; 14] = [
            "befund",
            "befunde",
            "coco",
            "ergebnis",
            "ergebnisse",
            "inspection",
            "instances",
            "labelme",
            "qc",
            "quality",
            "result",
            "results",
            "verdict",
            "verdicts",
        ];
        let name = stem(file).to_string_lossy();
        means_labels(stem(file))
            || letters(&name) == self.folder
            || tokens(&name).iter().any(|word| WORDS.contains(&word.as_str()))
    }
}

/// Returns the form in which a text names images of these stems.
fn naming(text: &str, keys: &BTreeSet<Key>) -> Option<Naming> {
    /// The fewest letters of a stem. It has a digit.
    const LEAST: usize = 3;
    let mut found = None;
    let mut form = |cell: &str| {
        let name = Path::new(cell.trim_matches(|c: char| c.is_whitespace() || c == ':'));
        if has_ending(name, &IMAGE_ENDINGS) {
            return keys.contains(&key(name));
        }
        // Files of annotations have millions of numbers.
        let is_word = |stem: &str| stem.starts_with('0') || stem.contains(|c: char| c.is_alphabetic() || c == '_');
        let is_name = |stem: &&str| stem.len() >= LEAST && stem.contains(|c: char| c.is_ascii_digit()) && is_word(stem);
        let stem = name.to_str().filter(is_name).filter(|name| stem_of(name) == Some(name));
        if stem.is_some_and(|stem| keys.contains(stem.as_bytes())) {
            found = Some(Naming::Stem);
        }
        false
    };
    let mut cells = text.split(['"', '\'', '<', '>', ',', ';', '\t', '\n', '\r', '/', '\\']);
    let is_whole = cells.any(|cell| form(cell) || cell.split_whitespace().any(&mut form));
    if is_whole { Some(Naming::Whole) } else { found }
}

/// Returns the fault of a file that is no JSON, or no text: a table in another encoding, or of which no image name is legible. Other forms
/// of files have none.
fn fault(file: &Path, text: &[u8], names_images: bool) -> Option<String> {
    const ENCODING: &str = "it is neither UTF-8 nor UTF-16, or it is damaged; save it as UTF-8";
    let is_read_whole = has_ending(file, &["csv", "json", "jsonl", "ndjson", "tsv"]);
    if is_read_whole && (text.contains(&0) || std::str::from_utf8(text).is_err()) {
        return Some(ENCODING.into());
    }
    if has_ending(file, &["json"]) {
        let error = serde_json::from_slice::<IgnoredAny>(text).err()?;
        return Some(json_error(file, error.line() as u64, text, &error).to_string());
    }
    // Shifted by a byte, letters of UTF-16 are those of other scripts.
    let legible = text.iter().filter(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')).count();
    let is_garbled = !names_images && has_ending(file, &["csv", "tsv"]) && 8 * legible < text.len();
    is_garbled.then(|| ENCODING.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_images_by_their_names_and_by_long_stems() {
        let keys: BTreeSet<Key> = ["004", "12", "front", "part_7"].map(|stem| stem.as_bytes().to_vec()).into();
        for (text, expected) in [
            ("img/004.png;NG", Some(Naming::Whole)),
            ("front.png: NG", Some(Naming::Whole)),
            ("id,verdict\n004,NG", Some(Naming::Stem)),
            ("part_7 NG", Some(Naming::Stem)),
            ("part_7 NG\n12.jpg", Some(Naming::Whole)),
            ("12,front,005.png", None),
        ] {
            assert_eq!(naming(text, &keys), expected, "{text}");
        }
    }
}
