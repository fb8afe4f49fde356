//! Names of folders beside each other: which of them are sides of one product.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use super::names::side_of;
use super::words::{labels, letters, tokens};

/// The names of folders beside each other, to find those that are sides of one product.
pub(super) struct Siblings {
    /// The beginnings and ends of the names, and the number of names that have each.
    parts: BTreeMap<Vec<String>, usize>,
    /// The products of the normal sides.
    normal: BTreeSet<Vec<String>>,
    /// The rests of names without a word at an end, and which words of a pair were found: see [`ends`].
    opposites: BTreeMap<End, [bool; 2]>,
}

/// A name without the word of a pair at its end (`true`) or beginning, and the number of the pair.
type End = (String, bool, usize);

impl Siblings {
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a OsStr>) -> Self {
        let mut found = Self { parts: BTreeMap::new(), normal: BTreeSet::new(), opposites: BTreeMap::new() };
        for name in names {
            for part in parts(name) {
                *found.parts.entry(part).or_default() += 1;
            }
            found.normal.extend(side_of(name).filter(|side| side.is_normal).map(|side| side.product));
            for (end, is_second) in ends(name) {
                found.opposites.entry(end).or_default()[usize::from(is_second)] = true;
            }
        }
        found
    }

    /// Returns whether another name begins or ends with these words: those of `name` without its label.
    pub(super) fn share(&self, name: &OsStr, product: &[String]) -> bool {
        let own = usize::from(parts(name).contains(product));
        product.is_empty() || self.parts.get(product).is_some_and(|count| *count > own)
    }

    /// Returns whether a name begins or ends with the product of a normal side.
    pub(super) fn have_normal_side_of(&self, name: &OsStr) -> bool {
        self.normal.contains::<[String]>(&[]) || parts(name).iter().any(|part| self.normal.contains(part))
    }

    /// Returns whether another name and this one are a product's name with a word for normal and one for defective images, without a
    /// separator: `gearok` and `gearnok`. Or with opposite words that may be labels: `gear_pos` and `gear_neg`.
    pub(super) fn have_opposite_of(&self, name: &OsStr) -> bool {
        ends(name).iter().any(|(end, _)| self.opposites.get(end) == Some(&[true; 2]))
    }
}

/// Returns the beginnings and ends of a name in words and numbers, the whole name among them.
fn parts(name: &OsStr) -> BTreeSet<Vec<String>> {
    /// The largest number of words.
    const MOST: usize = 16;
    let tokens = tokens(&name.to_string_lossy());
    let count = tokens.len();
    let begins = (1..=count.min(MOST)).filter_map(|end| tokens.get(..end));
    let ends = (count.saturating_sub(MOST)..count).filter_map(|start| tokens.get(start..));
    begins.chain(ends).map(<[String]>::to_vec).collect()
}

/// Returns what is left of a name without each word of a pair that it begins or ends with, and whether that is the second word.
fn ends(name: &OsStr) -> Vec<(End, bool)> {
    const PAIRS: [[&str; 2]; 4] = [["pos", "neg"], ["positive", "negative"], ["true", "false"], ["yes", "no"]];
    let name = letters(&name.to_string_lossy());
    let pairs = PAIRS.iter().enumerate().flat_map(|(index, [a, b])| [(*a, index + 1, false), (*b, index + 1, true)]);
    let all = labels().map(|(word, is_normal)| (word, 0, !is_normal)).chain(pairs);
    let mut found = Vec::new();
    for (word, pair, is_second) in all {
        for (rest, is_end) in [(name.strip_suffix(word), true), (name.strip_prefix(word), false)] {
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                found.push(((rest.to_string(), is_end, pair), is_second));
            }
        }
    }
    found
}

/// Returns the positions of names that differ only in the number 0 or 1 at their end: `gear_0` and `gear_1`, without a `gear_2`.
pub(super) fn differ_in_zero_and_one(names: &[&OsStr]) -> Vec<(usize, usize)> {
    let mut by_stem = BTreeMap::<String, Vec<(String, usize)>>::new();
    for (index, name) in names.iter().enumerate() {
        let name = name.to_string_lossy().to_lowercase();
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name.strip_prefix(stem).unwrap_or_default();
        by_stem.entry(stem.into()).or_default().push((number.into(), index));
    }
    let pair = |mut numbers: Vec<(String, usize)>| {
        numbers.retain(|(number, _)| !number.is_empty());
        numbers.sort();
        match &numbers[..] {
            [(zero, at), (one, other)] if zero == "0" && one == "1" => Some((*at, *other)),
            _ => None,
        }
    };
    by_stem.into_values().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_opposite_words_are_found() {
        let opposite = |one: &str, other: &str| {
            let names = [one, other].map(OsStr::new);
            let siblings = Siblings::of(names);
            names.iter().all(|name| siblings.have_opposite_of(name))
        };
        for (one, other) in [("gearok", "gearnok"), ("ngA7", "okA7"), ("lid_pos", "lid_neg"), ("PARTGOOD", "partbad")] {
            assert!(opposite(one, other), "{one} {other}");
        }
        for (one, other) in [("gearok", "platenok"), ("spring", "string"), ("ok", "ng"), ("gear_1", "gear_2")] {
            assert!(!opposite(one, other), "{one} {other}");
        }
    }

    #[test]
    fn names_that_differ_in_0_and_1_are_found() {
        let found = |names: &[&str]| differ_in_zero_and_one(&names.iter().map(OsStr::new).collect::<Vec<_>>());
        assert_eq!(found(&["gear_1", "lid", "Gear_0"]), [(2, 0)]);
        assert_eq!(found(&["gear1", "gear0", "gear", "lid1"]), [(1, 0)]);
        for names in [&["gear_1", "gear_0", "gear_2"][..], &["gear_10", "gear_11"], &["gear_1", "gear_2"]] {
            assert_eq!(found(names), [], "{names:?}");
        }
    }
}
