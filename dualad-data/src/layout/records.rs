//! The records of a file that may hold labels, whatever its form.

use std::path::Path;

use serde_json::Value;

use super::files::bytes;
use super::labelme;
use super::record::{Cell, Record, counting, phrases};
use super::separated::{delimiter, has_separator};
use super::yaml;
use crate::error::Error;
use crate::image::{Limits, decode};
use crate::image_name::has_ending;
use crate::sample::Label;

/// The largest files that are read, in bytes. JSON and YAML take many times as much memory.
const MAX_TEXT: u64 = 16 << 20;
const MAX_TREE: u64 = 4 << 20;

/// Returns the records of a file that name an image. Of a file that is not valid, the records up to the fault are returned, or none.
pub(super) fn records(file: &Path, is_image: &dyn Fn(&str) -> bool) -> Vec<Record> {
    if !std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= limit(file)) {
        return Vec::new();
    }
    let Ok(text) = bytes(file) else { return Vec::new() };
    let mut found = all(file, &text, is_image);
    found.retain(|record| record.images(is_image).next().is_some());
    found
}

/// Returns the largest size of a file that is read, in bytes.
fn limit(file: &Path) -> u64 {
    if has_ending(file, &["json", "yaml", "yml"]) { MAX_TREE } else { MAX_TEXT }
}

/// Returns the error of a file that cannot be read, or is too large. A pipe has none: it is not opened.
pub(super) fn unread(file: &Path) -> Option<Error> {
    let limits = Limits::default().with_file_bytes(limit(file));
    file.is_file().then(|| decode::read(file, &limits).err()).flatten()
}

/// Returns the word by which a small file with the name of an image says that it has a defect: `NG`, `{"verdict": "NG"}`.
pub(super) fn verdict(file: &Path) -> Option<String> {
    const MOST: u64 = 1 << 16;
    let is_small = || std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MOST);
    let is_json = has_ending(file, &["json"]);
    if !(is_json || has_ending(file, &["txt"])) || !is_small() || is_json && labelme::is_labelme(file) {
        return None;
    }
    let is_image = |_: &str| false;
    let records = all(file, &bytes(file).ok()?, &is_image);
    let mut labels = records.iter().filter_map(|record| record.label(&is_image));
    labels.find_map(|label| match label {
        Label::Anomalous(kind) => Some(kind),
        Label::Normal => None,
    })
}

/// Returns the records of the content of a file, whatever they name.
fn all(file: &Path, text: &[u8], is_image: &dyn Fn(&str) -> bool) -> Vec<Record> {
    let is = |endings: &[&str]| has_ending(file, endings);
    let mut found = Vec::new();
    let is_table = is(&["csv", "tsv"]);
    if is_table && has_separator(text) {
        found = of_table(text, is_image);
    } else if is(&["json"]) {
        if let Ok(value) = serde_json::from_slice(text) {
            of_json(&value, "", is_image, &mut found);
        }
    } else if is(&["jsonl", "ndjson"]) {
        for line in text.split(|&byte| byte == b'\n') {
            if let Ok(value) = serde_json::from_slice(line.trim_ascii()) {
                of_json(&value, "", is_image, &mut found);
            }
        }
    } else if is(&["yaml", "yml"]) {
        for value in yaml::values(&String::from_utf8_lossy(text)) {
            of_json(&value, "", is_image, &mut found);
        }
    } else if is_table || is(&["log", "lst", "txt"]) {
        found = of_text(&String::from_utf8_lossy(text), is_image);
    }
    found
}

/// Returns the records of the lines of a text. A line that ends with a colon, without an image in it, is the heading of the lines after it,
/// up to an empty one.
fn of_text(text: &str, is_image: &dyn Fn(&str) -> bool) -> Vec<Record> {
    let (mut found, mut heading) = (Vec::new(), None::<Cell>);
    for line in text.lines().map(str::trim) {
        let mut record = of_line(line, is_image);
        let has_image = record.images(is_image).next().is_some();
        match line.strip_suffix(':') {
            Some(text) if !has_image => heading = Some(Cell::new("", text)),
            _ if line.is_empty() => heading = None,
            _ => {
                record.0.extend(heading.clone());
                found.push(record);
            }
        }
    }
    found
}

