//! A TIFF file of one image: its parts, the strips or tiles, and its tags.

use std::collections::BTreeMap;
use std::io::{BufRead, Seek};
use std::path::Path;

use tiff::TiffResult;
use tiff::decoder::Decoder;
use tiff::tags::{ByteOrder, Tag};

use super::limits::Limits;
use super::memory::buffer;
use crate::error::{Error, Result};

/// The tags that describe the samples, and their types: 3 for 16 bits, 4 for 32. The places of the parts are not among them.
const TAGS: [(Tag, u16); 16] = [
    (Tag::ImageWidth, 4),
    (Tag::ImageLength, 4),
    (Tag::BitsPerSample, 3),
    (Tag::Compression, 3),
    (Tag::PhotometricInterpretation, 3),
    (Tag::Orientation, 3),
    (Tag::SamplesPerPixel, 3),
    (Tag::RowsPerStrip, 4),
    (Tag::PlanarConfiguration, 3),
    (Tag::Predictor, 3),
    (Tag::ColorMap, 3),
    (Tag::TileWidth, 4),
    (Tag::TileLength, 4),
    (Tag::ExtraSamples, 3),
    (Tag::SampleFormat, 3),
    (Tag::ChromaSubsampling, 3),
];

/// The type of bytes without a meaning.
const UNDEFINED: u16 = 7;

/// The length of the header of a file. The first part follows it.
pub(super) const HEADER: usize = 8;

/// Returns the strips or tiles, or the damage of them.
pub(super) fn parts<'a, R: BufRead + Seek>(decoder: &mut Decoder<R>, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, String> {
    let mut of = |tag| decoder.find_tag_unsigned_vec::<u64>(tag).ok().flatten();
    let mut parts = Vec::new();
    for (offsets, counts, what) in
        [(Tag::StripOffsets, Tag::StripByteCounts, "strip"), (Tag::TileOffsets, Tag::TileByteCounts, "tile")]
    {
        let (Some(offsets), Some(counts)) = (of(offsets), of(counts)) else { continue };
        for (index, (offset, count)) in offsets.into_iter().zip(counts).enumerate() {
            let end = offset.saturating_add(count);
            let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
            let Some(part) = range.and_then(|(start, end)| bytes.get(start..end)) else {
                let length = bytes.len();
                return Err(format!("its {what} {index} ends at byte {end}, but the file has {length} bytes"));
            };
            parts.push(part);
        }
    }
    Ok(parts)
}

/// The tags of an image.
pub(super) struct Page {
    tags: BTreeMap<u16, (u16, Vec<u32>)>,
    tables: Vec<u8>,
    order: ByteOrder,
}

impl Page {
    /// Reads the tags of the first image of a file.
    pub(super) fn read<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> TiffResult<Self> {
        let mut tags = BTreeMap::new();
        for (tag, kind) in TAGS {
            if let Some(values) = decoder.find_tag_unsigned_vec::<u32>(tag)? {
                tags.insert(tag.to_u16(), (kind, values));
            }
        }
        let tables = match decoder.find_tag(Tag::JPEGTables)? {
            Some(tables) => tables.into_u8_vec()?,
            None => Vec::new(),
        };
        Ok(Self { tags, tables, order: decoder.byte_order() })
    }

    /// Sets the values of a tag of the image.
    pub(super) fn set(&mut self, tag: Tag, values: impl Into<Vec<u32>>) {
        if let Some((tag, kind)) = TAGS.into_iter().find(|(known, _)| *known == tag) {
            self.tags.insert(tag.to_u16(), (kind, values.into()));
        }
    }

    /// Removes a tag.
    pub(super) fn remove(&mut self, tag: Tag) {
        self.tags.remove(&tag.to_u16());
    }

    /// Sets the byte order of the samples to that of this machine.
    pub(super) fn set_native(&mut self) {
        self.order = if cfg!(target_endian = "little") { ByteOrder::LittleEndian } else { ByteOrder::BigEndian };
    }

    /// Starts a file that has room for parts of this number and total length. `held` is the number of bytes in use.
    pub(super) fn start(&self, parts: usize, total: usize, held: u64, path: &Path, limits: &Limits) -> Result<Vec<u8>> {
        let values = self.tags.values().map(|(_, values)| values.len()).sum::<usize>();
        let directory = 8 * (values + parts) + self.tables.len() + 16 * (TAGS.len() + 4);
        let room = ((HEADER + directory) as u64).saturating_add(total as u64);
        limits.check_memory(path, room.saturating_add(held))?;
        let mut file = buffer(path, room, 0)?;
        file.resize(HEADER, 0);
        Ok(file)
    }

