//! Names of files that are made from names of others.

use dualad::store::sha256;

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
