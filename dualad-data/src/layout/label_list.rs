//! Lists of labels that no layout reads, such as `labels.yaml` and tables with other columns: the normal images that they name.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use super::label_files::{Advice, advice};
use super::listing::stem;
use super::names::{Stated, label_of, means_labels};
use super::record::product_in;
use super::records::records;
use super::training_images::{Images, Place};
use crate::finding::{Finding, FindingKind};
use crate::sample::{Category, Label, Split};
use crate::text::names_of;

/// The normal images that a file names.
#[derive(Default)]
pub(super) struct LabelList {
    named: BTreeSet<Place>,
    /// Those that the file says to have a defect, with the words for it.
    defective: BTreeMap<Place, String>,
    /// Those that the file says to be normal.
    normal: BTreeSet<Place>,
}

impl LabelList {
    /// Reads a file. If its own name is a word for defects, the images that it names have defects, unless it says otherwise, or has numbers
    /// or booleans, which may.
    pub(super) fn of(file: &Path, images: &Images<'_>) -> Self {
        let is_image = |value: &str| images.have(value);
        let (mut list, mut has_flags) = (Self::default(), false);
        let records = records(file, &is_image);
        let has_products = images.have_product(records.iter().filter_map(|record| product_in(&record.0, &is_image)));
        for record in records {
            let product = product_in(&record.0, &is_image).filter(|_| has_products);
            let label = record.label(&is_image);
            has_flags |= record.has_flag(&is_image);
            for place in record.images(&is_image).filter_map(|name| images.mentioned_of(name, product, file)) {
                list.named.insert(place);
                match &label {
                    Some(Label::Anomalous(kind)) => _ = list.defective.insert(place, kind.clone()),
                    Some(Label::Normal) => _ = list.normal.insert(place),
                    None => {}
                }
            }
        }
        let name = stem(file).to_string_lossy();
        if label_of(stem(file)) == Stated::Defective
            && list.defective.is_empty()
            && list.normal.is_empty()
            && !has_flags
        {
            list.defective = list.named.iter().map(|place| (*place, name.to_string())).collect();
        }
        if let Some(word) = list.one_word_of_most(images) {
            list.defective.retain(|_, own| *own != word);
            list.normal.clear();
        }
        list
    }

    /// Returns the word that alone stands beside most images to train on: it may be the name of the product.
    fn one_word_of_most(&self, images: &Images<'_>) -> Option<String> {
        let is_trained = |place: &Place| images.split(*place) == Split::Train;
        let defective = || self.defective.iter().filter(|(place, _)| is_trained(place));
        let words: HashSet<&String> = defective().map(|(_, word)| word).collect();
        let of: HashSet<usize> =
            self.named.iter().filter(|place| is_trained(place)).map(|(category, _)| *category).collect();
        let is_most = words.len() == 1 && 2 * defective().count() > images.trained_of(&of);
        words.into_iter().next().filter(|_| is_most).cloned()
    }

    /// Returns whether the file says of an image whether it has a defect.
    pub(super) fn has_labels(&self) -> bool {
        !self.defective.is_empty() || !self.normal.is_empty()
    }

    /// Returns the images that have a defect, with the words for it.
    pub(super) fn defects(&self) -> impl Iterator<Item = (Place, &str)> {
        self.defective.iter().map(|(place, label)| (*place, label.as_str()))
    }

    /// Reports a file whose name says that it has labels, if it does not say in words which images to train on have defects.
    pub(super) fn report(
        &self,
        file: &Path,
        images: &Images<'_>,
        categories: &[Category],
        findings: &mut Vec<Finding>,
    ) {
        let trained = |places: &BTreeSet<Place>| -> Vec<Place> {
            places.iter().copied().filter(|place| images.split(*place) == Split::Train).collect()
        };
        let named = trained(&self.named);
        let is_open = named.len() > trained(&self.normal).len() && self.defective.is_empty();
        let says_labels = means_labels(stem(file)) || label_of(stem(file)) == Stated::Defective;
        let is_told = findings.iter().any(|finding| finding.path == file);
        let Some((first, _)) = named.first().filter(|_| is_open && says_labels && !is_told) else { return };
        let sample = |(category, sample): &Place| categories.get(*category)?.samples.get(*sample);
        let names: Vec<String> = named.iter().filter_map(sample).map(|sample| images.short(&sample.path)).collect();
        let Advice { why, how } = advice(file);
        let what = format!(
            "it names {} of the {} images to train on ({}), and is not read, because {why}; if it says that some have defects, move these to \
             test/<type of defect>; to have it read, {how}",
            names.len(),
            images.trained(),
            names_of(&names)
        );
        let category = categories.get(*first).map_or("", |category| category.name.as_str());
        findings.push(Finding::new(FindingKind::UnclearLabel, category, file, what));
    }
}
