//! YAML as JSON values.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The depth of values, as in JSON. The rest of a deeper text is not read.
const DEPTH: usize = 128;

/// A list or a map whose end is not read yet.
enum Open {
    List(Vec<Value>),
    /// The entries, and the key of the next one.
    Map(Map<String, Value>, Option<String>),
}

impl Open {
    fn add(&mut self, value: Value) {
        match self {
            Self::List(values) => values.push(value),
            Self::Map(entries, key) => match key.take() {
                Some(key) => _ = entries.insert(key, value),
                None => *key = Some(value.as_str().unwrap_or_default().to_owned()),
            },
        }
    }

    fn close(self) -> Value {
        match self {
            Self::List(values) => Value::Array(values),
            Self::Map(mut entries, key) => {
                // The text ends before the value of this key.
                entries.extend(key.map(|key| (key, Value::Null)));
                Value::Object(entries)
            }
        }
    }
}

/// Returns the values of the documents in a text. If the text has a fault, those before it are returned.
///
/// Numbers and booleans are texts as they are written, because `001` may name an image. Aliases have no value: a few of them may stand for
/// more than the memory holds.
pub(super) fn values(text: &str) -> Vec<Value> {
    let (mut found, mut open) = (Vec::new(), Vec::<Open>::new());
    let mut add = |value, open: &mut Vec<Open>| match open.last_mut() {
        Some(open) => open.add(value),
        None => found.push(value),
    };
    for (event, _) in Parser::new_from_str(text).map_while(Result::ok) {
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == DEPTH => break,
            Event::SequenceStart(..) => open.push(Open::List(Vec::new())),
            Event::MappingStart(..) => open.push(Open::Map(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(done) = open.pop() {
                    add(done.close(), &mut open);
                }
            }
            Event::Scalar(text, style, ..) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                add(if is_null { Value::Null } else { Value::String(text.into_owned()) }, &mut open);
            }
            Event::Alias(_) => add(Value::Null, &mut open),
            _ => {}
        }
    }
    while let Some(done) = open.pop() {
        add(done.close(), &mut open);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_values_of_json() {
        for (text, expected) in [
            ("", json!([])),
            (
                "001.png: x # seen\n---\n002: [1, 'y', ~, no]\n",
                json!([{"001.png": "x"}, {"002": ["1", "y", null, "no"]}]),
            ),
            (
                "- file: a.png\n  label: x\n- {file: b.png, note: |\n  two\n  lines\n  }\n",
                json!([[{"file": "a.png", "label": "x"}, {"file": "b.png", "note": "| two lines"}]]),
            ),
            ("x:\n- a.png\n- \"b.png\"\ny:\n", json!([{"x": ["a.png", "b.png"], "y": null}])),
            ("a: &all [1]\nb: *all\n? [c]\n: d\n", json!([{"a": ["1"], "b": null, "": "d"}])),
            // Up to the fault.
            ("a.png: x\nb.png: \"y\n", json!([{"a.png": "x", "b.png": null}])),
            ("a: [b, {c: d", json!([{"a": ["b", {"c": "d"}]}])),
        ] {
            assert_eq!(Value::Array(values(text)), expected, "{text}");
        }
    }

    #[test]
    fn deep_texts_are_cut() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000), "{a: ".repeat(100_000)] {
            let mut depth = 0;
            let mut value = values(&text).pop();
            while let Some(inner) = value.take() {
                depth += 1;
                value = match inner {
                    Value::Array(values) => values.into_iter().next(),
                    Value::Object(entries) => entries.into_iter().next().map(|(_, value)| value),
                    _ => None,
                };
            }
            assert!(depth <= DEPTH + 1, "{depth}");
        }
    }
}
