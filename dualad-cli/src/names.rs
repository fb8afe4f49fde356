//! Names of files as text, and names that are made from names of others.

use std::path::Path;

use dualad::store::sha256;

/// Returns a path as text. Bytes that are not UTF-8 are escaped, such as `\xff`, so that two such files have two texts.
pub(crate) fn text(path: &Path) -> String {
    let mut text = String::new();
    for part in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text += part.valid();
        text.extend(part.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Returns a name of at most `most` bytes, 16 at least. A longer one is cut at a character, and the beginning of its SHA-256 is added.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.into();
    }
    let digest = digest(name);
    let room = name.floor_char_boundary(most.saturating_sub(digest.len() + 1));
    format!("{}-{digest}", &name[..room])
}

/// Returns the beginning of a name's SHA-256.
pub(crate) fn digest(name: &str) -> String {
    sha256(name.as_bytes())[..8].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_have_different_texts() {
        use std::os::unix::ffi::OsStrExt;

        let text = |name: &[u8]| text(Path::new(std::ffi::OsStr::from_bytes(name)));
        assert_eq!(text("in/ü.png".as_bytes()), "in/ü.png");
        assert_eq!([text(b"in/\xff\xfe.png"), text(b"\xfd.png")], [r"in/\xff\xfe.png", r"\xfd.png"]);
    }

    #[test]
    fn long_names_are_cut_at_a_character_and_stay_different() {
        assert_eq!(shortened("short", 16), "short");
        let long = "ü".repeat(100);
        for most in 16..40 {
            let cut = shortened(&long, most);
            assert!(cut.len() <= most && cut.starts_with('ü'), "{cut}");
            assert_ne!(cut, shortened(&format!("{long}2"), most));
        }
    }
}