/// Returns the records of a table. Its first line names the columns, unless it names an image.
fn of_table(text: &[u8], is_image: &dyn Fn(&str) -> bool) -> Vec<Record> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter(text));
    let (mut found, mut keys) = (Vec::new(), None::<Vec<String>>);
    for row in reader.from_reader(text).byte_records().map_while(Result::ok) {
        let values: Vec<String> = row.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        let is_heading = keys.is_none() && !values.iter().any(|value| is_image(value));
        let names = keys.get_or_insert_with(|| if is_heading { values.clone() } else { Vec::new() });
        if !is_heading {
            let key = |column: usize| names.get(column).map_or("", String::as_str);
            found.push(Record(values.iter().enumerate().map(|(index, value)| Cell::new(key(index), value)).collect()));
        }
    }
    let counting = counting(found.iter().flat_map(|Record(cells)| cells));
    if !counting.is_empty() {
        found.iter_mut().for_each(|Record(cells)| cells.retain(|cell| !counting.contains(&cell.key)));
    }
    found
}

/// Returns the values of a line of a text.
fn of_line(line: &str, is_image: &dyn Fn(&str) -> bool) -> Record {
    const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];
    // A heading of the names in the same line: `bad parts: a, b`.
    let is_heading = |text: &str| is_image(text) || !text.split_whitespace().any(is_image);
    let (heading, line) = line.split_once(": ").filter(|(heading, _)| is_heading(heading)).unwrap_or(("", line));
    let plain =
        |value: &str| value.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ':')).to_owned();
    let values: Vec<String> = if line.contains(SEPARATORS) {
        line.split(SEPARATORS).map(plain).collect()
    } else {
        let words: Vec<String> = line.split_whitespace().map(plain).collect();
        words.chunk_by(|a, b| !is_image(a) && !is_image(b)).flat_map(phrases).collect()
    };
    let values = std::iter::once(plain(heading)).chain(values).filter(|value| !value.is_empty());
    Record(values.map(|value| Cell::new("", &value)).collect())
}

/// Adds the records of a value of JSON or YAML. `heading` is the key that it lies under.
fn of_json(value: &Value, heading: &str, is_image: &dyn Fn(&str) -> bool, found: &mut Vec<Record>) {
    match value {
        Value::Array(values) => {
            let scalars: Vec<String> = values.iter().filter_map(scalar).collect();
            let is_list = scalars.iter().filter(|value| is_image(value)).count() != 1;
            if is_list {
                found.extend(scalars.iter().map(|value| Record(vec![Cell::new(heading, value)])));
            } else {
                found.push(Record(scalars.iter().map(|value| Cell::new(heading, value)).collect()));
            }
            for inner in values.iter().filter(|value| scalar(value).is_none()) {
                of_json(inner, heading, is_image, found);
            }
        }
        Value::Object(entries) => {
            let mut record = vec![Cell::new("", heading)];
            for (key, value) in entries {
                if is_image(key) {
                    let mut of_image = vec![Cell::new(heading, key)];
                    add_values(value, "", &mut of_image);
                    found.push(Record(of_image));
                } else if scalar(value).is_some() {
                    add_values(value, key, &mut record);
                }
            }
            let is_record = record.iter().any(|cell| is_image(&cell.value));
            for (key, value) in entries.iter().filter(|(key, value)| !is_image(key) && scalar(value).is_none()) {
                if is_record {
                    add_values(value, key, &mut record);
                } else {
                    of_json(value, key, is_image, found);
                }
            }
            found.push(Record(record));
        }
        _ => {}
    }
}

/// Adds the values in a JSON value with their keys.
fn add_values(value: &Value, key: &str, cells: &mut Vec<Cell>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| add_values(value, key, cells)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| add_values(value, key, cells)),
        value => cells.extend(scalar(value).map(|value| Cell::new(key, &value))),
    }
}

