//! TIFF files of strips or tiles, in little-endian order.

/// An image whose samples have 8 or 16 bits, or 1 bit each.
#[derive(Clone)]
pub(crate) struct Parts {
    /// Tags of 16-bit values. The places of the parts are added.
    pub(crate) tags: Vec<(u16, Vec<u16>)>,
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) tiled: bool,
}

impl Parts {
    /// Returns an image of this size, photometric interpretation, and number and depth of samples.
    pub(crate) fn new(width: usize, height: usize, photometric: u16, samples: usize, bits: u16) -> Self {
        let tags = vec![
            (256, vec![width as u16]),
            (257, vec![height as u16]),
            (258, vec![bits; samples]),
            (259, vec![1]),
            (262, vec![photometric]),
            (277, vec![samples as u16]),
            (278, vec![height as u16]),
        ];
        Self { tags, parts: Vec::new(), tiled: false }
    }

    /// Sets a tag.
    pub(crate) fn with(mut self, tag: u16, values: &[u16]) -> Self {
        self.tags.retain(|(other, _)| *other != tag);
        self.tags.push((tag, values.to_vec()));
        self
    }

    /// Sets the content of the only strip.
    pub(crate) fn strip(mut self, content: &[u8]) -> Self {
        self.parts = vec![content.to_vec()];
        self
    }

    /// Cuts rows of whole bytes into tiles, and adds them. The rest of a tile is filled with 7.
    pub(crate) fn tiles(mut self, (across, down): (usize, usize), row: usize, pixel: usize, data: &[u8]) -> Self {
        self = self.with(322, &[across as u16]).with(323, &[down as u16]);
        self.tags.retain(|(tag, _)| *tag != 278);
        self.tiled = true;
        let rows: Vec<&[u8]> = data.chunks(row).collect();
        for tile_rows in rows.chunks(down) {
            for left in (0..row).step_by(across * pixel) {
                let mut tile = Vec::new();
                for line in 0..down {
                    let line = tile_rows.get(line).copied().unwrap_or_default();
                    let part = &line[left.min(line.len())..(left + across * pixel).min(line.len())];
                    tile.extend_from_slice(part);
                    tile.resize(tile.len() + across * pixel - part.len(), 7);
                }
                self.parts.push(tile);
            }
        }
        self
    }

    /// Compresses every part with LZW.
    pub(crate) fn lzw(mut self) -> Self {
        for part in &mut self.parts {
            *part = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(part).unwrap();
        }
        self.with(259, &[5])
    }

    /// Reverses the bits of every byte.
    pub(crate) fn reversed(mut self) -> Self {
        self.parts.iter_mut().flatten().for_each(|byte| *byte = byte.reverse_bits());
        self.with(266, &[2])
    }

    /// Returns the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"II\x2a\0\0\0\0\0".to_vec();
        let (mut offsets, mut counts) = (Vec::new(), Vec::new());
        for part in &self.parts {
            offsets.push(file.len() as u32);
            counts.push(part.len() as u32);
            file.extend(part);
        }
        let short = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let long = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let mut entries: Vec<(u16, u16, u32, Vec<u8>)> =
            self.tags.iter().map(|(tag, values)| (*tag, 3, values.len() as u32, short(values))).collect();
        let (of_offsets, of_counts) = if self.tiled { (324, 325) } else { (273, 279) };
        entries.push((of_offsets, 4, offsets.len() as u32, long(&offsets)));
        entries.push((of_counts, 4, counts.len() as u32, long(&counts)));
        entries.sort();
        file.resize(file.len().next_multiple_of(2), 0);
        let directory = file.len();
        file[4..8].copy_from_slice(&(directory as u32).to_le_bytes());
        let mut after = directory + 2 + 12 * entries.len() + 4;
        let mut values_after = Vec::new();
        file.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, mut value) in entries {
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            if value.len() > 4 {
                let place = (after as u32).to_le_bytes().to_vec();
                after += value.len();
                values_after.append(&mut value);
                value = place;
            }
            value.resize(4, 0);
            file.extend(value);
        }
        file.extend([0; 4]);
        file.extend(values_after);
        file
    }
}
