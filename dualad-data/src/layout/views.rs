//! The words for views of a part in the names of images.

use std::path::Path;

/// The words, in lower case. A number may follow them.
const WORDS: [&str; 30] = [
    "back",
    "backlight",
    "backlit",
    "behind",
    "below",
    "bottom",
    "contour",
    "dark",
    "front",
    "gegenlicht",
    "hinten",
    "left",
    "light",
    "links",
    "oben",
    "outline",
    "rear",
    "rechts",
    "right",
    "rueckseite",
    "rückseite",
    "seite",
    "shadow",
    "side",
    "silhouette",
    "top",
    "under",
    "unten",
    "vorne",
    "view",
];

/// Returns whether a word is one for a view, or a number.
pub(crate) fn is_view(word: &str) -> bool {
    let word = word.to_lowercase();
    let letters = word.trim_end_matches(|digit: char| digit.is_ascii_digit());
    letters.is_empty() || WORDS.contains(&letters)
}

/// Divides the stem of a name at its last separator: `000` and `front` for `000_front.png`.
pub(crate) fn part_and_view(path: &Path) -> Option<(String, String)> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let (part, view) = stem.rsplit_once(['_', '-', '.', ' '])?;
    Some((part.into(), view.into()))
}
