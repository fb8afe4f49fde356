//! The columns of a table of images, and their names.

/// The names of each column. The first is the one that messages use.
pub(super) const COLUMNS: [&[&str]; 6] = [
    &["path", "image_path", "image", "file", "file_name", "filename", "datei", "dateiname", "bild", "bilddatei"],
    &["category", "object", "product", "produkt"],
    &["label", "defect_type", "ergebnis", "klasse"],
    &["label_index", "is_anomaly", "is_anomalous", "is_defect", "is_defective"],
    &["split"],
    &["mask", "mask_path", "maske"],
];
pub(super) const PATH: usize = 0;
pub(super) const CATEGORY: usize = 1;
pub(super) const LABEL: usize = 2;
pub(super) const LABEL_INDEX: usize = 3;
pub(super) const SPLIT: usize = 4;
pub(super) const MASK: usize = 5;

/// Returns whether a name is one of a column.
pub(super) fn is(column: usize, name: &str) -> bool {
    COLUMNS[column].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns whether a column of this name has no labels: that of the category, the split or the mask.
pub(super) fn says_no_label(name: &str) -> bool {
    [CATEGORY, SPLIT, MASK].iter().any(|column| is(*column, name))
}

/// Returns whether a column of this name has the product of an image, in a file of any form.
pub(super) fn names_product(name: &str) -> bool {
    const NAMES: [&str; 9] =
        ["article", "artikel", "bauteil", "item", "model", "part", "produit", "product_name", "teil"];
    is(CATEGORY, name) || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns whether a column of this name has labels.
pub(super) fn says_label(name: &str) -> bool {
    is(LABEL, name)
}
