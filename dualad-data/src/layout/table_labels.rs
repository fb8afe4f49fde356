//! The labels in tables: their meaning, and the findings where it is not stated.

use std::collections::BTreeMap;
use std::path::Path;

use super::answers::{number, truth};
use super::divide::is_normal;
use super::names::{Stated, label_of};
use super::record::Cell;
use crate::finding::{Finding, FindingKind};
use crate::sample::{Label, Split};
use crate::text::names_of;

/// The type of defect of an image that has a number or a boolean as its label.
const ANOMALOUS: &str = "anomaly";

/// The words of normal images, for messages.
const KNOWN: &str =
    "normal images have the label normal, good, ok, 0 or false, and any other label is a type of defect";

/// The cells of a row that tell its label, and the names of their columns in the file.
pub(super) struct Cells<'a> {
    pub(super) label: &'a str,
    pub(super) index: &'a str,
    pub(super) names: [&'a str; 2],
    /// The cells of columns that the table does not need. They may contradict the label.
    pub(super) others: &'a [Cell],
}

impl Cells<'_> {
    /// Returns the label.
    pub(super) fn read(&self) -> Result<Label, String> {
        let label = self.stated()?;
        match self.others.iter().find(|cell| !label.is_anomalous() && cell.defect().is_some()) {
            Some(Cell { key, value }) => {
                let (column, text) = self.deciding();
                Err(format!(
                    "column {column} is \"{text}\", but column {key} is \"{value}\"; correct one, or remove the column {key}"
                ))
            }
            None => Ok(label),
        }
    }

    /// Returns the word for a defect of a row of which one column says that there is one, and another that there is none.
    pub(super) fn contradiction(&self) -> Option<String> {
        match self.stated() {
            Ok(Label::Anomalous(_)) => None,
            Ok(Label::Normal) => self.others.iter().find_map(Cell::defect),
            Err(_) => {
                let is_anomalous = |label: &str, index: &str| {
                    let cells = Cells { label, index, others: &[], ..*self };
                    cells.stated().is_ok_and(|label| label.is_anomalous())
                };
                let found = [is_anomalous(self.label, ""), is_anomalous("", self.index)];
                let word = if found[0] { self.label } else { ANOMALOUS };
                found.contains(&true).then(|| word.to_string())
            }
        }
    }

    /// Returns the label by the columns for it.
    fn stated(&self) -> Result<Label, String> {
        let Self { label: text, index, names: [label_name, index_name], .. } = self;
        if says_both(text) {
            return Err(format!(
                "column {label_name} is \"{text}\", which says that it is normal and that it is not; write one of them"
            ));
        }
        let is_flag = number(index).is_none_or(|number| number == 0.0 || number == 1.0);
        let by_index = truth(index).filter(|_| is_flag);
        if by_index.is_none() && !index.is_empty() {
            return Err(format!("column {index_name} is \"{index}\"; write 0 for normal, 1 for anomalous"));
        }
        let by_text = match (text.to_ascii_lowercase().as_str(), number(text)) {
            ("", _) => None,
            ("normal_test" | "false", _) | (_, Some(0.0)) => Some(Label::Normal),
            (name, _) if is_normal(name) => Some(Label::Normal),
            ("true", _) | (_, Some(1.0)) => Some(Label::Anomalous(ANOMALOUS.into())),
            _ => Some(Label::Anomalous((*text).into())),
        };
        match (by_text, by_index) {
            (Some(label), Some(index)) if label.is_anomalous() != index => {
                let index = u8::from(index);
                Err(format!("column {label_name} is \"{text}\", but column {index_name} is {index}; correct one"))
            }
            (Some(label), _) => Ok(label),
            (None, Some(index)) => Ok(if index { Label::Anomalous(ANOMALOUS.into()) } else { Label::Normal }),
            (None, None) if self.label.is_empty() && index_name == label_name => {
                Err(format!("column {label_name} is empty; write 0 for normal, 1 for anomalous"))
            }
            (None, None) => Err(format!("column {label_name} is empty; write normal or the type of the defect")),
        }
    }

    /// Returns whether the label is a number or a boolean in a column that does not say its meaning.
    pub(super) fn may_mean_anything(&self) -> bool {
        let (column, value) = self.deciding();
        is_bare(value) && !states_meaning(column)
    }

    /// Returns the name of the column that decides, and its value.
    fn deciding(&self) -> (&str, &str) {
        let [label, index] = self.names;
        if self.label.is_empty() { (index, self.index) } else { (label, self.label) }
    }
}

