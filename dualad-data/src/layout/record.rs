//! A record of a file that may hold labels: the values that belong to an image.

use std::collections::BTreeSet;
use std::path::Path;

use super::answers::{denies, number, truth};
use super::columns::{names_product, says_no_label};
use super::divide::{is_normal, is_unclear};
use super::names::{Stated, compound_of, label_of};
use super::words::{Word, letters, meaning, meaning_of_letters, tokens};
use crate::image_name::{IMAGE_ENDINGS, has_ending};
use crate::sample::Label;

/// A value, and the name of its column or its key, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) key: String,
    pub(super) value: String,
}

impl Cell {
    pub(super) fn new(key: &str, value: &str) -> Self {
        Self { key: key.trim().into(), value: value.trim().into() }
    }

    /// Returns the label that the value states: a word for it (`scratch`, `ok`), or a number or boolean under a name for defects
    /// (`is_defect: 1`). Long texts and the names of files state none.
    fn label(&self) -> Option<Label> {
        let Self { key, value } = self;
        let is_path = value.contains(['/', '\\']) || has_ending(Path::new(value), &IMAGE_ENDINGS);
        // A doubt is no label.
        if says_no_label(key) || is_path || value.ends_with('?') {
            return None;
        }
        let Some(is_true) = truth(value) else { return word(value) };
        Some(match of_key(key, value)? {
            label if label.is_anomalous() == is_true => Label::Anomalous(key.clone()),
            _ => Label::Normal,
        })
    }

    /// Returns the word by which the value says that an image has a defect, for a table whose label says that it is normal: a word for a
    /// defect, or a flag, a count or a text under a name that means defects and nothing else. `anomaly_score: 1` says nothing.
    pub(super) fn defect(&self) -> Option<String> {
        let Self { key, value } = self;
        let is_flag = || {
            let is_word = |token: &String| label_of(token.as_ref()) != Stated::Nothing || meaning(token).is_some();
            let means = |token: &String| is_word(token) || is_in(COLUMNS, token) || is_in(ANSWERED, token);
            meaning_of_letters(&letters(key)).is_some()
                || tokens(&spaced(key)).iter().all(|token| means(token) || is_in(FLAGS, token))
        };
        let is_anomalous = |label: &Option<Label>| label.as_ref().is_some_and(Label::is_anomalous);
        let label = self.label();
        let means_defects = || is_anomalous(&of_key(key, value)) && is_flag();
        match truth(value) {
            Some(_) => {
                // A share is a score, and a number below 0 stands for nothing.
                let is_other = number(value).is_some_and(|number| number.fract() != 0.0 || number < 0.0);
                (is_anomalous(&label) && !is_other && is_flag()).then(|| key.clone())
            }
            // The name of a thing is none under a name for defects: `scratch at edge`.
            None if is_anomalous(&label) => {
                (compound_of(value.as_ref()).is_none() || means_defects()).then(|| value.clone())
            }
            None => {
                let is_told = label.is_none() && !value.is_empty() && !says_no_label(key) && means_defects();
                let says_none = || is_unclear(value) || is_normal(value) || is_code_of_zero(value) || denies(value);
                let is_word = || tokens(value).len() <= MOST_WORDS && !says_none();
                (is_told && is_word()).then(|| key.clone())
            }
        }
    }
}

/// Words beside those for defects in the name of a column that says whether an image has one.
const FLAGS: &str = "any anz anzahl art class classes code count de der detected di exists flag found gefunden has index is kind klasse label n \
    name nb nombre num number numero of present seen total typ type types visible vorhanden zahl 个数 件数 個数 数 数量 수 개수";
/// Those for a number, and those for types: their number is that of all types.
const COUNTS: &str = "anz anzahl count n nb nombre num number numero total zahl";
const TYPES: &str = "art arten class classes kind kinds klasse klassen typ typen type types";

/// Words that mean defects in the name of a column, and may mean something else in the name of an image or a folder.
const COLUMNS: &str = "befund befunde hata vada vady";
/// Those that do so beside a word for yes or no alone.
const ANSWERED: &str = "error errors";

fn is_in(list: &str, token: &str) -> bool {
    list.split_whitespace().any(|known| known == token)
}

/// Returns the label that the name of a column states for an image to which its value applies.
fn of_key(key: &str, value: &str) -> Option<Label> {
    let spaced = spaced(key);
    let tokens = tokens(&spaced);
    let has = |list: &str| tokens.iter().any(|token| is_in(list, token));
    if has(COUNTS) && has(TYPES) {
        return None;
    }
    let is_answer = truth(value).is_some() && number(value).is_none();
    let means = |token: &String| is_in(COLUMNS, token) || is_answer && is_in(ANSWERED, token);
    let is_column = || tokens.iter().any(means) && tokens.iter().all(|token| means(token) || is_in(FLAGS, token));
    word(&spaced).or_else(|| is_column().then(|| Label::Anomalous(key.into())))
}

