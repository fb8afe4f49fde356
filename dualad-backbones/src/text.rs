//! Names from outside as text for messages.

/// The number of characters of a name that a message prints.
const MAX_SHOWN: usize = 200;

/// Returns a name from outside, cut to 200 characters. Control characters and those that change the direction of text are escaped.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars().take(MAX_SHOWN) {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn names_are_readable() {
        assert_eq!(shown("layer's \"geh\u{e4}use\" a\u{308}"), "layer's \"geh\u{e4}use\" a\u{308}");
        assert_eq!(shown("a\u{1b}\n\u{202e}"), "a\\u{1b}\\n\\u{202e}");
        assert_eq!(shown(&"a".repeat(201)), "a".repeat(200) + "...");
    }
}
