//! Names from outside as text for messages.

/// Returns text with control characters, and characters that change the writing direction, escaped: names of files and products may
/// contain any character, and a terminal obeys some of them.
///
/// Quotation marks and letters with accents stay as they are.
///
/// ```
/// assert_eq!(dualad_store::printable("the lid's\n"), "the lid's\\n");
/// ```
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn names_are_readable() {
        assert_eq!(printable("layer's \"geh\u{e4}use\" a\u{308}"), "layer's \"geh\u{e4}use\" a\u{308}");
        assert_eq!(printable("a\u{1b}\n\u{2028}\u{202e}"), "a\\u{1b}\\n\\u{2028}\\u{202e}");
    }
}
