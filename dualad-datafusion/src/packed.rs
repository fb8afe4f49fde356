//! A model's folder as bytes that a plan can carry.

use std::borrow::Cow;
use std::path::Path;

use dualad::Detector;
use dualad::detector::ModelBytes;
use dualad::store::open_file;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::io::Read;

use crate::error::{Error, Result};

/// The files of a model's folder, and whether a model may be without it.
const FILES: [(&str, bool); 4] =
    [("config.json", false), ("model.safetensors", false), ("backbone.safetensors", true), ("calibration.json", true)];

/// The largest packed model in bytes.
const MAX_BYTES: u64 = 2 << 30;

/// Returns the files of a model's folder as bytes, a safetensors file of them. `inspect_with` takes them as its first argument.
///
/// The weights of the backbone are part of them if the folder has them: `dualad train` writes them with `--with-backbone`, and
/// [`Detector::save_with_backbone`] does.
///
/// # Errors
/// [`Error::Source`] if the folder is not a model's, cannot be read, or is larger than 2 GiB.
pub fn pack(folder: impl AsRef<Path>) -> Result<Vec<u8>> {
    let folder = folder.as_ref();
    let wrong = |reason: String| Error::Source { model: folder.display().to_string(), reason };
    let mut files = Vec::new();
    let mut left = MAX_BYTES;
    for (name, is_optional) in FILES {
        let path = folder.join(name);
        if is_optional && !path.exists() {
            continue;
        }
        let mut content = Vec::new();
        let read = open_file(&path).and_then(|file| file.take(left + 1).read_to_end(&mut content));
        read.map_err(|error| wrong(format!("has no {name} that can be read: {error}")))?;
        left =
            left.checked_sub(content.len() as u64).ok_or_else(|| wrong(format!("has more than {MAX_BYTES} bytes")))?;
        files.push((name, content));
    }
    let views = files.iter().map(|(name, content)| {
        let view = TensorView::new(Dtype::U8, vec![content.len()], content);
        view.map(|view| (*name, view)).map_err(|error| wrong(format!("cannot be packed: {error}")))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(|error| wrong(format!("cannot be packed: {error}")))
}

/// Loads a detector from the bytes of [`pack`].
pub(crate) fn unpack(bytes: &[u8]) -> Result<Detector> {
    let wrong = |reason: String| Error::Source { model: "of the query's bytes".into(), reason };
    let files = SafeTensors::deserialize(bytes).map_err(|error| wrong(format!("is not a packed model: {error}")))?;
    let file = |name: &str| files.tensor(name).ok().map(|tensor| tensor.data());
    let needed = |name: &str| file(name).ok_or_else(|| wrong(format!("has no {name}")));
    let bytes = ModelBytes {
        config: needed("config.json")?,
        parameters: needed("model.safetensors")?,
        backbone: file("backbone.safetensors"),
        calibration: file("calibration.json"),
    };
    Ok(Detector::from_bytes(&bytes)?)
}

/// Returns a text cut at 200 characters.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}
