//! The encodings of tables and annotations.

/// The mark that some editors put at the start of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An encoding that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
    Utf32Le,
    Utf32Be,
}

impl Encoding {
    /// Returns the encoding of a text that begins with these bytes, and the length of its byte order mark.
    ///
    /// Without a mark, the first letters tell UTF-16 and UTF-32: tables, annotations and JSON begin with letters of ASCII, of which each has
    /// bytes 0 there.
    pub(super) fn of(begin: &[u8]) -> (Self, usize) {
        match begin {
            [0xef, 0xbb, 0xbf, ..] => (Self::Utf8, BYTE_ORDER_MARK.len()),
            [0xff, 0xfe, 0, 0, ..] => (Self::Utf32Le, 4),
            [0, 0, 0xfe, 0xff, ..] => (Self::Utf32Be, 4),
            [0xff, 0xfe, ..] => (Self::Utf16Le, 2),
            [0xfe, 0xff, ..] => (Self::Utf16Be, 2),
            [1..=0x7f, 0, 1..=0x7f, 0, ..] => (Self::Utf16Le, 0),
            [0, 1..=0x7f, 0, 1..=0x7f, ..] => (Self::Utf16Be, 0),
            [1..=0x7f, 0, 0, 0, ..] => (Self::Utf32Le, 0),
            [0, 0, 0, 1..=0x7f, ..] => (Self::Utf32Be, 0),
            _ => (Self::Utf8, 0),
        }
    }
}

/// Returns a text in UTF-8, without its byte order mark. UTF-16, as spreadsheets write it, and UTF-32 are converted; what is
/// not valid in them is replaced.
pub(super) fn utf8(mut bytes: Vec<u8>) -> Vec<u8> {
    let (encoding, mark) = Encoding::of(&bytes);
    match encoding {
        Encoding::Utf8 => {
            bytes.drain(..mark);
            bytes
        }
        Encoding::Utf16Le => utf16(bytes.get(mark..), u16::from_le_bytes),
        Encoding::Utf16Be => utf16(bytes.get(mark..), u16::from_be_bytes),
        Encoding::Utf32Le => utf32(bytes.get(mark..), u32::from_le_bytes),
        Encoding::Utf32Be => utf32(bytes.get(mark..), u32::from_be_bytes),
    }
}

fn utf16(bytes: Option<&[u8]>, unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (units, _) = bytes.unwrap_or_default().as_chunks::<2>();
    let text: String = char::decode_utf16(units.iter().map(|pair| unit(*pair)))
        .map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.into_bytes()
}

fn utf32(bytes: Option<&[u8]>, unit: fn([u8; 4]) -> u32) -> Vec<u8> {
    let (units, _) = bytes.unwrap_or_default().as_chunks::<4>();
    let text: String =
        units.iter().map(|four| char::from_u32(unit(*four)).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::utf8;

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "{\"name\": \"geh\u{e4}use \u{1f600}\"}";
        let units = || text.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        let four = |bytes: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| bytes(c.into())).collect::<Vec<u8>>();
        let [little_32, big_32] = [four(u32::to_le_bytes), four(u32::to_be_bytes)];
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
            [b"\xff\xfe\0\0", &little_32[..]].concat(),
            [b"\0\0\xfe\xff", &big_32[..]].concat(),
            little,
            big,
            little_32,
            big_32,
        ] {
            assert_eq!(String::from_utf8(utf8(bytes)).unwrap(), text);
        }
        for bytes in [&b""[..], b"a", b"\xff\xfe", b"\xff\xfea", b"a\0", b"a\0b", b"\0\0\0\0"] {
            assert!(utf8(bytes.to_vec()).len() <= bytes.len());
        }
    }
}
