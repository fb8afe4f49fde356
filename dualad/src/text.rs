//! Names from outside as text for a terminal.

/// Returns text with control characters, and characters that change the writing direction, escaped: names of files and products may
/// contain any character.
///
/// Quotation marks and letters with accents stay as they are.
///
/// ```
/// # #[cfg(feature = "report")]
/// assert_eq!(dualad::report::printable("the lid's\n"), "the lid's\\n");
/// ```
// `report` exports it.
#[cfg_attr(not(feature = "report"), allow(unreachable_pub))]
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