    /// Completes a file that [`Self::start`] began, after parts were appended that end at these positions.
    pub(super) fn finish(&self, file: Vec<u8>, ends: &[usize], path: &Path) -> Result<Vec<u8>> {
        let too_long = || Error::Unsupported { path: path.into(), reason: "its samples take more than 4 GiB".into() };
        self.completed(file, ends).ok_or_else(too_long)
    }

    /// Returns a file of these parts. `append` may change the bytes of a part, but not their number.
    pub(super) fn file(
        &self,
        parts: &[&[u8]],
        append: impl Fn(&mut Vec<u8>, &[u8]),
        held: u64,
        path: &Path,
        limits: &Limits,
    ) -> Result<Vec<u8>> {
        let total = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        let mut file = self.start(parts.len(), total, held, path, limits)?;
        let mut ends = Vec::with_capacity(parts.len());
        for part in parts {
            append(&mut file, part);
            ends.push(file.len());
        }
        self.finish(file, &ends, path)
    }

    /// Adds the header and the directory. Returns nothing for a file beyond 4 GiB.
    fn completed(&self, mut file: Vec<u8>, ends: &[usize]) -> Option<Vec<u8>> {
        let mut tags = self.tags.clone();
        let starts = std::iter::once(HEADER).chain(ends.iter().copied());
        let places: Option<Vec<(u32, u32)>> = (starts.zip(ends))
            .map(|(start, &end)| Some((u32::try_from(start).ok()?, u32::try_from(end.checked_sub(start)?).ok()?)))
            .collect();
        let (offsets, counts) = places?.into_iter().unzip();
        let is_tiled = tags.contains_key(&Tag::TileWidth.to_u16());
        let (of_offsets, of_counts) =
            if is_tiled { (Tag::TileOffsets, Tag::TileByteCounts) } else { (Tag::StripOffsets, Tag::StripByteCounts) };
        tags.insert(of_offsets.to_u16(), (4, offsets));
        tags.insert(of_counts.to_u16(), (4, counts));
        if !self.tables.is_empty() {
            tags.insert(Tag::JPEGTables.to_u16(), (UNDEFINED, self.tables.iter().map(|&byte| byte.into()).collect()));
        }
        // The directory starts at an even position.
        file.resize(file.len().next_multiple_of(2), 0);
        let directory = file.len();
        let entries = tags.len();
        let mut after = directory + 2 + 12 * entries + 4;
        let mut values_after = Vec::new();
        file.extend(self.bytes(3, u32::try_from(entries).ok()?));
        for (tag, (kind, values)) in &tags {
            let mut value: Vec<u8> = values.iter().flat_map(|&value| self.bytes(*kind, value)).collect();
            file.extend(self.bytes(3, (*tag).into()));
            file.extend(self.bytes(3, (*kind).into()));
            file.extend(self.bytes(4, u32::try_from(values.len()).ok()?));
            if value.len() > 4 {
                let place = self.bytes(4, u32::try_from(after).ok()?);
                value.resize(value.len().next_multiple_of(2), 0);
                after += value.len();
                values_after.append(&mut value);
                value = place;
            }
            value.resize(4, 0);
            file.append(&mut value);
        }
        file.extend([0; 4]);
        file.append(&mut values_after);
        let header = [
            if self.order == ByteOrder::LittleEndian { b"II".to_vec() } else { b"MM".to_vec() },
            self.bytes(3, 42),
            self.bytes(4, u32::try_from(directory).ok()?),
        ]
        .concat();
        file.get_mut(..HEADER)?.copy_from_slice(&header);
        Some(file)
    }

    /// Returns a value of a type in the byte order of the file.
    fn bytes(&self, kind: u16, value: u32) -> Vec<u8> {
        let length = match kind {
            UNDEFINED => 1,
            3 => 2,
            _ => 4,
        };
        let little = value.to_le_bytes();
        let mut bytes = little[..length].to_vec();
        if self.order == ByteOrder::BigEndian {
            bytes.reverse();
        }
        bytes
    }
}
