//! A table of images: CSV or JSON lines.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::columns::{CATEGORY, COLUMNS, LABEL, LABEL_INDEX, MASK, PATH, SPLIT, is};
use super::divide::{divide, is_unclear, split};
use super::encoding::utf8;
use super::files::{bytes, files_with, images_below, json_error, parent};
use super::left_out::LeftOut;
use super::listing::{Folder, display_name, list};
use super::names::holds_labels;
use super::near_names::hint;
use super::record::{Cell, counting, product_in};
use super::records::scalar;
use super::separated::{delimiter, is_hint, lines, with_line_feeds, without_hint};
use super::table_labels::{Cells, Tally};
use super::table_path::{Places, check_category};
use super::table_repeats::Repeats;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::image_name::has_ending;
use crate::sample::{Category, Label, Sample, Split};
use crate::text::shown;

/// The extensions of tables with separators, and of tables with a JSON object in each line.
const CSV: [&str; 2] = ["csv", "tsv"];
const LINES: [&str; 2] = ["jsonl", "ndjson"];

/// The largest number of rows of a table that is read.
const MAX_ROWS: usize = 500_000;

/// The rows of a table, and the names of its columns in the file.
struct Rows {
    names: [String; COLUMNS.len()],
    rows: Vec<Row>,
}

/// A row of a table. A value that is missing is empty.
struct Row {
    line: u64,
    values: [String; COLUMNS.len()],
    /// The values of other columns.
    others: Vec<Cell>,
}

impl Row {
    /// Returns the cells that tell the label.
    fn cells<'r>(&'r self, names: &'r [String; COLUMNS.len()]) -> Cells<'r> {
        let Self { values, others, .. } = self;
        Cells {
            label: &values[LABEL],
            index: &values[LABEL_INDEX],
            names: [&names[LABEL], &names[LABEL_INDEX]],
            others,
        }
    }
}

/// Returns whether a file is named like a table.
pub(super) fn is_table(path: &Path) -> bool {
    has_ending(path, &CSV) || has_ending(path, &LINES)
}

/// Returns the tables directly in a folder: the files whose columns name images and their labels.
pub(super) fn tables(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = files_with(folder, &[&CSV[..], &LINES[..]].concat())?;
    found.retain(|path| names_images(path));
    Ok(found)
}

/// Returns whether the first line of a table has the columns of images and labels.
pub(super) fn names_images(path: &Path) -> bool {
    let Some(first) = head(path) else { return false };
    let names: Vec<String> = if has_ending(path, &CSV) {
        let names = first.split(delimiter(first.as_bytes()) as char);
        names.map(|name| name.trim().trim_matches('"').to_string()).collect()
    } else {
        serde_json::from_str::<Map<String, Value>>(&first).map_or(Vec::new(), |object| object.keys().cloned().collect())
    };
    let has = |column: usize| names.iter().any(|name| is(column, name));
    has(PATH) && (has(LABEL) || has(LABEL_INDEX))
}

/// Returns at most the first 64 KiB of a table, in UTF-8.
pub(super) fn beginning(path: &Path) -> Option<Vec<u8>> {
    const HEAD: u64 = 1 << 16;
    let mut head = Vec::new();
    // Opening a pipe may never end.
    let file = path.is_file().then(|| std::fs::File::open(path).ok()).flatten()?;
    file.take(HEAD).read_to_end(&mut head).ok()?;
    Some(utf8(head))
}

/// Returns the first line of a table that is not empty.
fn head(path: &Path) -> Option<String> {
    let head = beginning(path)?;
    let head = String::from_utf8_lossy(&head);
    lines(&head).find(|line| !line.trim().is_empty() && !is_hint(line)).map(String::from)
}

/// Returns the beginning of the first line of a table, for messages.
pub(super) fn first_line(path: &Path) -> Option<String> {
    const SHOWN: usize = 40;
    let line = head(path)?;
    let short: String = line.trim().chars().take(SHOWN).collect();
    Some(if short.len() < line.trim().len() { format!("{short}..") } else { short })
}

