//! The encodings of tables and annotations.

/// The mark that some editors put at the start of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An encoding that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// Returns the encoding of a text that begins with these bytes, and the length of its byte order mark.
    ///
    /// Without a mark, the first two letters tell UTF-16: tables, annotations and JSON begin with letters of ASCII, of which each has a
    /// byte 0 there.
    pub(super) fn of(begin: &[u8]) -> (Self, usize) {
        match begin {
            [0xef, 0xbb, 0xbf, ..] => (Self::Utf8, BYTE_ORDER_MARK.len()),
            [0xff, 0xfe, ..] => (Self::Utf16Le, 2),
            [0xfe, 0xff, ..] => (Self::Utf16Be, 2),
            [1..=0x7f, 0, 1..=0x7f, 0, ..] => (Self::Utf16Le, 0),
            [0, 1..=0x7f, 0, 1..=0x7f, ..] => (Self::Utf16Be, 0),
            _ => (Self::Utf8, 0),
        }
    }
}

/// Returns a text in UTF-8, without its byte order mark. UTF-16, as spreadsheets write it, is converted; what is not valid in it is
/// replaced.
pub(super) fn utf8(mut bytes: Vec<u8>) -> Vec<u8> {
    let (encoding, mark) = Encoding::of(&bytes);
    let unit = match encoding {
        Encoding::Utf8 => {
            bytes.drain(..mark);
            return bytes;
        }
        Encoding::Utf16Le => u16::from_le_bytes,
        Encoding::Utf16Be => u16::from_be_bytes,
    };
    let (units, _) = bytes.get(mark..).unwrap_or_default().as_chunks::<2>();
    let text: String = char::decode_utf16(units.iter().map(|pair| unit(*pair)))
        .map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
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
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
            little,
            big,
        ] {
            assert_eq!(String::from_utf8(utf8(bytes)).unwrap(), text);
        }
        for bytes in [&b""[..], b"a", b"\xff\xfe", b"\xff\xfea", b"a\0", b"a\0b", b"\0\0\0\0"] {
            assert!(utf8(bytes.to_vec()).len() <= bytes.len());
        }
    }
}
