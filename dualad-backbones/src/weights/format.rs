//! The formats of files that are given as weights, by their first bytes.

use crate::error::WeightsError;
use crate::weights::pytorch::PyTorchReader;

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Safetensors, and everything that is not known: its reader says what is wrong.
    Safetensors,
    PyTorch,
}

const UNPACK: &str = "unpack it, and give the file in it";
const EXPORT: &str = "save the network from PyTorch as a state dict, or as safetensors";

/// Formats that are given by mistake: where the bytes are, the bytes, the name, and what to do.
const OTHERS: [(usize, &[u8], &str, &str); 13] = [
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (0, b"<", "a web page", "fetch the file itself; the address may ask for a login first"),
    (0, b"\x1f\x8b", "compressed (gzip)", UNPACK),
    (0, b"BZh", "compressed (bzip2)", UNPACK),
    (0, b"\xfd7zXZ", "compressed (xz)", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed (zstd)", UNPACK),
    (0, b"7z\xbc\xaf", "compressed (7z)", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes it", EXPORT),
    (0, b"\x93NUMPY", "a NumPy array", EXPORT),
    (0, b"GGUF", "a GGUF file", EXPORT),
    (4, b"TFL3", "a TensorFlow Lite file", EXPORT),
    (0, b"{", "JSON", "give the file of weights itself, such as model.safetensors beside config.json"),
];

impl Format {
    /// Returns the format of a file that begins with these bytes, some hundred or all.
    ///
    /// # Errors
    /// [`WeightsError::OtherFormat`] for a known format that holds no weights.
    pub(super) fn of(name: &str, begin: &[u8]) -> Result<Self, WeightsError> {
        // A header's length may begin with the bytes of another format, and its content cannot.
        if begin.get(8) == Some(&b'{') {
            return Ok(Self::Safetensors);
        }
        if PyTorchReader::begins(begin) {
            return Ok(Self::PyTorch);
        }
        let is = |at: usize, bytes: &[u8]| begin.get(at..).is_some_and(|rest| rest.starts_with(bytes));
        match OTHERS.iter().find(|(at, bytes, ..)| is(*at, bytes)) {
            Some(&(_, _, found, advice)) => Err(WeightsError::OtherFormat { source_name: name.into(), found, advice }),
            None => Ok(Self::Safetensors),
        }
    }
}