/// Reads the categories of a table, or of the only table in a folder.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let table = table_of(root)?;
    let folder = parent(&table);
    let Rows { names, rows } = rows_of(&table, MAX_ROWS)?;
    let names = named_columns(names);
    if rows.is_empty() {
        let reason = "it has no lines below the names of its columns; write one for each image".into();
        return Err(Error::Table { path: table, line: 1, reason });
    }
    let at = |line, reason: String| Error::Table { path: table.clone(), line, reason };
    let divided = rows.iter().any(|row| !row.values[SPLIT].is_empty());
    let (mut repeats, unnamed) = (Repeats::default(), display_name(folder));
    let mut categories = BTreeMap::<String, Vec<(Option<Split>, Sample)>>::new();
    let (mut named, mut unclear) = (HashSet::new(), BTreeSet::new());
    let (mut missing, mut missing_masks) = (Vec::new(), Vec::new());
    let mut tally = Tally::default();
    let mut places = Places::new(folder);
    for row in rows {
        let cells = row.cells(&names);
        let Row { line, values, .. } = &row;
        let line = *line;
        let mut path_of = |column: usize, value: &str| {
            places.path(value).map_err(|reason| at(line, format!("column {} {reason}", names[column])))
        };
        let path = path_of(PATH, &values[PATH])?;
        let category = if values[CATEGORY].is_empty() { unnamed.clone() } else { values[CATEGORY].clone() };
        if !categories.contains_key(&category) {
            check_category(folder, &category).map_err(|reason| at(line, format!("column category {reason}")))?;
        }
        let label = cells.read().map_err(|reason| at(line, reason))?;
        if let Label::Anomalous(kind) = &label
            && is_unclear(kind)
            && unclear.insert((category.clone(), kind.clone()))
        {
            let what = format!(
                "line {line}: column {} is \"{kind}\", which counts as a type of defect; if it means no defect, write normal",
                names[LABEL]
            );
            findings.push(Finding::new(FindingKind::UnclearLabel, &category, &table, what));
        }
        let use_of = match values[SPLIT].as_str() {
            "" if divided => {
                return Err(at(
                    line,
                    "column split is empty; write train or test, or leave it empty in all rows".into(),
                ));
            }
            // anomalib names normal test images so.
            "" => values[LABEL].eq_ignore_ascii_case("normal_test").then_some(Split::Test),
            name => Some(
                split(name).ok_or_else(|| at(line, format!("column split is \"{name}\"; write train, val or test")))?,
            ),
        };
        let mut sample = Sample::new(path, &category, Split::Train, label);
        sample.mask_rule = MaskRule::NonZero;
        if !values[MASK].is_empty() {
            let mask = path_of(MASK, &values[MASK])?;
            named.insert(mask.clone());
            // The mask of a normal image shows a wrong label, if it marks a defect.
            if sample.label.is_anomalous() || mask.exists() {
                sample.masks.push(mask);
            } else {
                missing_masks.push((line, values[MASK].clone()));
            }
        }
        if let Some((category, place)) = repeats.earlier(&sample, use_of).map_err(|reason| at(line, reason))? {
            // Some tables have a line for each defect.
            let known = categories.get_mut(&category).and_then(|images| images.get_mut(place));
            let masks = known.map(|(_, known)| &mut known.masks);
            let other = sample.masks.pop().filter(|mask| masks.as_ref().is_some_and(|masks| !masks.contains(mask)));
            repeats.again(line, &sample.path, other.is_some());
            masks.into_iter().for_each(|masks| masks.extend(other.clone()));
            continue;
        }
        tally.add(&category, &cells, &sample.label, use_of);
        if !sample.path.exists() {
            missing.push((line, values[PATH].clone()));
        }
        named.insert(sample.path.clone());
        let images = categories.entry(category.clone()).or_default();
        repeats.add(line, &sample, use_of, (category, images.len()));
        images.push((use_of, sample));
    }
    repeats.report(&table, findings);
    if let Some((line, value)) = missing.first() {
        let below = images_below(folder).unwrap_or_default();
        let found = hint(value, &below, folder);
        let what = format!(
            "{} names images that are not there: {} (such as line {line}: \"{value}\"{found}); paths are relative to {}: correct the column \
             {}, or move the table or the images",
            shown(&table),
            missing.len(),
            folder.display(),
            names[PATH]
        );
        findings.push(Finding::new(FindingKind::Unreadable, "", &table, what));
    }
    if let Some((line, value)) = missing_masks.first() {
        let what = format!(
            "masks of normal images that it names are not there: {} (such as line {line}: \"{value}\"), so nothing tells whether they mark \
             defects; correct the column {}, or leave it empty",
            missing_masks.len(),
            names[MASK]
        );
        findings.push(Finding::new(FindingKind::UnclearLabel, "", &table, what));
    }
    tally.report(&table, findings);
    // Images that the table names by other paths are no others.
    if missing.is_empty() {
        not_named(&table, &named, findings)?;
    }
    Ok(categories.into_iter().map(|(name, images)| divide(&name, folder, images, findings)).collect())
}

