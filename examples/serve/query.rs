//! The parameters after the question mark.

use crate::failure::Failure;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) category: Option<String>,
    pub(crate) heat_map: bool,
}

impl Query {
    /// Of an address's query, in which parameters other than `known` are errors.
    pub(crate) fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let mut query = Self::default();
        let mut seen = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(Failure::bad("the query is not percent-encoded UTF-8"));
            };
            if !known.contains(&name.as_str()) {
                return Err(Failure::bad(format!("there is no parameter {name:?} here, but {}", known.join(" and "))));
            }
            if seen.contains(&name) {
                return Err(Failure::bad(format!("the parameter {name} is given twice")));
            }
            match (name.as_str(), value.as_str()) {
                ("heatmap", "0") => {}
                ("heatmap", "1") => query.heat_map = true,
                ("heatmap", _) => return Err(Failure::bad(format!("heatmap is {value:?}, and must be 0 or 1"))),
                _ => query.category = Some(value),
            }
            seen.push(name);
        }
        Ok(query)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
