//! Names from outside as text for messages.

use dualad_store::printable;

/// The number of characters of a name that a message prints.
const MAX_SHOWN: usize = 200;

/// Returns a name from outside, cut to 200 characters. Control characters and those that change the direction of text are escaped.
pub(crate) fn shown(name: &str) -> String {
    match name.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => printable(name.get(..end).unwrap_or_default()) + "...",
        None => printable(name),
    }
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