/// Returns the names of the columns for messages: those in the file, or the usual ones.
fn named_columns(mut names: [String; COLUMNS.len()]) -> [String; COLUMNS.len()] {
    if names[LABEL].is_empty() {
        names[LABEL] = names[LABEL_INDEX].clone();
    }
    for (name, known) in names.iter_mut().zip(COLUMNS) {
        if name.is_empty() {
            *name = known[0].into();
        }
    }
    names
}

/// Reports images that a table does not name: beside those that it names, and in folders of which it names nothing.
fn not_named(table: &Path, named: &HashSet<PathBuf>, findings: &mut Vec<Finding>) -> Result<()> {
    let advice = format!(
        "{} does not name them; add lines for them (label normal if they have no defect), or move them away",
        table.display()
    );
    let folders: BTreeSet<&Path> = named.iter().filter_map(|path| path.parent()).collect();
    for folder in &folders {
        // A folder that cannot be listed has images that cannot be read, which the check reports.
        let images = list(folder).map_or(Vec::new(), |listing| listing.images);
        let others: Vec<&PathBuf> = images.iter().filter(|path| !named.contains(*path)).collect();
        LeftOut { top: folder, category: "", findings }.unlisted(folder, &others, &advice);
    }
    let top = parent(table);
    let inside = list(top)?.folders;
    // Masks without a line are masks of no image.
    let is_other =
        |folder: &&Folder| !holds_labels(&folder.name) && !folders.iter().any(|named| named.starts_with(&folder.path));
    LeftOut { top, category: "", findings }.unlisted_folders(inside.iter().filter(is_other), &advice);
    Ok(())
}

/// The label of an image in a table that lies beside a dataset of another layout.
pub(super) struct Labelled {
    /// The image, with `/` between the parts of its path.
    pub(super) path: String,
    pub(super) label: Label,
    /// The product, if a column tells it.
    pub(super) product: Option<String>,
    /// True for a number or a boolean that may mean anything.
    pub(super) is_bare: bool,
}

/// Returns the fault of a table with the columns of images and labels that cannot be read.
pub(super) fn fault(table: &Path) -> Option<Error> {
    rows_of(table, usize::MAX).err()
}

/// Returns the labels of a table. Rows that are not valid are left out.
pub(super) fn labels(table: &Path) -> Vec<Labelled> {
    // Of a table that is not the dataset, little of a row is kept.
    let Ok(Rows { names, rows }) = rows_of(table, usize::MAX) else { return Vec::new() };
    let labelled = |row: Row| {
        let (cells, path) = (row.cells(&names), row.values[PATH].replace('\\', "/"));
        let of_category = Some(row.values[CATEGORY].as_str()).filter(|name| !name.is_empty());
        let product = of_category.or_else(|| product_in(&row.others, &|_| false)).map(String::from);
        Some(match cells.contradiction() {
            Some(word) => Labelled { path, label: Label::Anomalous(word), product, is_bare: false },
            None => Labelled { path, label: cells.read().ok()?, product, is_bare: cells.may_mean_anything() },
        })
    };
    rows.into_iter().filter_map(labelled).collect()
}