/// Returns whether a label names normal and defective images: `OK/NOK`.
fn says_both(label: &str) -> bool {
    let parts = || label.split(['/', '|', ',', ';', '+', '&']);
    parts().any(is_normal) && parts().any(|part| label_of(part.as_ref()) == Stated::Defective)
}

/// Returns whether a value says nothing about its meaning: a number or a boolean.
fn is_bare(value: &str) -> bool {
    truth(value).is_some()
}

/// Returns whether a column's name says what its numbers mean: `is_anomaly`, `is_defective`.
fn states_meaning(column: &str) -> bool {
    column.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("is_"))
}

/// Images by their label: normal and anomalous ones.
#[derive(Default, Clone, Copy)]
struct Counts {
    normal: usize,
    anomalous: usize,
}

impl Counts {
    fn add(&mut self, label: &Label) {
        *(if label.is_anomalous() { &mut self.anomalous } else { &mut self.normal }) += 1;
    }

    fn are_mostly_anomalous(self) -> bool {
        self.anomalous > self.normal
    }
}

/// The labels of a table.
#[derive(Default)]
pub(super) struct Tally {
    /// The images with each number or boolean, by whether it means an anomaly.
    bare: BTreeMap<(bool, String), usize>,
    /// The column of the first of them.
    column: String,
    /// True if a number or boolean is in a column that does not say its meaning.
    is_unstated: bool,
    /// All images, and those to train on.
    all: Counts,
    train: Counts,
    /// The labels of each category.
    categories: BTreeMap<String, (Counts, BTreeMap<String, usize>)>,
}

impl Tally {
    /// Counts an image.
    pub(super) fn add(&mut self, category: &str, cells: &Cells<'_>, label: &Label, use_of: Option<Split>) {
        let (column, value) = cells.deciding();
        if is_bare(value) {
            if self.bare.is_empty() {
                self.column = column.into();
            }
            *self.bare.entry((label.is_anomalous(), value.into())).or_default() += 1;
            self.is_unstated |= !states_meaning(column);
        }
        self.all.add(label);
        if use_of == Some(Split::Train) {
            self.train.add(label);
        }
        let (counts, labels) = self.categories.entry(category.into()).or_default();
        counts.add(label);
        *labels.entry(value.into()).or_default() += 1;
    }

    /// Reports the meaning that numbers and booleans have, and categories without a normal image.
    pub(super) fn report(self, table: &Path, findings: &mut Vec<Finding>) {
        let mut add = |kind, category: &str, what| findings.push(Finding::new(kind, category, table, what));
        if !self.bare.is_empty() {
            let read = |((anomalous, value), count): (&(bool, String), &usize)| {
                format!("{value} is read as {} ({})", if *anomalous { "anomalous" } else { "normal" }, images(*count))
            };
            let read: Vec<String> = self.bare.iter().map(read).collect();
            add(FindingKind::Choice, "", format!("{} {}", self.column, names_of(&read)));
        }
        let of = |counts: Counts, place| {
            (self.is_unstated && counts.are_mostly_anomalous()).then(|| {
                let Counts { normal, anomalous } = counts;
                format!(
                    "of the images {place}, {anomalous} are read as anomalous and {normal} as normal, because 0 and false mean normal; if \
                     they mean defective here, the labels are the wrong way round: write the words normal and anomalous in the column {}",
                    self.column
                )
            })
        };
        if let Some(what) = of(self.train, "with the split train").or_else(|| of(self.all, "in it")) {
            add(FindingKind::UnclearLabel, "", what);
        }
        for (category, (counts, labels)) in &self.categories {
            if counts.normal == 0 {
                let seen: Vec<String> =
                    labels.iter().map(|(value, count)| format!("\"{value}\" ({})", images(*count))).collect();
                let what = format!("none of the labels of its images means normal: {}; {KNOWN}", names_of(&seen));
                add(FindingKind::UnclearLabel, category, what);
            }
        }
    }
}

fn images(count: usize) -> String {
    if count == 1 { "1 image".into() } else { format!("{count} images") }
}
