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
const OTHERS: [(usize, &[u8], &str, &str); 14] = [
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (0, b"<?xml", "XML, as OpenVINO writes it", EXPORT),
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
    /// [`WeightsError::Empty`] for no bytes, [`WeightsError::OtherFormat`] for a known format that holds no weights.
    pub(super) fn of(name: &str, begin: &[u8]) -> Result<Self, WeightsError> {
        if begin.is_empty() {
            return Err(WeightsError::Empty { source_name: name.into() });
        }
        // A header's length may begin with the bytes of another format, and its content cannot.
        if begin.get(8) == Some(&b'{') {
            return Ok(Self::Safetensors);
        }
        if PyTorchReader::begins(begin) {
            return Ok(Self::PyTorch);
        }
        let other = |found, advice| WeightsError::OtherFormat { source_name: name.into(), found, advice };
        if is_onnx(begin) {
            return Err(other("an ONNX model", EXPORT));
        }
        let is = |at: usize, bytes: &[u8]| begin.get(at..).is_some_and(|rest| rest.starts_with(bytes));
        match OTHERS.iter().find(|(at, bytes, ..)| is(*at, bytes)) {
            Some(&(_, _, found, advice)) => Err(other(found, advice)),
            None => Ok(Self::Safetensors),
        }
    }
}

/// Returns whether bytes are the start of an ONNX model: a protobuf message whose first field is the version of the format (field 1),
/// before the name of the program that wrote it, the graph or another field of a model.
fn is_onnx(begin: &[u8]) -> bool {
    /// The keys of the fields: their numbers (2 to 8, 14, 20, 25) times 8, and 2 for text and messages or 0 for numbers.
    const FIELDS: [u8; 8] = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72];
    matches!(begin, [0x08, 1..=63, field, ..] if FIELDS.contains(field))
}