/// Returns the table that is read: the file itself, or the only one in a folder.
pub(super) fn table_of(root: &Path) -> Result<PathBuf> {
    if root.is_file() { Ok(root.to_path_buf()) } else { only(root) }
}

/// Returns the only table in a folder.
fn only(folder: &Path) -> Result<PathBuf> {
    let found = tables(folder)?;
    let reason = if found.is_empty() {
        "no table in it (csv, tsv, jsonl, ndjson) has the columns path and label".to_string()
    } else {
        let names: Vec<String> = found.iter().take(5).map(|path| path.display().to_string()).collect();
        format!("{} tables in it name images ({}); open one of them by its path", found.len(), names.join(", "))
    };
    <[PathBuf; 1]>::try_from(found).map(|[table]| table).map_err(|_| Error::Layout { path: folder.into(), reason })
}

/// Reads the rows of a table. More than `most` are an error.
fn rows_of(table: &Path, most: usize) -> Result<Rows> {
    let mut found = if has_ending(table, &LINES) { json_lines(table, most) } else { csv(table, most) }?;
    let counting = counting(found.rows.iter().flat_map(|row| &row.others));
    if !counting.is_empty() {
        found.rows.iter_mut().for_each(|row| row.others.retain(|cell| !counting.contains(&cell.key)));
    }
    Ok(found)
}

/// Returns the error of a table of too many rows.
fn too_long(table: &Path, line: u64, most: usize) -> Error {
    let reason = format!("it has more than {most} rows; divide the table, such as into one for each product");
    Error::Table { path: table.into(), line, reason }
}

/// Reads a table with separators.
fn csv(table: &Path, most: usize) -> Result<Rows> {
    let text = with_line_feeds(bytes(table)?);
    let (text, before) = without_hint(&text);
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.flexible(true).trim(csv::Trim::All).delimiter(delimiter(text)).from_reader(text);
    let fault = |error| after(before, csv_error(table, error));
    let headers = reader.headers().map_err(fault)?.clone();
    let named = |column| headers.iter().enumerate().filter(move |(_, header)| is(column, header));
    for column in 0..COLUMNS.len() {
        let mut found = named(column);
        if let (Some((_, one)), Some((_, other))) = (found.next(), found.next()) {
            return Err(Error::Table { path: table.into(), line: 1, reason: twice(column, one, other) });
        }
    }
    let columns: [Option<usize>; COLUMNS.len()] = std::array::from_fn(|column| Some(named(column).next()?.0));
    let names = columns.map(|column| column.and_then(|column| headers.get(column)).unwrap_or_default().to_string());
    let has_labels = columns[LABEL].is_some() || columns[LABEL_INDEX].is_some();
    if columns[PATH].is_none() || !has_labels {
        let missing = if columns[PATH].is_none() { "path" } else { "label" };
        let reason = format!(
            "there is no column \"{missing}\"; the table needs path and label, and may have category, split and mask"
        );
        return Err(Error::Table { path: table.into(), line: 1, reason });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fault)?;
        // Spreadsheets write such lines for rows that were emptied.
        if record.iter().all(str::is_empty) {
            continue;
        }
        let value = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
        let line = before + record.position().map_or(1, csv::Position::line);
        if record.len() != headers.len() {
            return Err(Error::Table { path: table.into(), line, reason: unequal(record.len(), headers.len()) });
        }
        if rows.len() == most {
            return Err(too_long(table, line, most));
        }
        let is_other = |column: &usize| !columns.contains(&Some(*column));
        let pairs = headers.iter().zip(record.iter()).enumerate().filter(|(column, _)| is_other(column));
        let others = pairs.filter(|(_, (_, value))| !value.is_empty()).map(|(_, (name, value))| Cell::new(name, value));
        rows.push(Row { line, values: columns.map(|column| value(column).to_string()), others: others.collect() });
    }
    Ok(Rows { names, rows })
}

