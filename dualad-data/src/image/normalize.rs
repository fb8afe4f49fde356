//! The normalization of levels.

/// The mean of the images of ImageNet for red, green and blue, on `[0, 1]`.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// The standard deviation of the images of ImageNet for red, green and blue, on `[0, 1]`.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The normalized value of every level of every channel. Lookups round like the formula.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table([[f32; 256]; 3]);

impl Table {
    pub(crate) fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        Self(std::array::from_fn(|c| std::array::from_fn(|level| (level as f32 / 255.0 - mean[c]) / std[c])))
    }

    /// Returns the values as text, part of [`super::Preprocess::canonical_text`].
    pub(crate) fn canonical_text(&self) -> String {
        // Rust writes an f32 with the fewest digits that give it back.
        format!("Table({:?})", self.0)
    }

    /// Normalizes `[height, width, 3]` to `[3, height, width]`.
    pub(crate) fn apply(&self, rgb: &[u8], out: &mut [f32]) {
        for (channel, plane) in out.chunks_exact_mut((rgb.len() / 3).max(1)).enumerate().take(3) {
            let table = &self.0[channel];
            for (value, pixel) in plane.iter_mut().zip(rgb.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}
