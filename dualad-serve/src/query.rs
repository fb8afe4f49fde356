//! The query of a request: the parameters after the question mark.

use percent_encoding::percent_decode_str;

use crate::failure::Failure;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) category: Option<String>,
    pub(crate) heat_map: bool,
}

impl Query {
    /// Parses a query. A parameter that is not in `known`, or that is given twice, is an error.
    pub(crate) fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let text = text.unwrap_or_default();
        if !is_percent_encoded_utf8(text) {
            return Err(Failure::bad("the query is not percent-encoded UTF-8"));
        }
        let mut query = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let known = known.join(" and ");
                return Err(Failure::bad(format!("unknown parameter \"{name}\"; this address takes {known}")));
            }
            if seen.contains(&name) {
                return Err(Failure::bad(format!("the parameter {name} is given twice")));
            }
            match (name.as_ref(), value.as_ref()) {
                ("heatmap", "0") => {}
                ("heatmap", "1") => query.heat_map = true,
                ("heatmap", _) => return Err(Failure::bad(format!("heatmap is \"{value}\", and must be 0 or 1"))),
                _ => query.category = Some(value.into_owned()),
            }
            seen.push(name);
        }
        Ok(query)
    }
}

/// Returns true if every percent sign has two digits and the decoded bytes are UTF-8. `form_urlencoded` accepts anything else
/// too, and replaces what it cannot decode.
fn is_percent_encoded_utf8(text: &str) -> bool {
    let complete = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    text.split('%').skip(1).all(complete) && percent_decode_str(text).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["category", "heatmap"];

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("&category=a%20b+%c3%A9%26%3d&&heatmap=1"), KNOWN).unwrap();
        assert_eq!(query, Query { category: Some("a b é&=".into()), heat_map: true });
        assert_eq!(Query::parse(None, KNOWN).unwrap(), Query::default());
        assert_eq!(Query::parse(Some("category"), KNOWN).unwrap().category.as_deref(), Some(""));
    }

    #[test]
    fn damaged_encodings_are_refused() {
        for text in ["category=%", "category=%4", "category=%4g", "category=%+1", "category=%ff", "%e2%82=x"] {
            assert!(Query::parse(Some(text), KNOWN).unwrap_err().message.contains("UTF-8"), "{text}");
        }
    }
}
