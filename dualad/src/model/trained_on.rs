//! The record of the images that a model was trained on.

use std::collections::BTreeSet;
use std::path::Path;

use dualad_data::image::Picture;
use dualad_store::hex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::files::TRAINING_IMAGES;

/// The version of the file's format.
const FORMAT: u64 = 1;
/// The maximum size of the file, in bytes: several million images.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// The first half of the digest of a picture, [`Picture::digest`].
pub(crate) type PixelDigest = [u8; 16];

/// Returns the digest by which a picture is found again.
pub(crate) fn pixel_digest(picture: &Picture) -> PixelDigest {
    *picture.digest().first_chunk().unwrap_or(&[0; 16])
}

/// The images that a model was trained on, by the digests of their pixels. A copy of an image is found under another name and
/// in another lossless format.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TrainedOn(BTreeSet<PixelDigest>);

impl TrainedOn {
    pub(crate) fn contains(&self, picture: &Picture) -> bool {
        self.0.contains(&pixel_digest(picture))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the images of both records.
    #[cfg(feature = "train")]
    pub(crate) fn union(mut self, other: Option<&Self>) -> Self {
        self.0.extend(other.iter().flat_map(|other| &other.0));
        self
    }

    /// Returns the content of the file. `model` is the SHA-256 of the parameters.
    pub(super) fn to_json(&self, model: &str) -> Result<String> {
        let images = self.0.iter().map(|digest| hex(digest)).collect();
        let text = serde_json::to_string_pretty(&File { format: FORMAT, model: model.into(), images });
        text.map(|text| text + "\n").map_err(|error| Error::Io {
            action: "write",
            path: TRAINING_IMAGES.into(),
            error: error.into(),
        })
    }

    /// Reads the file of a model with these parameters; `None` for the file of another model, which an earlier version of the
    /// library may have left. `name` is the model's name in errors.
    pub(super) fn read(path: &Path, name: &Path, model: &str) -> Result<Option<Self>> {
        let wrong = |reason: String| {
            let hint = "delete that file to use the model without a record of its training images";
            Error::model(name, format!("its {TRAINING_IMAGES} {reason}; {hint}"))
        };
        let io = |error| Error::Io { action: "read", path: path.into(), error };
        let metadata = std::fs::metadata(path).map_err(io)?;
        // Opening a pipe may block forever, and reading a device may never end.
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(wrong(format!("is not a file of at most {} MiB", MAX_FILE_BYTES >> 20)));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let malformed = |error: serde_json::Error| wrong(format!("cannot be read ({error})"));
        let version: Version = serde_json::from_slice(&bytes).map_err(malformed)?;
        if version.format > FORMAT {
            return Err(wrong(format!("has format {}, and this version knows up to {FORMAT}", version.format)));
        }
        let file: File = serde_json::from_slice(&bytes).map_err(malformed)?;
        if file.model != model {
            return Ok(None);
        }
        let digest =
            |text: &String| of_hex(text).ok_or_else(|| wrong(format!("holds {text:.40?}, which is no digest")));
        Ok(Some(Self(file.images.iter().map(digest).collect::<Result<_>>()?)))
    }
}

impl FromIterator<PixelDigest> for TrainedOn {
    fn from_iter<I: IntoIterator<Item = PixelDigest>>(digests: I) -> Self {
        Self(digests.into_iter().collect())
    }
}

fn of_hex(text: &str) -> Option<PixelDigest> {
    let mut digest = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        *byte = (16 * high? + low?) as u8;
    }
    Some(digest)
}

/// The version, which is read first: other versions may have other fields.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u64,
    /// The SHA-256 of `model.safetensors`.
    model: String,
    /// The digests in lower-case hexadecimal.
    images: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_model_is_read_as_written_and_that_of_another_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TRAINING_IMAGES);
        let picture = |value: u8| Picture::new(1, 1, vec![value; 3]).unwrap();
        let trained_on: TrainedOn = [1, 2].map(|value| pixel_digest(&picture(value))).into_iter().collect();
        std::fs::write(&path, trained_on.to_json("m").unwrap()).unwrap();
        let read = |model: &str| TrainedOn::read(&path, folder.path(), model);
        assert_eq!(read("m").unwrap(), Some(trained_on.clone()));
        assert!(trained_on.contains(&picture(1)) && !trained_on.contains(&picture(3)));
        assert_eq!(read("other").unwrap(), None);
        for (text, word) in [
            ("{", "cannot be read"),
            (r#"{"format": 2}"#, "format 2"),
            (r#"{"format": 1, "model": "m", "images": ["x"]}"#, "no digest"),
            (r#"{"format": 1, "model": "m", "images": ["+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"]}"#, "no digest"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read("m").unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("delete that file"), "{error}");
        }
    }
}
