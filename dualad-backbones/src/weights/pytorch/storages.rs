//! The containers of PyTorch: a zip archive, or pickles in a row (before version 1.6).

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

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
    /// The place of each storage in the file, by its key.
    ranges: HashMap<String, Range<usize>>,
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
        let range = self.ranges.get(key).and_then(|range| self.bytes.get(range.clone()));
        range.ok_or_else(|| format!("the file has no data \"{key}\""))
    }

    fn archive(bytes: &'a [u8]) -> Result<(Values, Self), Reason> {
        let broken = |error: zip::result::ZipError| format!("its zip archive cannot be read: {error}");
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        let (mut ranges, mut pickles) = (HashMap::new(), Vec::new());
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
            if is_pickle {
                pickles.push((name, range));
            } else {
                ranges.insert(name, range);
            }
        }
        let (name, range) = match pickles.as_slice() {
            [one] => one.clone(),
            [] => return Err("it is a zip archive without a data.pkl, which PyTorch's files have".into()),
            _ => return Err("its zip archive has more than one data.pkl; unpack it, and give one of the files".into()),
        };
        let folder = name.strip_suffix(PICKLE).unwrap_or_default();
        let order = ranges.get(&format!("{folder}byteorder")).and_then(|range| bytes.get(range.clone()));
        if order == Some(b"big") {
            return Err("its values are big-endian; save it again on a little-endian machine".into());
        }
        let text = bytes.get(range).unwrap_or_default();
        if text.len() > MAX_BYTES {
            return Err(format!("its data.pkl has {} bytes, and at most {MAX_BYTES} are read", text.len()));
        }
        let (values, _) = pickle::read(text)?;
        let folder = format!("{folder}data/");
        let named = |(name, range): (String, Range<usize>)| Some((name.strip_prefix(&folder)?.to_owned(), range));
        let ranges = ranges.into_iter().filter_map(named).collect();
        Ok((values, Self { bytes, ranges }))
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
        let mut ranges = HashMap::new();
        for &key in keys.elements(keys.root) {
            let Value::Text(key) = keys.get(key) else { return Err("its list of storages is malformed".into()) };
            let size =
                sizes.get(key.as_str()).ok_or_else(|| format!("it has a storage \"{key}\" of an unknown kind"))?;
            let (count, _) = bytes.get(at..).and_then(|rest| rest.split_first_chunk()).ok_or("it ends early")?;
            let count = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*size));
            let end = count.and_then(|count| (at + 8).checked_add(count)).filter(|&end| end <= bytes.len());
            let end = end.ok_or("it ends early")?;
            ranges.insert(key.clone(), at + 8..end);
            at = end;
        }
        Ok((content, Self { bytes, ranges }))
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
