//! The containers of PyTorch: a zip archive, or pickles in a row (before version 1.6).

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::sync::OnceLock;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, MAX_BYTES, Reason, Value, Values};
use super::tensors::Storage;

/// The pickle of the number that a file of pickles in a row begins with.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The name of the pickle in an archive.
const PICKLE: &str = "data.pkl";

/// The values of every storage.
#[derive(Debug)]
pub(super) struct Storages<'a> {
    bytes: &'a [u8],
    /// The storages by their keys.
    places: HashMap<String, Data>,
}

/// The place of data in a file.
#[derive(Debug, Clone)]
struct Data {
    range: Range<usize>,
    /// The CRC-32 that the archive states. PyTorch can leave it out.
    checksum: Option<u32>,
    /// True if the data has this checksum; set when it is read first.
    is_intact: OnceLock<bool>,
}

impl Data {
    fn new(range: Range<usize>, checksum: Option<u32>) -> Self {
        Self { range, checksum, is_intact: OnceLock::new() }
    }

    /// Returns the data in a file, or `None` if it does not have its checksum.
    fn of<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let data = bytes.get(self.range.clone()).unwrap_or_default();
        let is_sound = || self.checksum.is_none_or(|checksum| crc32fast::hash(data) == checksum);
        self.is_intact.get_or_init(is_sound).then_some(data)
    }
}

/// Describes data without its checksum.
fn damaged(name: &str) -> Reason {
    format!("\"{name}\" in its archive does not have the checksum (CRC-32) that the archive states")
}

impl<'a> Storages<'a> {
    /// Reads a file's pickle, and finds the storages.
    pub(super) fn open(bytes: &'a [u8]) -> Result<(Values, Self), Reason> {
        match bytes {
            [b'P', b'K', ..] => Self::archive(bytes),
            _ if bytes.starts_with(MAGIC) => Self::row(bytes),
            [0x80, ..] => Err("it is a pickle, but not one of torch.save; save model.state_dict() with it".into()),
            _ => Err("it is neither a zip archive nor a pickle".into()),
        }
    }

    /// Returns the bytes of a storage.
    pub(super) fn bytes(&self, key: &str) -> Result<&'a [u8], Reason> {
        let place = self.places.get(key).ok_or_else(|| format!("the file has no data \"{key}\""))?;
        place.of(self.bytes).ok_or_else(|| damaged(&format!("data/{key}")))
    }

    fn archive(bytes: &'a [u8]) -> Result<(Values, Self), Reason> {
        let broken = |error: zip::result::ZipError| format!("its zip archive cannot be read: {error}");
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        let (mut places, mut pickles, mut total) = (HashMap::new(), Vec::new(), 0usize);
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            let is_pickle = name == PICKLE || name.ends_with("/data.pkl");
            let is_stored = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
            if !is_stored {
                if is_pickle {
                    return Err(
                        "its zip archive is compressed; unpack it, and pack it without compression (zip -0 -r)".into(),
                    );
                }
                continue;
            }
            let (start, size) = (entry.data_start(), entry.compressed_size());
            let range = start
                .and_then(|start| Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(size)?).ok()?));
            let Some(range) = range.filter(|range| bytes.get(range.clone()).is_some()) else { continue };
            // Data that overlaps could be checked for a long time.
            total = total.saturating_add(range.len());
            if total > bytes.len() {
                return Err("parts of its zip archive overlap".into());
            }
            // PyTorch writes 0 for a checksum that it was told not to compute.
            let data = Data::new(range, Some(entry.crc32()).filter(|checksum| *checksum != 0));
            if is_pickle {
                pickles.push((name, data));
            } else {
                places.insert(name, data);
            }
        }
        let (name, pickle) = match pickles.as_slice() {
            [(name, pickle)] => (name.clone(), pickle.clone()),
            [] => return Err("it is a zip archive without a data.pkl, which PyTorch's files have".into()),
            _ => return Err("its zip archive has more than one data.pkl; unpack it, and give one of the files".into()),
        };
        let folder = name.strip_suffix(PICKLE).unwrap_or_default();
        let order = places.get(&format!("{folder}byteorder")).and_then(|data| data.of(bytes));
        if order == Some(b"big") {
            return Err("its values are big-endian; save it again on a little-endian machine".into());
        }
        let text = pickle.of(bytes).ok_or_else(|| damaged(&name))?;
        if text.len() > MAX_BYTES {
            return Err(format!("its data.pkl has {} bytes, and at most {MAX_BYTES} are read", text.len()));
        }
        let (values, _) = pickle::read(text)?;
        let folder = format!("{folder}data/");
        let named = |(name, data): (String, Data)| Some((name.strip_prefix(&folder)?.to_owned(), data));
        let places = places.into_iter().filter_map(named).collect();
        Ok((values, Self { bytes, places }))
    }

    /// Reads pickles in a row: a number, the version, the machine, the content and the storages' keys; then the storages.
    fn row(bytes: &'a [u8]) -> Result<(Values, Self), Reason> {
        let mut at = 0;
        let mut next = || -> Result<Values, Reason> {
            let (values, length) = pickle::read(bytes.get(at..).unwrap_or_default())?;
            at += length;
            Ok(values)
        };
        for _ in 0..3 {
            next()?;
        }
        let (content, keys) = (next()?, next()?);
        let sizes: HashMap<&str, usize> = content
            .persistent()
            .filter_map(|id| Storage::of(&content, id))
            .filter_map(|storage| Some((storage.key, bytes_of(storage.kind)?)))
            .collect();
        let mut places = HashMap::new();
        for &key in keys.elements(keys.root) {
            let Value::Text(key) = keys.get(key) else { return Err("its list of storages is malformed".into()) };
            let size =
                sizes.get(key.as_str()).ok_or_else(|| format!("it has a storage \"{key}\" of an unknown kind"))?;
            let (count, _) = bytes.get(at..).and_then(|rest| rest.split_first_chunk()).ok_or("it ends early")?;
            let count = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*size));
            let end = count.and_then(|count| (at + 8).checked_add(count)).filter(|&end| end <= bytes.len());
            let end = end.ok_or("it ends early")?;
            places.insert(key.clone(), Data::new(at + 8..end, None));
            at = end;
        }
        Ok((content, Self { bytes, places }))
    }
}

/// Returns the size of a value in a storage of this kind.
fn bytes_of(kind: &str) -> Option<usize> {
    Some(match kind {
        "ComplexDoubleStorage" => 16,
        "DoubleStorage" | "LongStorage" | "ComplexFloatStorage" => 8,
        "FloatStorage" | "IntStorage" | "QInt32Storage" => 4,
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
        "CharStorage" | "ByteStorage" | "BoolStorage" | "QInt8Storage" | "QUInt8Storage" | "UntypedStorage" => 1,
        _ => return None,
    })
}
