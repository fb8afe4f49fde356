//! The form of tables with separators: what stands between values and between lines.

/// Returns the lines of a text. They end as Windows, Unix or old programs of the Macintosh end them.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r'])
}

/// Returns a text with the line ends of Unix, which alone the reader of tables counts right.
pub(super) fn with_line_feeds(mut text: Vec<u8>) -> Vec<u8> {
    if !text.contains(&b'\r') {
        return text;
    }
    if text.contains(&b'\n') {
        let bytes = text.clone();
        let mut next = bytes.iter().skip(1);
        text.retain(|byte| !(next.next() == Some(&b'\n') && *byte == b'\r'));
    } else {
        text.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
    }
    text
}

/// Returns the separator of the first line: the most frequent one.
pub(super) fn delimiter(text: &[u8]) -> u8 {
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let count = |separator: u8| line.iter().filter(|&&byte| byte == separator).count();
    // Of equal counts, the last counts.
    [b'\t', b';', b','].into_iter().max_by_key(|&separator| count(separator)).unwrap_or(b',')
}

/// Returns whether the first line of a text has a separator of tables.
pub(super) fn has_separator(text: &[u8]) -> bool {
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    line.iter().any(|byte| matches!(byte, b'\t' | b';' | b','))
}

/// Returns whether a line tells a spreadsheet the separator: `sep=;`.
pub(super) fn is_hint(line: &str) -> bool {
    let line = line.trim().trim_matches('"');
    line.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("sep=")) && line.len() <= 5
}

/// Returns a table without a line at its start that tells a spreadsheet the separator, and the number of lines that this takes away.
pub(super) fn without_hint(text: &[u8]) -> (&[u8], u64) {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(text.len());
    let (first, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    if !std::str::from_utf8(first).is_ok_and(is_hint) {
        return (text, 0);
    }
    let end = if rest.starts_with(b"\r\n") { 2 } else { rest.len().min(1) };
    (rest.get(end..).unwrap_or_default(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_and_line_ends_are_recognized() {
        for (text, rest, count) in [
            ("sep=;\r\na;b\r\n", "a;b\r\n", 1),
            ("SEP=,\na,b", "a,b", 1),
            ("\"sep=,\"\ra,b", "a,b", 1),
            ("sep=\t", "", 1),
            ("separator,b\n", "separator,b\n", 0),
            ("a,b\n", "a,b\n", 0),
            ("", "", 0),
        ] {
            assert_eq!(without_hint(text.as_bytes()), (rest.as_bytes(), count), "{text}");
        }
        for (text, found) in [("a\r\nb\rc\r\n", "a\nb\rc\n"), ("a\rb\r", "a\nb\n"), ("a\n\r", "a\n\r"), ("", "")] {
            assert_eq!(with_line_feeds(text.into()), found.as_bytes(), "{text:?}");
        }
        assert_eq!((delimiter(b"a;b,c;d\rx,y,z,z,z"), delimiter(b"a")), (b';', b','));
    }
}
