//! The images that wrong names in tables and annotations may stand for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::text::shown;

/// Returns the place of the only image that a name may stand for, as the rest of a sentence, or an empty text. Windows takes names in any
/// case, some programs write them without an ending or with another one, and web addresses have codes for some letters (`%20`).
pub(super) fn hint(name: &str, images: &[PathBuf], folder: &Path) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = decoded(name).to_lowercase();
    let stem = Path::new(&name).file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let is = |part: Option<&OsStr>, wanted: &str| {
        part.and_then(OsStr::to_str).is_some_and(|part| part.to_lowercase() == wanted)
    };
    let only = |is: &dyn Fn(&Path) -> bool| {
        let mut same = images.iter().filter(|image| is(image));
        same.next().filter(|_| same.next().is_none()).map(|one| shown(one.strip_prefix(folder).unwrap_or(one)))
    };
    if let Some(one) = only(&|image| is(image.file_name(), &name)) {
        format!(", found at {one}")
    } else if let Some(one) = only(&|image| is(image.file_stem(), &name)) {
        format!(", found at {one}: write its ending, too")
    } else if let Some(one) = only(&|image| is(image.file_stem(), stem)) {
        format!("; {one} has this name with another ending")
    } else {
        String::new()
    }
}

/// Returns a name of a web address with its letters in place of their codes: `my part` for `my%20part`. One that is no such name stays.
fn decoded(name: &str) -> String {
    let mut found = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, others @ ..] = rest {
        let digits = others.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                found.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            None => {
                found.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(found).unwrap_or_else(|_| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_web_addresses_are_letters() {
        for (name, expected) in [
            ("my%20part.png", "my part.png"),
            ("%C3%A4.png", "ä.png"),
            ("100%.png", "100%.png"),
            ("%ff", "%ff"),
            ("%é", "%é"),
        ] {
            assert_eq!(decoded(name), expected);
        }
    }

    #[test]
    fn an_image_is_found_in_another_case_and_with_another_ending() {
        let images = ["/d/i/IMG_0.JPG", "/d/a b.png", "/d/x/c.png", "/d/y/c.png"].map(PathBuf::from);
        for (name, expected) in [
            ("img_0.jpg", ", found at i/IMG_0.JPG"),
            ("z\\a%20b.png", ", found at a b.png"),
            ("a b", ", found at a b.png: write its ending, too"),
            ("img_0.png", "; i/IMG_0.JPG has this name with another ending"),
            ("c.png", ""),
            ("d.png", ""),
        ] {
            assert_eq!(hint(name, &images, Path::new("/d")).replace('\\', "/"), expected);
        }
    }
}