/// Returns the columns `pass` that have a number other than 0 and 1: they count the passes of a scan and tell no result.
pub(super) fn counting<'a>(cells: impl Iterator<Item = &'a Cell>) -> BTreeSet<String> {
    let counts = |cell: &&Cell| number(&cell.value).is_some_and(|number| number != 0.0 && number != 1.0);
    cells.filter(|cell| letters(&cell.key) == "pass").filter(counts).map(|cell| cell.key.clone()).collect()
}

/// Returns whether a value is the code of no defect: a letter or two, and zeros (`E0`, `F00`).
fn is_code_of_zero(value: &str) -> bool {
    let letters = letters(value);
    let digits = letters.trim_start_matches(char::is_alphabetic);
    let before = letters.chars().take_while(|c| c.is_alphabetic()).count();
    (1..=2).contains(&before) && !digits.is_empty() && digits.bytes().all(|byte| byte == b'0')
}

/// Returns the name of a column with spaces between its words. German writes them together: `Fehleranzahl`.
fn spaced(key: &str) -> String {
    let apart = |token: &String| {
        let ends = FLAGS.split_whitespace().filter_map(|flag| Some((token.strip_suffix(flag)?, flag)));
        let mut found = ends.filter(|(word, _)| meaning(word) == Some(Word::Defective) && word.len() > 3);
        found.next().map(|(word, flag)| format!("{word} {flag}"))
    };
    tokens(key).iter().map(|token| apart(token).unwrap_or_else(|| token.clone())).collect::<Vec<_>>().join(" ")
}

/// The largest number of words and numbers of a label. More are a remark.
const MOST_WORDS: usize = 3;

/// Returns the label that a few words state.
fn word(text: &str) -> Option<Label> {
    if tokens(text).len() > MOST_WORDS {
        return None;
    }
    match label_of(text.as_ref()) {
        Stated::Normal => Some(Label::Normal),
        Stated::Defective | Stated::DefectType => Some(Label::Anomalous(text.into())),
        // `nicht in Ordnung` means something as a whole.
        Stated::Nothing => match meaning_of_letters(&letters(text)) {
            Some(Word::Normal) => Some(Label::Normal),
            Some(Word::Defective) => Some(Label::Anomalous(text.into())),
            Some(Word::Denial | Word::Free) | None => None,
        },
    }
}

/// Returns the words of a text without separators as values: each alone, or, if one is a denial, the denials with the words that they
/// count for as one value. `no longer ok` is `no ok`.
pub(super) fn phrases(words: &[String]) -> Vec<String> {
    let is_denial = |word: &String| {
        let tokens = tokens(word);
        word == "0" || tokens.iter().any(|token| matches!(meaning(token), Some(Word::Denial | Word::Free)))
    };
    if words.len() < 2 || !words.iter().any(is_denial) {
        return words.to_vec();
    }
    let counts = |word: &&String| is_denial(word) || label_of(word.as_str().as_ref()) != Stated::Nothing;
    let told: Vec<&str> = words.iter().filter(counts).map(|word| if word == "0" { "no" } else { word }).collect();
    // A number alone is no denial.
    if told.len() < 2 { words.to_vec() } else { vec![told.join(" ")] }
}

/// Returns the product that one of the values tells by the name of its column.
pub(super) fn product_in<'c>(cells: &'c [Cell], is_image: &dyn Fn(&str) -> bool) -> Option<&'c str> {
    let is = |cell: &&Cell| names_product(&cell.key) && !cell.value.is_empty() && !is_image(&cell.value);
    cells.iter().find(is).map(|cell| cell.value.as_str())
}

/// The values that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record(pub(super) Vec<Cell>);

impl Record {
    /// Returns the values that name images.
    pub(super) fn images<'r>(&'r self, is_image: &'r dyn Fn(&str) -> bool) -> impl Iterator<Item = &'r str> {
        self.0.iter().map(|cell| cell.value.as_str()).filter(|value| is_image(value))
    }

    /// Returns the label that the other values state. A word for defects counts more than one for normal images.
    pub(super) fn label(&self, is_image: &dyn Fn(&str) -> bool) -> Option<Label> {
        let of_cell = |cell: &Cell| {
            if is_image(&cell.value) { word(&cell.key).filter(Label::is_anomalous) } else { cell.label() }
        };
        let labels: Vec<Label> = self.0.iter().filter_map(of_cell).collect();
        labels.iter().find(|label| label.is_anomalous()).or(labels.first()).cloned()
    }

    /// Returns whether another value is a number or a boolean, which may be a label.
    pub(super) fn has_flag(&self, is_image: &dyn Fn(&str) -> bool) -> bool {
        self.0.iter().any(|cell| truth(&cell.value).is_some() && !is_image(&cell.value))
    }
}
