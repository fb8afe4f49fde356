//! Categories that are the defective side of another one by their names: `bottle_nok/train/good` beside `bottle_ok/train/good`.

use std::ffi::OsStr;
use std::path::Path;

use super::names::{besides_label, is_defective, is_normal};
use super::siblings::Siblings;
use crate::finding::{Finding, FindingKind};
use crate::sample::{Category, Split};
use crate::text::names_of;

/// Reports categories with images to train on whose names say that their images are defective, beside other categories of the same
/// product.
pub(super) fn report(root: &Path, categories: &[Category], findings: &mut Vec<Finding>) {
    let trains = |category: &&Category| category.samples.iter().any(|sample| sample.split == Split::Train);
    let names: Vec<&OsStr> =
        categories.iter().filter(trains).filter_map(|category| category.folder.file_name()).collect();
    let siblings = Siblings::of(names.iter().copied());
    let has_normal = names.iter().any(|name| is_normal(name));
    let is_word = |word: &String| word.starts_with(char::is_alphabetic) && word.chars().count() > 1;
    let is_side = |name: &&&OsStr| match besides_label(name) {
        _ if is_defective(name) => has_normal,
        Some(rest) => rest.iter().any(is_word) && siblings.share(name, &rest),
        None => false,
    };
    let found: Vec<_> = names.iter().filter(is_side).map(|name| name.to_string_lossy()).collect();
    let Some(first) = found.first() else { return };
    let what = format!(
        "categories whose names say that their images are defective lie beside others of the same product ({}), and their images would be \
         trained on as normal; if they have defects, move them to test/<type of defect> of that product; if {first} is a product, name the \
         categories to use, or rename it",
        names_of(&found)
    );
    findings.push(Finding::new(FindingKind::SameProduct, "", root, what));
}