/// Describes two columns with the same meaning.
fn twice(column: usize, one: &str, other: &str) -> String {
    let meaning = COLUMNS[column][0];
    if one.eq_ignore_ascii_case(other) {
        format!("the column \"{one}\" is there twice; remove or rename one of the two")
    } else {
        format!("the columns \"{one}\" and \"{other}\" both mean {meaning}; remove or rename one of the two")
    }
}

/// Describes a row that has not as many values as there are columns.
fn unequal(values: usize, columns: usize) -> String {
    format!("{values} fields, but the first line names {columns}; write one value per column")
}

/// Returns a fault of the lines after others.
fn after(before: u64, error: Error) -> Error {
    match error {
        Error::Table { path, line, reason } => Error::Table { path, line: line + before, reason },
        error => error,
    }
}

/// Describes a fault of a table with separators.
pub(super) fn csv_error(table: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    let reason = match error.into_kind() {
        csv::ErrorKind::Io(error) => return Error::Io { action: "read", path: table.into(), error },
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8; save the table as UTF-8".into(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => unequal(len as usize, expected_len as usize),
        _ => "it is not a table of comma-separated values".into(),
    };
    Error::Table { path: table.into(), line, reason }
}

/// The keys and values of a JSON object, repeated keys included.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// Reads a table with a JSON object in each line.
fn json_lines(table: &Path, most: usize) -> Result<Rows> {
    let text = bytes(table)?;
    let (mut rows, mut names) = (Vec::new(), COLUMNS.map(|_| String::new()));
    for (index, text) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = index as u64 + 1;
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let at = |reason| Error::Table { path: table.into(), line, reason };
        if rows.len() == most {
            return Err(too_long(table, line, most));
        }
        let Pairs(pairs) = serde_json::from_slice(text).map_err(|error| json_error(table, line, text, &error))?;
        let mut row = Row { line, values: Default::default(), others: Vec::new() };
        let mut seen = COLUMNS.map(|_| None::<String>);
        for (name, value) in pairs {
            let Some(column) = (0..COLUMNS.len()).find(|&column| is(column, &name)) else {
                row.others.extend(others(&value).iter().map(|value| Cell::new(&name, value)));
                continue;
            };
            if value.is_null() {
                continue;
            }
            if let Some(earlier) = &seen[column] {
                return Err(at(twice(column, earlier, &name)));
            }
            row.values[column] = match value {
                Value::Null => String::new(),
                Value::String(text) => text.trim().to_string(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(at(format!("\"{name}\" is a list or an object; write a text")));
                }
            };
            if names[column].is_empty() {
                names[column].clone_from(&name);
            }
            seen[column] = Some(name);
        }
        rows.push(row);
    }
    Ok(Rows { names, rows })
}

/// Returns the texts of a value of another key: its own, or those in a list. A list of objects says something, too.
fn others(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) if values.iter().any(Value::is_object) => vec!["[..]".into()],
        // Numbers in a list are features, sizes and the like.
        Value::Array(values) => values.iter().filter(|value| !value.is_number()).filter_map(scalar).collect(),
        value => scalar(value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_table_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"path": "a", "label": "ok"}"#;
        for (name, text) in
            [("a.csv", "path,label\na,ok\nb,ok\n".to_string()), ("a.jsonl", format!("\n{line}\n{line}\n"))]
        {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            assert!(rows_of(&file, 2).is_ok_and(|table| table.rows.len() == 2));
            let error = rows_of(&file, 1).map(|table| table.rows.len()).unwrap_err().to_string();
            assert!(error.contains("line 3: it has more than 1 rows; divide the table"), "{error}");
        }
    }
}
