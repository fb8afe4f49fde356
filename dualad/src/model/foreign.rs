//! Files in a model's folder that belong to something else.

use std::path::Path;

use crate::error::{Error, Result};
use crate::model::files::{BACKBONE, CALIBRATION, CARD, CONFIG};

/// The text by which a model card is known.
pub(super) const CARD_MARK: &str = "library_name: dualad";

/// The part of a file that is looked at, in bytes.
const LOOKED_AT: u64 = 1 << 16;

/// Checks that saving a model replaces no file of something else: a `config.json` of another program, or, in a folder without one, a
/// `README.md` that is no model card, a `calibration.json` or a `backbone.safetensors`.
///
/// # Errors
/// [`Error::Occupied`] names the file.
pub(crate) fn check_occupied(folder: &Path) -> Result<()> {
    let occupied = |name: &str| Error::Occupied { file: folder.join(name) };
    match head(&dualad_store::find(folder, CONFIG)) {
        // The card beside it is the model's, in whatever words its owner has put it.
        Some(config) if config.contains("\"dualad\"") => Ok(()),
        Some(_) => Err(occupied(CONFIG)),
        None => match head(&folder.join(CARD)) {
            Some(card) if !card.contains(CARD_MARK) => Err(occupied(CARD)),
            _ => match [CALIBRATION, BACKBONE].into_iter().find(|name| head(&folder.join(name)).is_some()) {
                Some(name) => Err(occupied(name)),
                None => Ok(()),
            },
        },
    }
}

/// Returns the beginning of a file, or `None` if it cannot be read or is empty.
fn head(path: &Path) -> Option<String> {
    use std::io::Read;

    let mut bytes = Vec::new();
    // A pipe would block.
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file.then(|| std::fs::File::open(path).ok()?.take(LOOKED_AT).read_to_end(&mut bytes).ok())??;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_others_occupy_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let found = || match check_occupied(folder.path()) {
            Ok(()) => None,
            Err(Error::Occupied { file }) => Some(file.file_name().unwrap().to_str().unwrap().to_owned()),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found(), None);
        for name in [CALIBRATION, BACKBONE] {
            write(name, "mine");
            assert_eq!(found().as_deref(), Some(name));
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        write(CARD, "");
        assert_eq!(found(), None);
        write(CARD, "# My thesis\n");
        assert_eq!(found().as_deref(), Some(CARD));
        write(CARD, "---\nlibrary_name: dualad\n---\n");
        assert_eq!(found(), None);
        write(CARD, "# The model of line 3\n");
        write(CONFIG, "{\"format\": 2, \"dualad\": \"0.1.0\"}");
        assert_eq!(found(), None);
        write(CONFIG, "{\"model_type\": \"resnet\"}");
        assert_eq!(found().as_deref(), Some(CONFIG));
    }
}
