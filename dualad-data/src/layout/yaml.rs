//! The records of YAML: lines that name images, with the lines that belong to them by their indentation. Other YAML is not understood.

use super::record::{Cell, Record};

/// A line of YAML.
struct Line {
    /// The column, twice, and 1 more for an item of a list: it may be in the column of its heading.
    place: usize,
    is_item: bool,
    cells: Vec<Cell>,
}

/// Returns the records that name an image: the line that names it, those around it in its item of a list, those below it, and the headings
/// above it.
pub(super) fn records(text: &str, is_image: &dyn Fn(&str) -> bool) -> Vec<Record> {
    let mut found = Vec::new();
    let (mut headings, mut item) = (Vec::<(usize, Vec<Cell>)>::new(), None::<usize>);
    // A record, and the place up to which a line ends it.
    let mut open = None::<(usize, Vec<Cell>)>;
    for Line { place, is_item, cells } in text.lines().filter_map(|line| line_of(line, is_image)) {
        if let Some((_, done)) = open.take_if(|(end, _)| place <= *end) {
            found.push(Record(done));
        }
        item = item.filter(|item| place > *item);
        if let Some((_, record)) = &mut open {
            record.extend(cells);
            continue;
        }
        // The lines before it in its item are no headings, and belong to it.
        headings.retain(|(at, _)| *at < place || item.is_some_and(|item| *at > item));
        if is_item {
            item = Some(place);
        }
        if cells.iter().any(|cell| is_image(&cell.value)) {
            let above = headings.iter().flat_map(|(_, cells)| cells).cloned();
            open = Some((item.unwrap_or(place), above.chain(cells).collect()));
        } else {
            headings.push((place, cells));
        }
    }
    found.extend(open.map(|(_, record)| Record(record)));
    found
}

/// Returns the parts of a line, unless it is empty or a comment.
fn line_of(line: &str, is_image: &dyn Fn(&str) -> bool) -> Option<Line> {
    let text = line.find(" #").and_then(|end| line.get(..end)).unwrap_or(line).trim_end();
    let mut rest = text.trim_start();
    if rest.is_empty() || rest.starts_with('#') || rest == "---" {
        return None;
    }
    let column = text.len() - rest.len();
    let mut is_item = false;
    while let Some(value) = rest.strip_prefix('-').filter(|value| value.is_empty() || value.starts_with(' ')) {
        rest = value.trim_start();
        is_item = true;
    }
    let (key, value) = if rest.starts_with(['{', '[']) { ("", rest) } else { pair(rest) };
    let mut cells = Vec::new();
    match value.strip_prefix(['{', '[']) {
        Some(inner) => {
            for part in inner.trim_end_matches(['}', ']']).split(',') {
                let (inner, value) = pair(part);
                add(if inner.is_empty() { key } else { inner }, value, is_image, &mut cells);
            }
        }
        None => add(key, value, is_image, &mut cells),
    }
    Some(Line { place: 2 * column + usize::from(is_item), is_item, cells })
}

/// Adds a value under a key. A key may name an image, or be a heading.
fn add(key: &str, value: &str, is_image: &dyn Fn(&str) -> bool, cells: &mut Vec<Cell>) {
    let [key, value] = [key, value].map(|text| text.trim().trim_matches(['"', '\'']));
    if is_image(key) || value.is_empty() {
        cells.push(Cell::new("", key));
        cells.extend((!value.is_empty()).then(|| Cell::new("", value)));
    } else {
        cells.push(Cell::new(key, value));
    }
}

/// Divides `key: value`. A text without a key is a value.
fn pair(text: &str) -> (&str, &str) {
    match text.split_once(": ") {
        Some((key, value)) => (key, value.trim()),
        None => text.trim().strip_suffix(':').map_or(("", text.trim()), |key| (key, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_belong_to_the_image_of_their_item() {
        let found = |text: &str| {
            let is_image = |value: &str| value.ends_with(".png");
            let all = records(text, &is_image).into_iter().map(|Record(cells)| {
                let values: Vec<String> = cells.into_iter().map(|cell| cell.value).collect();
                values.join(" ")
            });
            all.collect::<Vec<_>>().join(", ")
        };
        for (text, expected) in [
            ("a.png: x\nb.png: y\n", "a.png x, b.png y"),
            ("\"a.png\": 'x'\n---\nb.png:\n  type: y\n  size: 2\n", "a.png x, b.png y 2"),
            ("- file: a.png\n  label: x\n- id: 1\n  label: y\n  file: b.png\n  note: z\n", "a.png x, 1 y b.png z"),
            ("items:\n  - label: x\n    file: a.png\n  - file: b.png\n", "items x a.png, items b.png"),
            ("train:\n  x:\n  - a.png\n  - b.png\n  y:\n    - c.png\n", "train x a.png, train x b.png, train y c.png"),
            ("version: 2\nx: [a.png, b.png]\ny: {c.png: z}\n", "a.png b.png, c.png z"),
            ("- {file: a.png, label: x}\n- [b.png, y]\n", "a.png x, b.png y"),
            ("a.png:\n  - x\n  - y\nrest: 3\n", "a.png x y"),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
        // Many headings and items take little time.
        let deep: String = (0..2000).map(|depth| format!("{}k:\n", " ".repeat(depth))).collect();
        assert_eq!(records(&format!("{deep}{}a.png\n", " ".repeat(2000)), &|value| value == "a.png").len(), 1);
    }
}