/// Returns a text, a number or a boolean as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the images that a file names, each with its label: `-` for a normal one, and `?` without a label.
    fn labels(name: &str, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let is_image = |value: &str| value.ends_with(".png");
        let mut found = Vec::new();
        for record in records(&file, &is_image) {
            let label = match record.label(&is_image) {
                Some(Label::Anomalous(kind)) => kind,
                Some(Label::Normal) => "-".into(),
                None => "?".into(),
            };
            found.extend(record.images(&is_image).map(|image| format!("{} {label}", image.trim_end_matches(".png"))));
        }
        found.join(", ")
    }

    #[test]
    fn files_of_every_form_have_records() {
        for (name, text) in [
            ("a.csv", "img,fault\n1.png,scratch\n2.png,ok\n3.png,X7\n"),
            ("a.tsv", "1.png\tscratch\n2.png\tgood\n3.png\t\n"),
            ("a.csv", "\"Aufnahme\";\"Urteil\"\n\"1.png\";\"scratch\"\n2.png;iO\n3.png;?\n"),
            ("a.txt", "1.png scratch\n2.png ok\n3.png 0\n"),
            ("a.txt", "1.png, scratch\n2.png, ok\n3.png, 0\n"),
            ("a.json", r#"{"1.png": "scratch", "2.png": "ok", "3.png": 4}"#),
            ("a.json", r#"{"1.png": {"type": "scratch"}, "2.png": ["ok"], "3.png": []}"#),
            (
                "a.json",
                r#"{"all": [{"f": "1.png", "l": "scratch"}, {"f": "2.png", "l": {"m": ["ok"]}}, {"f": "3.png"}]}"#,
            ),
            ("a.json", r#"[["1.png", "scratch"], ["2.png", "ok"], ["3.png", 0]]"#),
            (
                "a.jsonl",
                "{\"f\": \"1.png\", \"l\": \"scratch\"}\n\n{\"f\": \"2.png\", \"l\": \"ok\"}\n{\"f\": \"3.png\"}",
            ),
            ("a.yaml", "1.png: scratch\n2.png: ok # seen\n3.png:\n"),
            ("a.yml", "- image: 1.png\n  label: scratch\n- label: ok\n  image: 2.png\n- image: 3.png\n"),
        ] {
            assert_eq!(labels(name, text), "1 scratch, 2 -, 3 ?", "{text}");
        }
    }

    #[test]
    fn a_denial_in_a_line_of_text_counts_for_the_next_word_of_a_label() {
        for (said, label) in [
            ("not ok", "not ok"),
            ("not good", "not good"),
            ("no longer ok", "no ok"),
            ("nicht mehr gut", "nicht gut"),
            ("not defective", "-"),
            ("no scratches", "-"),
            ("no visible scratches", "-"),
            ("without defect", "-"),
            ("keine Fehler", "-"),
            ("0 defects", "-"),
            ("defects: none", "-"),
            ("ok?", "?"),
            ("has a scratch on the left", "scratch"),
            ("ok scratch", "scratch"),
            ("5 ok", "-"),
        ] {
            for line in [format!("1.png: {said}"), format!("1.png {said}")] {
                let found = labels("a.txt", &format!("{line}\n"));
                assert_eq!(found, format!("1 {label}"), "{line}");
            }
        }
        assert_eq!(labels("a.txt", "no defects found in 1.png .. 7.png\n"), "1 -, 7 -");
        assert_eq!(labels("a.txt", "bad parts: 1.png 2.png\n"), "1 bad parts, 2 bad parts");
        assert_eq!(labels("a.txt", "bad parts:\n1.png\n- 2.png\n\n3.png\n"), "1 bad parts, 2 bad parts, 3 ?");
        assert_eq!(labels("a.txt", "1.png:\nscratch:\n2.png\n"), "1 ?, 2 scratch");
    }

    #[test]
    fn headings_of_lists_and_names_of_columns_state_labels() {
        for (name, text, expected) in [
            ("a.json", r#"{"scratch": ["1.png", "2.png"], "ok": ["3.png"]}"#, "3 ?, 1 scratch, 2 scratch"),
            ("a.yaml", "scratch:\n- 1.png\n- 2.png\nother:\n- 3.png\n", "3 ?, 1 scratch, 2 scratch"),
            ("a.csv", "img,is_defect\n1.png,1\n2.png,0\n3.png,17\n", "1 is_defect, 2 -, 3 is_defect"),
            ("a.csv", "img,ok\n1.png,no\n2.png,yes\n", "1 ok, 2 -"),
            ("a.csv", "img,pass\n1.png,0\n2.png,1\n", "1 pass, 2 -"),
            ("a.csv", "img,hata\n1.png,evet\n2.png,hay\u{131}r\n", "1 hata, 2 -"),
            ("a.csv", "img;Befund\n1.png;ja\n2.png;nein\n", "1 Befund, 2 -"),
            ("a.csv", "img,error\n1.png,yes\n2.png,no\n3.png,4\n", "1 error, 2 -, 3 ?"),
            ("a.csv", "img,defect_class_count\n1.png,3\n", "1 ?"),
            // Remarks, masks, and columns of other meanings.
            ("a.csv", "img,note\n1.png,the lamp was broken\n2.png,masks/defect/2.bmp\n", "1 ?, 2 ?"),
            ("a.csv", "img,category,split\n1.png,crack_sensor,bad\n", "1 ?"),
        ] {
            assert_eq!(labels(name, text), expected, "{text}");
        }
        for bad in ["", "{", "[[[[", "\u{0}", "- - -", ":", "- {", "a: [", "\"", "- \"a\n\t: ,,,{}"] {
            for name in ["a.csv", "a.json", "a.jsonl", "a.yaml", "a.txt"] {
                assert_eq!(labels(name, bad), "", "{name} {bad}");
            }
        }
    }
}
